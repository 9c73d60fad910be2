"""Requests into a crawl from a program that is no worker of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.frontier import Push, push_arguments
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.workers import FORMAT

#: For how long the last batch of a program is remembered, in seconds: it may be sent again as
#: long, and counts once.
REMEMBERED = 60 * 60


@dataclass(frozen=True)
class Fed:
    """What became of a batch: how many are queued, and the places of those that were seen."""

    queued: int
    duplicates: Sequence[int]


class Feed:
    """One program that feeds the crawl of *keys*; one batch at a time. *order* as in `Frontier`.

    A program that has a *name* may go on after its death: with the batch of that *number*, which
    counts once if it was sent before, within *remembered* seconds.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        *,
        order: str = "fifo",
        name: str = "",
        number: int = 1,
        remembered: int = REMEMBERED,
    ) -> None:
        self._client = client
        self._keys = keys
        self._order = order
        self._batches = keys.feed(name or uuid4().hex)
        self._number = number
        self._remembered = remembered
        self._bucket_fill = 0

    async def push(self, pushes: Sequence[Push]) -> Fed:
        """Queue *pushes*, at most `PUSH_BATCH`, each unless it was seen; begin the crawl if needed.

        After a `StoreUnavailable` the same batch may be given again, and counts once. Raises
        `StoreRefused` for a crawl that nothing can be pushed to.
        """
        keys = self._keys
        if not self._bucket_fill:
            self._bucket_fill = await seen.bucket_fill(self._client)
        args: list[Any] = [self._number, self._order, FORMAT, self._bucket_fill, self._remembered]
        args += push_arguments(pushes)
        names = [keys.meta, keys.control, self._batches, keys.delayed, keys.seeds, keys.seen_prefix]
        [[status, *rest]] = await run(
            self._client, Call("frontier_feed", [*names, *keys.queues], args)
        )
        if status == b"purging":
            raise StoreRefused(
                f"The crawl {keys.name} is being purged. Push again when that is over."
            )
        if status == b"format":
            raise StoreRefused(
                f"The crawl {keys.name} was written in format {rest[0].decode()} and this version "
                f"of crawlo_scrapy uses format {FORMAT}: nothing was pushed."
            )
        self._number += 1
        return Fed(int(rest[0]), [int(place) for place in rest[1:]])
