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
from crawlo_scrapy.store.listing import enlist
from crawlo_scrapy.store.partitions import (
    Layout,
    check_layout,
    layout_of,
    lost_partition,
    note,
    open_partition,
)
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
    counts once if it was sent before, within *remembered* seconds. With a *layout* a crawl is
    begun with that, and one that is divided in another way refused; so with a *choice* of the
    seen set.
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
        layout: Layout | None = None,
        choice: seen.SeenChoice | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._order = order
        self._name = name or uuid4().hex
        self._number = number
        self._remembered = remembered
        self._bucket_fill = 0
        self._wanted = layout
        self._layout: Layout | None = None
        self._opened: set[str] = set()
        self._choice = choice
        self._chosen: set[str] = set()

    async def push(self, pushes: Sequence[Push]) -> Fed:
        """Queue *pushes*, at most `PUSH_BATCH`, each unless it was seen; begin the crawl if needed.

        After a `StoreUnavailable` the same batch may be given again, and counts once. Raises
        `StoreRefused` for a crawl that nothing can be pushed to.
        """
        if self._layout is None:
            self._bucket_fill = await seen.bucket_fill(self._client)
            self._layout = self._wanted or await layout_of(self._client, self._keys)
        shares: dict[int, list[int]] = {0: []}  # the home's is sent in any case, and first
        for place, push in enumerate(pushes):
            shares.setdefault(self._layout.place(push.slot, push.member), []).append(place)
        queued, duplicates = 0, []
        for number, places in shares.items():
            fed = await self._push_to(number, [pushes[place] for place in places])
            queued += fed.queued
            duplicates += [places[place] for place in fed.duplicates]
        await enlist(self._client, self._keys)
        self._number += 1
        return Fed(queued, sorted(duplicates))

    async def _push_to(self, number: int, pushes: Sequence[Push]) -> Fed:
        """Queue *pushes*, which are all of one partition."""
        assert self._layout is not None
        keys = self._keys.partition(number, self._layout.count)
        await self._open(keys)
        layout = "" if number else str(self._layout)
        args: list[Any] = [
            f"{self._number}/{self._layout}", self._order, FORMAT, self._bucket_fill,
            self._remembered, layout, *push_arguments(pushes),
        ]  # fmt: skip
        names = [
            keys.meta, keys.control, keys.feed(self._name), keys.delayed, keys.seeds,
            keys.seen_prefix, *keys.queues,
        ]  # fmt: skip
        [[status, *rest]] = await run(self._client, Call("frontier_feed", names, args))
        self._check(status.decode(), rest)
        if number:
            await note(self._client, self._keys)
        return Fed(int(rest[0]), [int(place) for place in rest[1:]])

    async def record(self, fingerprints: Sequence[bytes]) -> None:
        """Record that requests were seen whose slots nobody knows, in a crawl that has begun.

        Of a crawl that is divided by slot each partition is told: each may meet them.
        """
        await self.push([])
        assert self._layout is not None
        shares: dict[int, list[bytes]] = {}
        for fingerprint in fingerprints:
            places = range(self._layout.count)
            if self._layout.by != "slot":
                place = self._layout.place("", seen.split(fingerprint)[1])
                places = range(place, place + 1)
            for number in places:
                shares.setdefault(number, []).append(fingerprint)
        for number, share in shares.items():
            keys = self._keys.partition(number, self._layout.count)
            await self._open(keys)
            await seen.add(self._client, keys, share)

    async def _open(self, keys: Keys) -> None:
        """Have a partition that can be pushed to, with the seen set that is wanted."""
        assert self._layout is not None
        if keys is not self._keys and keys.prefix not in self._opened:
            status = await open_partition(
                self._client, self._keys, keys, bucket_fill=self._bucket_fill
            )
            if status == "lost":
                raise StoreRefused(lost_partition(self._keys, keys))
            self._check("ok" if status == "joined" else "purging", [])
            self._opened.add(keys.prefix)
        if self._choice is not None and keys.prefix not in self._chosen:
            await seen.choose(self._client, keys, self._choice.share(self._layout.count))
            self._chosen.add(keys.prefix)

    def _check(self, status: str, rest: Sequence[Any]) -> None:
        keys = self._keys
        if status in ("purging", "repartitioning"):
            self._opened.clear()
            self._chosen.clear()
            raise StoreRefused(
                f"The crawl {keys.name} is being {status.replace('ing', 'ed')}. Push again when "
                "that is over."
            )
        if status == "layout":
            wanted, self._layout = self._layout or Layout(), None
            raise check_layout(keys, rest[0].decode(), wanted)
        if status == "format":
            raise StoreRefused(
                f"The crawl {keys.name} was written in format {rest[0].decode()} and this version "
                f"of crawlo_scrapy uses format {FORMAT}: nothing was pushed."
            )
