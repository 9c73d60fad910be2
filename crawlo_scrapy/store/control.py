"""Steering a crawl while it runs: what is wanted of its workers, and who wanted it when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: How many notes of who did what are kept.
AUDIT_KEPT = 1000
#: Most bytes of a note.
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
    ``concurrency``, ``set:<setting>``; and ``stop``, with how the crawl is to be stopped.
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

    async def scale(self, who: str, concurrency: int, node: str = "") -> None:
        """Set how many requests each worker, or *node*, has in progress. Raises `NotPossible`."""
        field = f"concurrency:{node}" if node else "concurrency"
        what = f"scale --concurrency {concurrency}{f' --node {node}' if node else ''}"
        await self._change(who, what, {field: str(concurrency)})

    async def set(self, who: str, name: str, value: str) -> None:
        """Change a setting of all workers. Raises `NotPossible`."""
        await self._change(who, f"set {name} {value}", {f"set:{name}": value})

    async def delay(self, who: str, slot: str, seconds: float | None) -> None:
        """Set the delay of a slot (`clean` name); None: what the settings say."""
        text = "default" if seconds is None else f"{seconds:g}"
        await self._change(who, f"delay {slot} {text}", {})
        value = "" if seconds is None else round(seconds * 1000)
        keys = [self._keys.meta, self._keys.limits, self._keys.holds]
        await run(self._client, Call("slot_limit", keys, [slot, value]))

    async def requeue(self, who: str, reason: str) -> int:
        """Queue the dead letters of *reason* again; return how many. Raises `NotPossible`."""
        letters = DeadLetters(self._client, self._keys)
        ids = {letter.id async for letter in letters.list() if letter.reason == reason}
        await self._change(who, f"dead-letters requeue --reason {reason} ({len(ids)})")
        return await letters.requeue(list(ids))

    async def read(self) -> dict[str, str]:
        """Return what is wanted."""
        found = await self._client.call("hgetall", self._keys.control)
        return {name.decode(): value.decode() for name, value in found.items()}

    async def audit(self, limit: int = AUDIT_KEPT) -> list[Note]:
        """Return who did what, newest first."""
        notes = []
        for note in await self._client.call("lrange", self._keys.audit, 0, limit - 1):
            time, who, what = note.decode(errors="replace").split("\n", 2)
            notes.append(Note(int(time), who, what))
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
            args += field
        [[done, found]] = await run(self._client, Call("control_change", keys, args))
        if not done:
            raise NotPossible(found.decode())
