"""The stream of items that are on their way from the workers to their storage.

Workers append to it; `store.item_reader` takes entries out, `store.dead_items` keeps those that
no storage takes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

logger = logging.getLogger(__name__)

#: How many entries are read in one step, to look at them.
STEP = 500
#: What stands in an entry besides the item itself, which is under its format's name.
_ABOUT = frozenset({b"class", b"reason", b"storage"})


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
    """An item in the stream; a dead one with the `reason` why its `storage` refused it."""

    id: str
    item: StreamItem
    reason: str = ""
    storage: str = ""

    @property
    def time(self) -> int:
        """When it was appended, by Redis's clock, in milliseconds since 1970."""
        return int(self.id.partition("-")[0])


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
                f"`crawlo-scrapy items drain {keys.name} --to …`, or more of them"
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

    async def last(self, count: int) -> list[Entry]:
        """Return the newest *count* items, oldest first; no reader misses them for it."""
        found = await self.client.call("xrevrange", self.keys.items, count=count)
        return [parse_entry(*entry) for entry in reversed(found)]

    async def wait_after(self, entry_id: str, wait_ms: int) -> list[Entry]:
        """Return what was appended after *entry_id*; wait for the first up to *wait_ms*."""
        key = self.keys.items
        command = ("XREAD", "COUNT", STEP, "BLOCK", wait_ms, "STREAMS", key, entry_id)
        reply = await self.client.call("execute_command", *command, near=key)
        return [parse_entry(*found) for _, entries in reply or () for found in entries]

    def all(self) -> AsyncIterator[Entry]:
        """Yield what is in the stream now, oldest first, and nothing that comes meanwhile."""
        return scan(self.client, self.keys.items)


async def scan(client: Client, stream: str) -> AsyncIterator[Entry]:
    """Yield what is in *stream* now, in steps. Raises `StoreError`."""
    newest = await client.call("xrevrange", stream, count=1)
    after = "-"
    while newest:
        page = await client.call("xrange", stream, after, newest[0][0], STEP)
        for found in page:
            yield parse_entry(*found)
        if len(page) < STEP:
            return
        after = f"({page[-1][0].decode()}"


async def purge_items(client: Client, keys: Keys, token: str, undrained: bool) -> int:
    """Do a purge's part: remove the stream, *undrained* items in it only if so. Returns how many.

    *token* is the purge's; the number is of keys. What stays is logged.
    """
    names = [keys.meta, keys.items, keys.items_dead, keys.items_writers]
    [[removed, waiting, dead]] = await run(
        client, Call("purge_items", names, [token, int(undrained)])
    )
    if waiting or dead:
        logger.warning(
            "%d items of %s that nobody has drained and %d dead ones stay in Redis: "
            "`crawlo-scrapy items drain %s --to …` stores the former, `crawlo-scrapy items dead "
            "list %s` shows the latter, `crawlo-scrapy purge %s --items` removes all",
            waiting, keys.name, dead, keys.name, keys.name, keys.name,
        )  # fmt: skip
    return max(0, int(removed))


def _bits(fingerprints: Sequence[bytes]) -> list[int]:
    return [bits for fingerprint in fingerprints for bits in seen.split(fingerprint)]


def parse_entry(entry_id: bytes, found: dict[bytes, bytes]) -> Entry:
    """Return an entry of the stream, or of the dead items, as it stands there."""
    about = {name: found.get(name, b"").decode("utf-8", "replace") for name in _ABOUT}
    format, payload = next(((k, v) for k, v in found.items() if k not in _ABOUT), (b"", b""))
    item = StreamItem(format.decode("utf-8", "replace"), about[b"class"], payload)
    return Entry(entry_id.decode(), item, about[b"reason"], about[b"storage"])
