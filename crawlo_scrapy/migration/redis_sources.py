"""Queues of scrapy-redis and Crawlo. Moving one begins with setting it aside under another name.

Nobody else reads or writes what was set aside: its entries keep their places, so that a move that
was interrupted goes on where it was. A ticket beside it says which move that is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

from crawlo_scrapy.migration.requests import Entry
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import MIGRATING, MIGRATION_TICKET

#: How many fingerprints are asked for in one step.
SCAN_STEP = 1000


class RedisSource:
    """The keys of one foreign queue; the first is the one that the move is known by."""

    def __init__(self, client: Client, keys: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._ticket = MIGRATION_TICKET + keys[0]
        self._aside = False
        #: The move that has begun, or "".
        self.id = ""

    def key(self, place: int) -> str:
        """Return the name that a key has now."""
        return (MIGRATING if self._aside else "") + self._keys[place]

    async def open(self, crawl: str) -> None:
        """See whether a move has begun. Raises `StoreRefused` if it is to another crawl."""
        ticket = await self._client.call("get", self._ticket)
        if ticket is None:
            return
        self.id, _, owner = ticket.decode().partition(" ")
        if owner != crawl:
            raise StoreRefused(
                f"{self._keys[0]} is being moved into the crawl {owner}. "
                "Let that be finished first."
            )
        self._aside = True

    async def begin(self, crawl: str) -> None:
        """Set the keys aside, all at once, unless that was done."""
        if self._aside:
            return
        self.id = uuid4().hex[:16]
        commands = [("RENAMENX", key, MIGRATING + key) for key in self._keys]
        commands.insert(0, ("SET", self._ticket, f"{self.id} {crawl}"))
        for result in (await self._client.send(commands, transaction=True))[1:]:
            if isinstance(result, Exception) and "no such key" not in str(result):
                raise await self._client.failure(result) from result
        self._aside = True

    async def finish(self) -> None:
        """Remove what was set aside: all of it is in the crawl."""
        names = [self._ticket, *(MIGRATING + key for key in self._keys)]
        await self._client.call("unlink", *names)
        self._aside = False

    async def type_of(self, place: int, *allowed: str) -> str:
        """Return the type of a key. Raises `StoreRefused` if it is none of those."""
        name = self.key(place)
        kind = str((await self._client.call("type", name)).decode())
        if kind not in (*allowed, "none"):
            raise StoreRefused(f"{name} is a {kind}, not a {' or '.join(allowed)}.")
        return kind


class ScrapyRedisSource(RedisSource):
    """A list or sorted set of scrapy-redis, and its set of fingerprints if it is moved too."""

    def __init__(self, client: Client, queue: str, dupefilter: str | None) -> None:
        super().__init__(client, [queue, *([dupefilter] if dupefilter else [])])
        self._with_seen = dupefilter is not None
        self._kind = ""

    async def open(self, crawl: str) -> None:
        await super().open(crawl)
        self._kind = await self.type_of(0, "list", "zset")
        if self._with_seen:
            await self.type_of(1, "set")

    async def total(self) -> int:
        if self._kind == "none":
            return 0
        return int(await self._client.call({"list": "llen"}.get(self._kind, "zcard"), self.key(0)))

    async def read(self, start: int, count: int) -> list[Entry]:
        """Return entries in the order in which they were queued; a sorted set's by priority."""
        if self._kind != "list":
            found = await self._client.call("zrange", self.key(0), start, start + count - 1)
            return [Entry(data) for data in found]
        found = await self._client.call("lrange", self.key(0), -start - count, -start - 1)
        return [Entry(data) for data in reversed(found)]

    async def seen_total(self) -> int:
        return int(await self._client.call("scard", self.key(1))) if self._with_seen else 0

    async def seen(self) -> AsyncIterator[list[bytes]]:
        """Yield all fingerprints, as scrapy-redis has them: hexadecimal."""
        cursor = 0
        while self._with_seen:
            cursor, page = await self._client.call("sscan", self.key(1), cursor, count=SCAN_STEP)
            yield list(page)
            if not int(cursor):
                return

    async def knows(self, fingerprint: bytes) -> bool:
        """Whether the set has a fingerprint."""
        return bool(await self._client.call("sismember", self.key(1), fingerprint.hex()))


class CrawloSource(RedisSource):
    """The sorted set of Crawlo 1.4, with its requests' data, and what its workers had in hand."""

    def __init__(self, client: Client, queue: str) -> None:
        processing = (
            queue.replace(":queue:requests", ":queue:processing")
            if ":queue:requests" in queue
            else f"{queue}:processing"
        )
        super().__init__(client, [queue, f"{queue}:data", processing, f"{processing}:data"])
        self._in_hand: list[bytes] | None = None

    async def open(self, crawl: str) -> None:
        await super().open(crawl)
        await self.type_of(0, "zset")
        await self.type_of(1, "hash")
        await self.type_of(3, "hash")

    async def total(self) -> int:
        queued = await self._client.call("zcard", self.key(0))
        return int(queued) + int(await self._client.call("hlen", self.key(3)))

    async def read(self, start: int, count: int) -> list[Entry]:
        """Return what was queued, in its order, then what was in hand."""
        names: list[tuple[bytes, float]] = await self._client.call(
            "zrange", self.key(0), start, start + count - 1, withscores=True
        )
        entries: list[Entry] = []
        if names:
            data = await self._client.call("hmget", self.key(1), [name for name, _ in names])
            entries = [Entry(d, score) for d, (_, score) in zip(data, names, strict=True)]
        if len(entries) < count:
            queued = int(await self._client.call("zcard", self.key(0)))
            entries += await self._held(max(0, start - queued), count - len(entries))
        return entries

    async def _held(self, start: int, count: int) -> list[Entry]:
        if self._in_hand is None:
            self._in_hand = sorted(await self._client.call("hkeys", self.key(3)))
        names = self._in_hand[start : start + count]
        data: list[Any] = await self._client.call("hmget", self.key(3), names) if names else []
        return [Entry(one) for one in data]

    async def seen_total(self) -> int:
        return 0

    async def seen(self) -> AsyncIterator[list[bytes]]:
        """Yield nothing: Crawlo's fingerprints say nothing about ours."""
        nothing: list[list[bytes]] = []
        for page in nothing:
            yield page
