"""Queues of scrapy-redis and Crawlo. Moving one begins with setting it aside under another name.

Nobody else reads or writes what was set aside: its entries keep their places, so that a move that
was interrupted goes on where it was. A ticket beside it says which move that is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

from crawlo_scrapy.migration.requests import Entry
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import MIGRATING, MIGRATION_TICKET

#: How many fingerprints, or entries that were moved before, are read in one step.
SCAN_STEP = 1000


class RedisSource:
    """The keys of one foreign queue; the first is the one that the move is known by.

    The last is *seen*, a set of fingerprints, if that is moved too.
    """

    def __init__(self, client: Client, keys: Sequence[str], seen: str | None = None) -> None:
        self._client = client
        self._keys = [*keys, *([seen] if seen else [])]
        self._with_seen = seen is not None
        self._ticket = MIGRATION_TICKET + keys[0]
        self._aside = False
        #: The move that has begun, or "".
        self.id = ""

    async def read(self, start: int, count: int) -> list[Entry]:
        """Return up to *count* entries from the place *start* on; none at the end."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The key that the move is known by."""
        return self._keys[0]

    @property
    def names(self) -> list[str]:
        """All keys."""
        return self._keys

    def key(self, place: int) -> str:
        """Return the name that a key has now."""
        return (MIGRATING if self._aside else "") + self._keys[place]

    async def open(self, crawl: str) -> None:
        """See whether a move has begun. Raises `StoreRefused` if it is to another crawl."""
        ticket = await self._client.call("get", self._ticket)
        if ticket is not None:
            self.id, _, owner = ticket.decode().partition(" ")
            if owner != crawl:
                raise StoreRefused(
                    f"{self._keys[0]} is being moved into the crawl {owner}. "
                    "Let that be finished first."
                )
            self._aside = True
        if self._with_seen:
            await self.type_of(-1, "set")

    async def begin(self, crawl: str) -> None:
        """Set the keys aside, all at once, unless that was done. Raises `StoreRefused`."""
        if self._aside:
            return
        for name in (MIGRATING + key for key in self._keys):
            if await self._client.call("exists", name):
                raise StoreRefused(
                    f"{name} is there, of a move that nobody knows of any more. Give it back the "
                    f"name {name.removeprefix(MIGRATING)} to move it, or delete it."
                )
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

    async def seen_total(self) -> int:
        return int(await self._client.call("scard", self.key(-1))) if self._with_seen else 0

    async def seen(self) -> AsyncIterator[list[bytes]]:
        """Yield all fingerprints, in hexadecimal."""
        cursor = 0
        while self._with_seen:
            cursor, page = await self._client.call("sscan", self.key(-1), cursor, count=SCAN_STEP)
            yield list(page)
            if not int(cursor):
                return

    async def knows(self, fingerprint: bytes) -> bool:
        """Whether the set has a fingerprint."""
        return bool(await self._client.call("sismember", self.key(-1), fingerprint.hex()))


class ScrapyRedisSource(RedisSource):
    """A list or sorted set of scrapy-redis, and its set of fingerprints if it is moved too."""

    def __init__(self, client: Client, queue: str, dupefilter: str | None) -> None:
        super().__init__(client, [queue], dupefilter)
        self._kind = ""

    async def open(self, crawl: str) -> None:
        await super().open(crawl)
        self._kind = await self.type_of(0, "list", "zset")

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


class CrawloSource(RedisSource):
    """A sorted set of Crawlo with its requests' data, and what workers of 1.4 had in hand."""

    def __init__(self, client: Client, queue: str, seen: str | None = None) -> None:
        processing = (
            queue.replace(":queue:requests", ":queue:processing")
            if ":queue:requests" in queue
            else f"{queue}:processing"
        )
        super().__init__(client, [queue, f"{queue}:data", processing, f"{processing}:data"], seen)
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


class CrawloStreamSource(RedisSource):
    """The streams of Crawlo 1.7: what goes first (key + ":high"), then the others.

    What its workers had in hand is still in them.
    """

    def __init__(self, client: Client, stream: str, seen: str | None = None) -> None:
        super().__init__(client, [stream, f"{stream}:high"], seen)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._count = 0  # of the entries before the next one
        self._unread = [1, 0]  # places of the keys that follow
        self._last = b"-"

    async def open(self, crawl: str) -> None:
        await super().open(crawl)
        for place in (0, 1):
            await self.type_of(place, "stream")

    async def total(self) -> int:
        lengths = [await self._client.call("xlen", self.key(place)) for place in (0, 1)]
        return sum(map(int, lengths))

    async def read(self, start: int, count: int) -> list[Entry]:
        """Return entries in the order in which they would have been taken."""
        if start < self._count:
            self._begin_anew()
        while self._count < start and await self._page(min(SCAN_STEP, start - self._count)):
            pass
        return [
            Entry(fields.get(b"data"), float(fields.get(b"priority") or 0))
            for fields in await self._page(count)
        ]

    async def _page(self, count: int) -> list[dict[bytes, bytes]]:
        page: list[dict[bytes, bytes]] = []
        while self._unread and len(page) < count:
            key = self.key(self._unread[0])
            found = await self._client.call("xrange", key, self._last, "+", count - len(page))
            if found:
                self._last = b"(" + found[-1][0]
                page += [fields for _, fields in found]
            else:
                self._unread.pop(0)
                self._last = b"-"
        self._count += len(page)
        return page


async def crawlo_source(
    client: Client, project: str, spider: str, crawl: str, *, key: str | None, with_seen: bool
) -> CrawloSource | CrawloStreamSource:
    """Return the queue of that *key*, or the one that Crawlo has left of a spider; opened.

    Its filter comes with it, where there can be one. Raises `StoreRefused` if there are several.
    """
    base = f"crawlo:{project}:{spider}"
    keys = [f"{base}:stream:tasks", f"{base}:queue:requests", f"crawlo:{project}:queue:requests"]
    found: list[CrawloSource | CrawloStreamSource] = []
    for name in [key] if key else keys:
        kinds = [await client.call("type", where) for where in (name, MIGRATING + name)]
        kind = CrawloStreamSource if b"stream" in kinds else CrawloSource
        namespace = re.fullmatch(r"(.+):(?:stream:tasks|queue:requests)", name)
        seen = f"{namespace[1]}:dedup:request" if namespace and with_seen else None
        source = kind(client, name, seen)
        await source.open(crawl)
        found.append(source)
    full = [source for source in found if source.id or await source.total()]
    if len(full) > 1:
        names = ", ".join(source.name for source in full)
        raise StoreRefused(f"There are several queues: {names}. Say which with --queue-key.")
    return (full or found)[0]
