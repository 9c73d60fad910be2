"""Moves the requests and fingerprints of a foreign queue into a crawl; may be killed and repeated.

How far a move has come stands beside the crawl. A batch has a number, and counts once however often
it is sent; requests come before fingerprints, or they would be duplicates of themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from crawlo_scrapy.migration.requests import Entry
from crawlo_scrapy.payload import InvalidRequest
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.frontier import Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout

#: Entries in one batch.
BATCH = 500
#: For how long a move that was interrupted can go on, in seconds.
REMEMBERED = 30 * 24 * 60 * 60


class Source(Protocol):
    """A foreign queue whose entries keep their places once `begin` has returned."""

    id: str

    async def open(self, crawl: str) -> None: ...
    async def begin(self, crawl: str) -> None: ...
    async def total(self) -> int: ...
    async def read(self, start: int, count: int) -> list[Entry]: ...
    async def seen_total(self) -> int: ...
    def seen(self) -> AsyncIterator[list[bytes]]: ...
    async def finish(self) -> None: ...


class CountsDiffer(RuntimeError):
    """Not as much has arrived as there was; nothing was removed."""


@dataclass
class Moved:
    """What became of *entries*: queued, seen by the crawl before, or dead letters.

    `fingerprints` were recorded besides; `earlier` entries were moved before an interruption.
    """

    entries: int = 0
    queued: int = 0
    duplicates: int = 0
    dead: int = 0
    fingerprints: int = 0
    earlier: int = 0


class Move:
    """One move of *source*, opened, into the crawl of *keys*. *read* makes a push of an entry.

    *choice* is of the seen set, and *layout* of its partitions, for a crawl that the move begins.
    """

    def __init__(
        self,
        source: Source,
        client: Client,
        keys: Keys,
        read: Callable[[Entry], Push],
        *,
        order: str = "fifo",
        show: Callable[[Moved, int], None] = lambda moved, total: None,
        choice: seen.SeenChoice | None = None,
        layout: Layout | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._keys = keys
        self._read = read
        self._order = order
        self._show = show
        self._choice = choice
        self._layout = layout
        self._errors: dict[int, str] = {}
        self.moved = Moved()

    async def try_out(self) -> Moved:
        """Return what a move would do, apart from duplicates; nothing is changed."""
        moved, total = self.moved, await self._source.total()
        while entries := await self._source.read(moved.entries, BATCH):
            pushes, bad = self._parsed(entries)
            moved.entries += len(entries)
            moved.queued += len(pushes)
            moved.dead += len(bad)
            self._show(moved, total)
        moved.fingerprints = await self._source.seen_total()
        return moved

    async def run(self) -> Moved:
        """Move everything, and remove it where it was. Raises `CountsDiffer` and `StoreError`."""
        source = self._source
        if not (source.id or await source.total() or await source.seen_total()):
            return self.moved
        await source.begin(self._keys.name)
        progress = self._keys.migration(self._source.id)
        batches, moved = await self._begun(progress)
        total = await self._source.total()
        feed = Feed(
            self._client, self._keys, order=self._order, name=f"migration-{self._source.id}",
            number=batches + 1, remembered=REMEMBERED, choice=self._choice,
            layout=self._layout,
        )  # fmt: skip
        while entries := await self._source.read(moved.entries, BATCH):
            await self._batch(feed, entries)
            batches += 1
            await self._note(progress, batches)
            self._show(moved, total)
        if total != moved.entries or total != moved.queued + moved.duplicates + moved.dead:
            raise CountsDiffer(
                f"there were {total:,} requests, of which {moved.queued:,} are queued, "
                f"{moved.duplicates:,} were seen before and {moved.dead:,} are dead letters"
            )
        await self._fingerprints(feed)
        await self._source.finish()
        await self._client.call("unlink", progress)
        return moved

    async def _begun(self, progress: str) -> tuple[int, Moved]:
        found = await self._client.call("hgetall", progress)
        noted = {name.decode(): int(value) for name, value in found.items()}
        batches = noted.pop("batches", 0)
        self.moved = Moved(**noted)
        self.moved.earlier = self.moved.entries
        return batches, self.moved

    async def _note(self, progress: str, batches: int) -> None:
        values = [part for pair in asdict(self.moved).items() for part in pair]
        commands = [
            ("HSET", progress, "batches", batches, *values),
            ("EXPIRE", progress, REMEMBERED),
        ]
        for result in await self._client.send(commands, transaction=True):
            if isinstance(result, Exception):
                raise await self._client.failure(result) from result

    async def _batch(self, feed: Feed, entries: list[Entry]) -> None:
        moved = self.moved
        pushes, bad = self._parsed(entries)
        letters = DeadLetters(self._client, self._keys)
        member = Membership("migration", 0)
        for place, (entry, error) in bad.items():
            # Its name comes of its place: repeated, it is the same letter.
            name = f"{self._source.id}-{moved.entries + place}"
            data = entry.data or b""
            await letters.bury_request(member, name, Push("n", 0, 0, "", 0, data), "decode", error)
        fed = await feed.push(pushes)
        moved.entries += len(entries)
        moved.queued += fed.queued
        moved.duplicates += len(fed.duplicates)
        moved.dead += len(bad)

    def _parsed(self, entries: list[Entry]) -> tuple[list[Push], dict[int, tuple[Entry, str]]]:
        pushes, bad = [], {}
        for place, entry in enumerate(entries):
            try:
                pushes.append(self._read(entry))
            except InvalidRequest as exc:
                bad[place] = entry, str(exc)
            except Exception as exc:
                # It was made by strangers: what they left out or swapped raises anything.
                bad[place] = entry, f"{type(exc).__name__}: {exc}"
        return pushes, bad

    async def _fingerprints(self, feed: Feed) -> None:
        total, count = await self._source.seen_total(), 0
        async for page in self._source.seen():
            if page:
                await feed.record([as_bytes(text) for text in page])
                count += len(page)
        if count < total:
            raise CountsDiffer(f"there were {total:,} fingerprints, and {count:,} are recorded")
        self.moved.fingerprints = total


def as_bytes(text: bytes) -> bytes:
    """Return the fingerprint that was written as *text*, in hexadecimal or as it is."""
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return text
