"""Start URLs that other programs put into a list, a set, a sorted set or a stream of Redis.

An entry is taken in one step that also notes who has it, and that note goes when its requests are
in the frontier. If the worker dies in between, another one takes the entry over: none is lost, and
one may be queued twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import uuid4

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys, taken_keys
from crawlo_scrapy.store.scripts import Call, run

#: Types of keys that entries can be taken from; "none" has none now.
READABLE = ("list", "set", "zset", "stream", "none")


class Entry(NamedTuple):
    """What stood in the source; `fields`: as an object of a stream's fields, in JSON."""

    name: str
    data: bytes

    @property
    def fields(self) -> bool:
        return self.name.endswith("-fields")


class Source:
    """The key *source*, as the workers of the crawl of *keys* read it."""

    def __init__(self, client: Client, keys: Keys, source: str) -> None:
        self._client = client
        self._keys = keys
        self.name = source
        self._workers, self._prefix = taken_keys(source, keys.name)

    def _taken(self, worker_id: str) -> str:
        return self._prefix + worker_id

    async def take(self, worker_id: str, most: int) -> tuple[str, list[Entry]]:
        """Take up to *most* entries; return the type of the key, and them."""
        names = [self.name, self._workers, self._taken(worker_id)]
        call = Call("source_take", names, [worker_id, most, uuid4().hex])
        [[kind, *flat]] = await run(self._client, call)
        return kind.decode(), _entries(flat)

    async def adopt(self, worker_id: str) -> list[Entry]:
        """Take over what workers have that are no longer in the crawl."""
        found: list[Entry] = []
        for owner in await self._client.call("smembers", self._workers):
            if await self._client.call("zscore", self._keys.workers, owner) is None:
                theirs, mine = self._prefix.encode() + owner, self._taken(worker_id)
                call = Call("source_adopt", [self._workers, theirs, mine], [owner, worker_id])
                found += _entries((await run(self._client, call))[0])
        return found

    async def held(self, worker_id: str) -> list[Entry]:
        """Return what *worker_id* has taken and not dropped."""
        found = await self._client.call("hgetall", self._taken(worker_id))
        return [Entry(name.decode(errors="surrogateescape"), data) for name, data in found.items()]

    async def drop(self, worker_id: str, names: list[str]) -> None:
        """Forget entries whose requests are in the frontier."""
        given = [name.encode(errors="surrogateescape") for name in names]
        call = Call("source_drop", [self._workers, self._taken(worker_id)], [worker_id, *given])
        await run(self._client, call)


def _entries(flat: list[Any]) -> list[Entry]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [Entry(name.decode(errors="surrogateescape"), data) for name, data in pairs]
