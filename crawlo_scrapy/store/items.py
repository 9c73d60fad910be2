"""The stream of items that are on their way from the workers to their storage.

An entry leaves the stream only by `done`, which a reader calls once its storage has confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis.exceptions as rex

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import translate
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: The consumer group that all readers of a crawl's items share.
GROUP = "drain"


class ItemsFull(Exception):
    """The stream holds as many items as it may; readers have to take some first."""


@dataclass(frozen=True, slots=True)
class StreamItem:
    """An item as bytes. `format` is ``json`` or ``msgpack``, `item_class` an import path."""

    format: str
    item_class: str
    payload: bytes
    #: What the item is known by; without one it is stored however often it comes.
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An item in the stream. `deliveries` counts how often readers have been given it."""

    id: str
    item: StreamItem
    deliveries: int = 1


class Items:
    """A crawl's stream of items."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    async def append(
        self, writer: str, batch: int, items: Sequence[StreamItem], limit: int = 0
    ) -> list[int]:
        """Append *items*; return the places of those that were stored before.

        *batch* counts up for each *writer*: a batch that is sent again is not stored again.
        Raises `ItemsFull` when *limit* entries wait, with nothing appended; `StoreError`.
        """
        args: list[str | bytes | int] = [writer, batch, limit]
        for item in items:
            bits = seen.split(item.fingerprint) if item.fingerprint is not None else ("", "")
            args += [item.format, item.item_class, item.payload, *bits]
        keys = self.keys
        names = [keys.items, keys.items_writers, keys.items_seen, keys.items_seen_prefix]
        [reply] = await run(self.client, Call("items_append", names, args))
        if reply[0] == b"full":
            raise ItemsFull(
                f"{keys.items} holds {reply[1]} items, as many as it may: start "
                "`crawlo-scrapy items drain`, or more of them"
            )
        return [int(place) for place in reply[2:]]

    async def forget_writer(self, writer: str) -> None:
        """Drop the count of a *writer* that has ended."""
        await self.client.call("hdel", self.keys.items_writers, writer)

    async def seen(self, fingerprints: Sequence[bytes]) -> list[bool]:
        """Return for each of *fingerprints* whether an item of it was stored."""
        names = [self.keys.items_seen, self.keys.items_seen_prefix]
        [found] = await run(self.client, Call("items_seen", names, _bits(fingerprints)))
        return [bool(value) for value in found]

    async def record(self, fingerprints: Sequence[bytes]) -> None:
        """Remember that items of *fingerprints* are stored."""
        names = [self.keys.items_seen, self.keys.items_seen_prefix]
        await run(self.client, Call("seen_add", names, _bits(fingerprints)))

    async def count(self) -> int:
        """Return how many items wait in the stream, those included that a reader has now."""
        return int(await self.client.call("xlen", self.keys.items))

    async def open_group(self) -> None:
        """Make the readers' group, from the stream's beginning, unless it is there."""
        try:
            await self.client.redis.xgroup_create(self.keys.items, GROUP, id="0", mkstream=True)
        except rex.ResponseError as exc:
            if not str(exc).startswith("BUSYGROUP"):
                raise translate(exc, self.client.address) from exc
        except (rex.RedisError, OSError) as exc:
            raise translate(exc, self.client.address) from exc

    async def read(self, reader: str, count: int, wait_ms: int | None = None) -> list[Entry]:
        """Return up to *count* items that no reader has; wait for the first up to *wait_ms*."""
        reply = await self.client.call(
            "xreadgroup", GROUP, reader, {self.keys.items: ">"}, count=count, block=wait_ms
        )
        return [_entry(*found) for _, entries in reply or () for found in entries]

    async def take_over(self, reader: str, count: int, silent_ms: int) -> list[Entry]:
        """Return up to *count* items that another reader took *silent_ms* ago and never settled."""
        stuck = await self.client.call(
            "xpending_range", self.keys.items, GROUP, "-", "+", count, idle=silent_ms
        )
        times = {entry["message_id"]: int(entry["times_delivered"]) + 1 for entry in stuck}
        if not times:
            return []
        taken = await self.client.call(
            "xclaim", self.keys.items, GROUP, reader, silent_ms, list(times)
        )
        return [_entry(entry_id, found, times[entry_id]) for entry_id, found in taken if found]

    async def done(self, ids: Sequence[str]) -> None:
        """Remove entries that are stored."""
        if ids:
            pipeline = self.client.redis.pipeline(transaction=True)
            pipeline.xack(self.keys.items, GROUP, *ids)
            pipeline.xdel(self.keys.items, *ids)
            try:
                await pipeline.execute()
            except (rex.RedisError, OSError) as exc:
                raise translate(exc, self.client.address) from exc


def _bits(fingerprints: Sequence[bytes]) -> list[int]:
    return [bits for fingerprint in fingerprints for bits in seen.split(fingerprint)]


def _entry(entry_id: bytes, found: dict[bytes, bytes], deliveries: int = 1) -> Entry:
    item_class = found.get(b"class", b"").decode("utf-8", "replace")
    format, payload = next(((k, v) for k, v in found.items() if k != b"class"), (b"", b""))
    item = StreamItem(format.decode("utf-8", "replace"), item_class, payload)
    return Entry(entry_id.decode(), item, deliveries)
