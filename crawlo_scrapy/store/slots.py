"""Slots: what politeness counts by, and the limits that hold for all workers together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys, clean
from crawlo_scrapy.store.lenient import text
from crawlo_scrapy.store.scripts import Call, run

#: What `Slots.turns` says of a slot without limits: all of its requests may be started.
AT_ONCE = -1.0


@dataclass(frozen=True)
class SlotLimit:
    """Limits of one slot: seconds between two requests, requests at the same time.

    0 is no limit; None leaves it to the limit that holds for all slots.
    """

    delay: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True)
class Throttle:
    """How delays are adapted: the first one, bounds (in seconds), requests at the same time."""

    first: float
    least: float
    most: float
    target: float


class Answer(NamedTuple):
    """An answer of a site: its slot (`clean`), seconds that it took, whether it was a success."""

    slot: str
    latency: float
    success: bool


class Slots:
    """The limits of one crawl's slots. Times are judged by Redis's clock."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def configure(
        self, limits: Mapping[str, SlotLimit], *, adapted: bool = True, learned: bool = True
    ) -> bool:
        """Make *limits* those of the crawl, by name of the slot; "" is for all others.

        What was set by hand stays; so does what `adapt` has found if delays are still to be
        *adapted*, and what was told to `learn` if it is still to be *learned*. Returns whether
        the limits are new.
        """
        fields: dict[str, float] = {}
        for name, limit in sorted(limits.items()):
            if limit.delay is not None:
                fields[f"delay:{clean(name)}"] = round(limit.delay * 1000)
            if limit.concurrency is not None:
                fields[f"count:{clean(name)}"] = limit.concurrency
        flat = [part for field in fields.items() for part in field]
        digest = hashlib.sha256(repr(flat).encode()).hexdigest()[:16] if flat else ""
        gone = ("" if adapted else "throttle:") + ("" if learned else "robots:")
        keys = [self._keys.meta, self._keys.holds, *self._keys.queues]
        call = Call("limits_configure", keys, [digest, gone, *flat])
        return bool((await run(self._client, call))[0])

    async def adapt(self, throttle: Throttle, answers: Sequence[Answer]) -> None:
        """Adapt the delays of slots to what they answered, at all workers together."""
        args: list[object] = [
            throttle.first * 1000, throttle.least * 1000, throttle.most * 1000, throttle.target,
        ]  # fmt: skip
        for answer in answers:
            args += (answer.slot, round(answer.latency * 1000, 3), int(answer.success))
        await run(self._client, Call("slot_throttle", [self._keys.limits], args))

    async def learn(self, slot: str, seconds: float) -> None:
        """Keep the delay that the robots.txt of *slot* asks for; 0: none."""
        field = f"robots:{slot}"
        if seconds > 0:
            await self._client.call("hset", self._keys.limits, field, round(seconds * 1000))
        else:
            await self._client.call("hdel", self._keys.limits, field)

    async def turns(self, slots: Mapping[str, int], horizon: float) -> list[float | None]:
        """Reserve the next time of each of *slots* for a request that is not in Redis.

        *slots* says how many such requests this worker has in progress. Returns for each in how
        many seconds to start it: at most *horizon*, or `AT_ONCE`; None: not now.
        """
        args: list[object] = [round(horizon * 1000)]
        for slot in slots.items():
            args += slot
        [found] = await run(self._client, Call("slot_turn", self._keys.queues, args))
        return [None if ms == -2 else AT_ONCE if ms == -1 else ms / 1000 for ms in found]

    async def hold(self, slot: str, seconds: float) -> None:
        """Lease nothing of *slot* for so long, whoever asks. *slot* is `clean` already."""
        keys = [self._keys.meta, self._keys.holds, *self._keys.queues]
        await run(self._client, Call("slot_hold", keys, [slot, max(0, round(seconds * 1000))]))

    async def holds(self) -> list[str]:
        """Return the slots that are on hold, by their `clean` names."""
        seconds, micros = await self._client.call("time", near=self._keys.meta)
        now = int(seconds) * 1000 + int(micros) // 1000
        found = await self._client.call("zrangebyscore", self._keys.holds, now, "+inf")
        return [text(name) for name in found]
