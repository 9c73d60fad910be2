"""Steering a crawl while it runs: what is wanted of its workers, and who wanted it when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote
from uuid import uuid4

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.lenient import text, whole
from crawlo_scrapy.store.partitions import layout_of
from crawlo_scrapy.store.scripts import Call, run

#: How many notes of who did what are kept.
AUDIT_KEPT = 1000
#: Most characters of a note, of a field and of its value.
NOTE_BYTES = 500


@dataclass(frozen=True)
class Note:
    """Who did what; `time` is Redis's, in milliseconds since 1970."""

    time: int
    who: str
    what: str


class NotPossible(Exception):
    """The crawl is in a state in which this cannot be done; `state` is empty if there is none."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the crawl is {state}" if state else "there is no such crawl")
        self.state = state


class Control:
    """What is wanted of one crawl.

    Fields, each for all nodes or with ``:<node>`` for one: ``pause``, ``drain``,
    ``concurrency``, ``set:<setting>``; ``stop``, with how the crawl is to be stopped; and
    ``forgot``, another text whenever URLs were forgotten.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def pause(self, who: str) -> None:
        """Have nobody start a request, until `resume`. Raises `NotPossible`."""
        await self._change(who, "pause", state="paused", before="running paused")

    async def resume(self, who: str) -> None:
        """Go on after `pause`, or take `stop` back. Raises `NotPossible`."""
        before = "paused stopping running"
        await self._change(who, "resume", {"stop": ""}, state="running", before=before)

    async def stop(
        self, who: str, *, now: bool = False, reason: str = "stopped", once: bool = False
    ) -> None:
        """Have all workers leave: when they are through, or *now*. Raises `NotPossible`.

        They close with *reason*. Whoever starts a worker afterwards goes on with the crawl. With
        *once* it is not possible while they are leaving already.
        """
        fields = {"stop": "now" if now else "through", "stop_reason": reason}
        what = f"stop{' --now' if now else ''}{f' ({reason})' if reason != 'stopped' else ''}"
        before = "running paused" if once else "running paused stopping"
        await self._change(who, what, fields, state="stopping", before=before)

    async def pause_node(self, who: str, node: str, *, paused: bool = True) -> None:
        """Have one node start nothing, or go on. Raises `NotPossible`."""
        what = f"{'pause' if paused else 'resume'} --node {node}"
        await self._change(who, what, {f"pause:{node}": "1" if paused else ""})

    async def drain(self, who: str, node: str) -> None:
        """Have one node leave when it is through with what it has. Raises `NotPossible`."""
        await self._change(who, f"drain {node}", {f"drain:{node}": "1"})

    async def drained(self, node: str) -> None:
        """Take `drain` back: *node* obeys, and may come again."""
        await self._client.call("hdel", self._keys.control, f"drain:{node}")

    async def scale(self, who: str, concurrency: int | None, node: str = "") -> None:
        """Set how many requests each worker, or *node*, has in progress; None: as it was before.

        Raises `NotPossible`.
        """
        field = f"concurrency:{node}" if node else "concurrency"
        how = "--default" if concurrency is None else f"--concurrency {concurrency}"
        what = f"scale {how}{f' --node {node}' if node else ''}"
        await self._change(who, what, {field: str(concurrency or "")})

    async def set(self, who: str, name: str, value: str | None) -> None:
        """Change a setting of all workers; None: each has its own again. Raises `NotPossible`."""
        what = f"set {name} {'--default' if value is None else value}"
        # One place for what two commands can set, so that the last one counts.
        field = "concurrency" if name == "CONCURRENT_REQUESTS" else f"set:{name}"
        await self._change(who, what, {field: value or ""})

    async def delay(self, who: str, slot: str, seconds: float | None) -> None:
        """Set the delay of a slot (`clean` name); None: what the settings say.

        Raises `NotPossible`, and `StoreRefused` where slots are spread over partitions.
        """
        layout = await layout_of(self._client, self._keys)
        if layout.count > 1 and layout.by != "slot":
            raise StoreRefused(
                f"The crawl {self._keys.name} is divided by {layout.by}: its slots have no limits. "
                "`crawlo-scrapy repartition --by slot` divides it in another way."
            )
        delay = "default" if seconds is None else f"{seconds:g}"
        await self._change(who, f"delay {unquote(slot)} {delay}")
        value = "" if seconds is None else round(seconds * 1000)
        part = self._keys.partition(layout.place(slot, 0), layout.count)
        keys = [part.meta, part.holds, *part.queues]
        await run(self._client, Call("slot_limit", keys, [slot, value]))

    async def requeue(self, who: str, reason: str) -> int:
        """Queue the dead letters of *reason* again; return how many. Raises `NotPossible`."""
        letters = DeadLetters(self._client, self._keys)
        ids = {letter.id async for letter in letters.list() if letter.reason == reason}
        await self.note(who, f"dead-letters requeue --reason {reason} ({len(ids)})")
        return await letters.requeue(list(ids))

    async def forgot(self, who: str, what: str) -> None:
        """Have all workers forget what URLs they remember: some are new. Raises `NotPossible`."""
        await self._change(who, what, {"forgot": uuid4().hex})

    async def note(self, who: str, what: str) -> None:
        """Note what is about to be done to the crawl by other means. Raises `NotPossible`."""
        await self._change(who, what)

    async def read(self) -> dict[str, str]:
        """Return what is wanted."""
        found = await self._client.call("hgetall", self._keys.control)
        return {text(name): text(value) for name, value in found.items()}

    async def audit(self, limit: int = AUDIT_KEPT) -> list[Note]:
        """Return who did what, newest first."""
        notes = []
        for note in await self._client.call("lrange", self._keys.audit, 0, limit - 1):
            time, _, rest = text(note).partition("\n")
            who, _, what = rest.partition("\n")
            notes.append(Note(whole(time), who, what))
        return notes

    async def _change(
        self,
        who: str,
        what: str,
        fields: Mapping[str, str] | None = None,
        *,
        state: str = "",
        before: str = "",
    ) -> None:
        keys = [self._keys.meta, self._keys.control, self._keys.audit]
        note = [" ".join(text.split())[:NOTE_BYTES] for text in (who, what)]
        args = [*note, AUDIT_KEPT, state, before]
        for field in (fields or {}).items():
            args += [part[:NOTE_BYTES] for part in field]
        [[done, found]] = await run(self._client, Call("control_change", keys, args))
        if not done:
            raise NotPossible(found.decode())


def wanted_rows(wanted: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return what, for which node (all: empty) and the value of each field that `read` returns."""
    rows = []
    for field, value in sorted(wanted.items()):
        what, _, whom = field.partition(":")
        if what == "forgot":  # done, and nothing that holds
            continue
        if what == "set":
            what, whom = whom, ""
        rows.append((what, whom, "yes" if what in ("pause", "drain") else value))
    return rows
