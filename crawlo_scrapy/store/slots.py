"""Slots: what politeness counts by, and the limits that hold for all workers together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys, clean
from crawlo_scrapy.store.scripts import Call, run


@dataclass(frozen=True)
class SlotLimit:
    """Limits of one slot: seconds between two requests, requests at the same time.

    0 is no limit; None leaves it to the limit that holds for all slots.
    """

    delay: float | None = None
    concurrency: int | None = None


class Slots:
    """The limits of one crawl's slots. Times are judged by Redis's clock."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def configure(self, limits: Mapping[str, SlotLimit]) -> bool:
        """Make *limits* those of the crawl, by name of the slot; "" is for all others.

        What was set by hand or learned stays. Returns whether they are new.
        """
        fields: dict[str, float] = {}
        for name, limit in sorted(limits.items()):
            if limit.delay is not None:
                fields[f"delay:{clean(name)}"] = round(limit.delay * 1000)
            if limit.concurrency is not None:
                fields[f"count:{clean(name)}"] = limit.concurrency
        flat = [part for field in fields.items() for part in field]
        digest = hashlib.sha256(repr(flat).encode()).hexdigest()[:16] if flat else ""
        call = Call("limits_configure", [self._keys.meta, self._keys.limits], [digest, *flat])
        return bool((await run(self._client, call))[0])

    async def hold(self, slot: str, seconds: float) -> None:
        """Lease nothing of *slot* for so long, whoever asks. *slot* is `clean` already."""
        keys = [self._keys.meta, self._keys.holds, *self._keys.queues]
        await run(self._client, Call("slot_hold", keys, [slot, max(0, round(seconds * 1000))]))

    async def holds(self) -> list[str]:
        """Return the slots that are on hold, by their `clean` names."""
        seconds, micros = await self._client.call("time")
        now = int(seconds) * 1000 + int(micros) // 1000
        found = await self._client.call("zrangebyscore", self._keys.holds, now, "+inf")
        return [name.decode() for name in found]
