"""Divides a crawl that has begun anew: another number of partitions, or by something else.

Nobody takes part in the crawl meanwhile. What is queued goes where it belongs, and each new
partition knows what its requests' URLs need to be compared with. May be killed at any moment and
run again: how far it has come stands in Redis. If two run, the later takes over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from crawlo_scrapy.store import moving
from crawlo_scrapy.store.claiming import Claim, empty
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.division import Change
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.moving import Mover
from crawlo_scrapy.store.moving_seen import SeenMover
from crawlo_scrapy.store.origins import Origins
from crawlo_scrapy.store.partitions import Layout, layout_of


@dataclass
class Outcome:
    """What was moved, or would be; `lost` are the numbers of partitions that are gone.

    `seen` fingerprints take about `memory` bytes before and afterwards. `resumed`: an earlier run
    was interrupted.
    """

    before: Layout
    after: Layout
    requests: int = 0
    letters: int = 0
    seen: int = 0
    memory: tuple[int, int] = (0, 0)
    lost: list[int] = field(default_factory=list)
    resumed: bool = False


class Repartition:
    """A run that divides the crawl of *home* as *wanted*.

    Workers count as dead after *timeout* seconds of silence; their requests as in
    `Frontier.reclaim`. With *accept_loss* it goes on without partitions that are gone. *show* is
    told what is being moved, how much so far, and of how much.
    """

    def __init__(
        self,
        client: Client,
        home: Keys,
        wanted: Layout,
        *,
        timeout: float,
        max_attempts: int,
        accept_loss: bool = False,
        show: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self._client = client
        self._home = home
        self._wanted = wanted
        self._max_attempts = max_attempts
        self._accept_loss = accept_loss
        self._claim = Claim(client, home, wanted, timeout=timeout, accept_loss=accept_loss)
        self._show = show
        self._done: dict[str, int] = {}
        self._plan: dict[str, Any] = {}
        self._mover: Mover
        self._origins: Origins

    async def look(self) -> Outcome:
        """Return what there is to move, and change nothing. Raises `StoreRefused` as `run`."""
        before = await self._before()
        await self._claim.check(before)
        if before == self._wanted and not self._claim.lost:
            raise self._claim.refusal(["same"])
        metas, now = await self._metas(before)
        origins = Origins(Change(before, self._wanted), metas, now)
        self._check_seen(origins)
        state = await inspect(self._client, self._home)
        fill = await self._client.call("hget", self._home.meta, "bucket_fill")
        return Outcome(
            before, self._wanted, state.queued + state.leased, state.dead, state.seen,
            origins.memory(int(fill or 400)), sorted(self._claim.lost),
        )  # fmt: skip

    async def run(self) -> Outcome:
        """Divide the crawl anew.

        Raises `StoreRefused` where that cannot be, or not be gone on with; then nothing was
        changed, or the crawl waits for another run.
        """
        before = await self._before()
        resumed = bool(await self._client.call("exists", self._home.moving))
        if not await self._client.call("hget", self._home.moving, "plan"):
            await self._claim.check(before)
            metas, now = await self._metas(before)
            self._check_seen(Origins(Change(before, self._wanted), metas, now))
        token = uuid4().hex
        before = await self._claim.begin(token)
        self._mover = Mover(self._client, self._home, Change(before, self._wanted), token)
        steps = [
            self._copy_limits, self._set_aside, self._move_requests, self._copy_seeds,
            self._copy_seen, self._settle,
        ]  # fmt: skip
        done = int(await self._mover.noted(self._home, "phase") or 0)
        if done < len(steps):
            await self._claim.claim(self._mover)
            await self._claim.reclaim(self._mover, self._max_attempts)
        await self._make_plan()
        for number, step in enumerate(steps, 1):
            if number > done:
                await step()
                await self._mover.note(self._home, "phase", str(number))
        requests, letters = json.loads(await self._mover.noted(self._home, "moved"))
        outcome = Outcome(
            before, self._wanted, requests, letters, self._origins.total,
            lost=sorted(self._claim.lost), resumed=resumed,
        )  # fmt: skip
        await self._remove()
        return outcome

    # What must be so before it begins.

    async def _before(self) -> Layout:
        text = await self._client.call("hget", self._home.moving, "from")
        return Layout.parse(text.decode()) if text else await layout_of(self._client, self._home)

    def _check_seen(self, origins: Origins) -> None:
        if why := origins.obstacle():
            raise StoreRefused(
                f"The crawl {self._home.name} cannot be divided so: {why}. Choose another number; "
                "or finish the crawl as it is; or purge it."
            )

    async def _make_plan(self) -> None:
        """Fix how the old partitions stood; as they are changed, it is no longer to be seen."""
        metas, now = await self._metas(self._mover.change.old)
        plan = {"now": now, "lost": sorted(self._claim.lost), "metas": metas}
        self._plan = json.loads(
            await self._mover.note(self._home, "plan", json.dumps(plan), once=True)
        )
        self._claim.lost = set(self._plan["lost"])
        metas = {int(number): meta for number, meta in self._plan["metas"].items()}
        self._origins = Origins(self._mover.change, metas, self._plan["now"])

    async def _metas(self, layout: Layout) -> tuple[dict[int, dict[str, str]], int]:
        seconds, micros = await self._client.call("time", near=self._home.meta)
        metas = {}
        for number, part in enumerate(layout.keys(self._home)):
            if number not in self._claim.lost:
                found = await self._client.call("hgetall", part.meta)
                meta = {name.decode(): text.decode() for name, text in found.items()}
                metas[number] = {
                    name: text for name, text in meta.items()
                    if name.startswith("seen") or name in ("pushed", "acked")
                }  # fmt: skip
        return metas, int(seconds) * 1000 + int(micros) // 1000

    def _sources(self) -> list[tuple[int, Keys]]:
        return [pair for pair in enumerate(self._mover.old) if pair[0] not in self._claim.lost]

    # Moving.

    async def _copy_limits(self) -> None:
        for number, _ in self._sources():
            await moving.copy_limits(self._mover, number)

    async def _set_aside(self) -> None:
        for number, _ in self._sources():
            await moving.set_aside(self._mover, number)

    async def _move_requests(self) -> None:
        total = await self._sum("found")
        self._done["requests"] = await self._sum("arrived")
        for number, _ in self._sources():
            await moving.move_requests(self._mover, number, self._counter("requests", total))
        arrived = await self._sum("arrived")
        letters, buried = await self._sum("letters"), await self._sum("buried")
        whole = not await self._mover.noted(self._home, "incomplete")
        if whole and not self._accept_loss and (total, letters) != (arrived, buried):
            raise StoreRefused(
                f"The counts do not match: there were {total:,} requests and {letters:,} dead "
                f"letters, and {arrived:,} and {buried:,} have arrived. Did Redis lose its last "
                "writes meanwhile? With --accept-loss it goes on all the same."
            )
        await self._mover.note(self._home, "moved", json.dumps([arrived, buried]))

    async def _copy_seeds(self) -> None:
        for number, _ in self._sources():
            await moving.copy_seeds(self._mover, number)

    async def _copy_seen(self) -> None:
        seen = SeenMover(self._mover, self._origins)
        for number, _ in self._sources():
            await seen.copy(number, self._counter("seen URLs", self._origins.total))

    def _counter(self, what: str, total: int) -> Callable[[int], None]:
        def count(more: int) -> None:
            self._done[what] = self._done.get(what, 0) + more
            self._report(what, self._done[what], total)

        return count

    def _report(self, what: str, done: int, total: int) -> None:
        self._show(what, min(done, total), total)

    async def _sum(self, name: str) -> int:
        """Return the sum of what all partitions have noted under *name*."""
        parts = {part.prefix: part for part in (*self._mover.old, *self._mover.new)}
        return sum([int(await self._mover.noted(part, name) or 0) for part in parts.values()])

    # The end.

    async def _settle(self) -> None:
        """Write down how the new partitions stand, and last in the home that they are."""
        mover, home = self._mover, self._home
        names = ["run", "created", "format", "bucket_fill"]
        found = await self._client.call("hmget", home.meta, names)
        run_fields = {name: text for name, text in zip(names, found, strict=True) if text}
        has: dict[str, Any] = {}
        elsewhere = 0
        for number, part in enumerate(mover.new[1:], 1):
            fields = run_fields | await self._seen_fields(number)
            elsewhere += fields.get("seen", 0)
            fields |= {"pushed": 0, "acked": 0, "leased": 0}
            begun = "created" in run_fields
            has[f"has:{part.prefix}"] = await self._write(
                part, [] if begun else ["state"], fields | ({"state": "running"} if begun else {})
            )
        gone = [f"has:{part.prefix}" for part in mover.old[1:]]
        sums = {
            name: sum(int(meta.get(name) or 0) for meta in self._plan["metas"].values())
            for name in ("pushed", "acked")
        }
        text = await self._client.call("hget", home.meta, "layouts_before") or b""
        layouts = {*text.decode().split(), str(mover.change.old)} - {str(self._wanted)}
        fields = {
            "layout": str(self._wanted), "layouts_before": " ".join(sorted(layouts)),
            "leased": 0, **sums, **has,
        }  # fmt: skip
        fields |= await self._seen_fields(0)
        if "seen_level" in fields:
            # Where partitions had copies of the same, nobody knows what is counted where.
            fields["seen"] = self._origins.total - elsewhere
        await self._write(home, gone, fields)

    async def _seen_fields(self, number: int) -> dict[str, Any]:
        found = await self._client.call("hgetall", self._mover.new[number].moving)
        counts = {name.decode(): int(v) for name, v in found.items() if name.startswith(b"seen:")}
        return self._origins.fields(number, counts)

    async def _write(self, part: Keys, gone: list[str], fields: dict[str, Any]) -> Any:
        flat = [word for pair in fields.items() for word in pair]
        args = [len(gone), *gone, *flat]
        [token] = await self._mover.run(("partition_settle", [part.meta, part.moving], args))
        return token

    async def _remove(self) -> None:
        """Remove the old partitions, and let the crawl go on."""
        mover, kept = self._mover, {part.prefix for part in self._mover.new}
        for number, part in enumerate(mover.old, 1):
            await mover.note(self._home, "removing", str(number))  # if it still may
            if part.prefix not in kept:
                await empty(self._client, part, mover.token)
            self._report("old partitions", number, len(mover.old))
        for part in mover.new[1:]:
            await self._client.call("unlink", part.moving)
        await mover.run(("partition_end", [self._home.meta, self._home.moving], []))
