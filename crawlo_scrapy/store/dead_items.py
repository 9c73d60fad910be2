"""Items that no storage took, kept with their reason until a person decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.items import Entry, scan
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: How many are moved or removed in one step.
STEP = 100


class DeadItems:
    """The dead items of one crawl."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def list(self) -> AsyncIterator[Entry]:
        """Yield all of them, oldest first."""
        return scan(self.client, self.keys.items_dead)

    async def requeue(self, ids: Sequence[str]) -> int:
        """Put dead items back into the stream. Returns how many."""
        names, count = [self.keys.items_dead, self.keys.items], 0
        for i in range(0, len(ids), STEP):
            [moved] = await run(self.client, Call("items_requeue", names, ids[i : i + STEP]))
            count += int(moved)
        return count

    async def purge(self, ids: Sequence[str]) -> int:
        """Remove dead items for good. Returns how many."""
        count = 0
        for i in range(0, len(ids), STEP):
            step = ids[i : i + STEP]
            count += int(await self.client.call("xdel", self.keys.items_dead, *step))
        return count
