"""Readers of a crawl's items: each item goes to one of them, and leaves once it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.items import Entry, parse_entry
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: The consumer group that all readers of a crawl's items share.
GROUP = "drain"
#: How many entries one command names at most; Redis does nothing else meanwhile.
STEP = 1000
#: How long ago, in ms, an entry that was given back seems to have been taken: long enough for
#: every reader to take it over at once.
_LONG_AGO = 10**9


class ItemsGone(StoreError):
    """The stream, or its group of readers, is not there (any more)."""


@dataclass(frozen=True)
class StreamState:
    """One look at a stream and its crawl, whose `state` is empty when there is none."""

    exists: bool
    waiting: int
    dead: int
    state: str


@dataclass(frozen=True)
class ReaderState:
    """A reader as Redis sees it: how many entries it has, and for how long it did nothing."""

    name: str
    holds: int
    idle: float


async def look(client: Client, keys: Keys) -> StreamState:
    """Return how stream and crawl stand at one moment. Raises `StoreError`."""
    exists, waiting, dead, state = await _together(
        client,
        ("EXISTS", keys.items),
        ("XLEN", keys.items),
        ("XLEN", keys.items_dead),
        ("HGET", keys.meta, "state"),
    )
    return StreamState(bool(exists), int(waiting), int(dead), (state or b"").decode())


async def readers(client: Client, keys: Keys) -> list[ReaderState]:
    """Return the readers that have entries now. Raises `StoreError`."""
    try:
        found = await _call(client, "xinfo_consumers", keys.items, GROUP)
    except ItemsGone:
        return []
    states = [
        ReaderState(reader["name"].decode(), int(reader["pending"]), int(reader["idle"]) / 1000)
        for reader in found
    ]
    return [state for state in states if state.holds]


class ItemReader:
    """One reader. What it has been given stays in the stream until `done` or `bury`."""

    def __init__(self, client: Client, keys: Keys, name: str) -> None:
        self.client = client
        self.keys = keys
        self.name = name
        self._cursor = b"0-0"

    async def open(self) -> None:
        """Make the readers' group, from the stream's beginning, unless it is there."""
        try:
            await self.client.call("xgroup_create", self.keys.items, GROUP, id="0", mkstream=True)
        except StoreError as exc:
            if not str(exc.__cause__).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int, wait_ms: int | None = None) -> list[Entry]:
        """Return up to *count* items that no reader has; wait for the first up to *wait_ms*.

        Raises `ItemsGone`. If the answer is lost, nobody has what it held: `take_over` finds it.
        """
        key = self.keys.items
        block = () if wait_ms is None else ("BLOCK", wait_ms)
        # Not by redis-py's method: in a cluster it asks the server first where the key stands.
        reply = await _call(
            self.client, "execute_command",
            "XREADGROUP", "GROUP", GROUP, self.name, "COUNT", count, *block, "STREAMS", key, ">",
            near=key,
        )  # fmt: skip
        return [parse_entry(*found) for _, entries in reply or () for found in entries]

    async def take_over(self, count: int, silent_ms: int) -> list[Entry]:
        """Return up to *count* items that somebody took *silent_ms* ago and never settled.

        Time is Redis's. A reader that lives calls `keep`, and nothing of it is taken.
        """
        while True:
            self._cursor, found, *_ = await _call(
                self.client, "xautoclaim",
                self.keys.items, GROUP, self.name, silent_ms, self._cursor, count,
            )  # fmt: skip
            taken = [parse_entry(*entry) for entry in found if entry[0] is not None]
            if taken or self._cursor == b"0-0":
                return taken

    async def keep(self, ids: Sequence[str]) -> None:
        """Say that this reader still works at these entries."""
        await self._claim(ids, {})

    async def release(self, ids: Sequence[str]) -> None:
        """Let any reader take these entries over at once."""
        await self._claim(ids, {"idle": _LONG_AGO})

    async def _claim(self, ids: Sequence[str], options: dict[str, Any]) -> None:
        for i in range(0, len(ids), STEP):
            step = list(ids[i : i + STEP])
            await _call(
                self.client, "xclaim",
                self.keys.items, GROUP, self.name, 0, step, justid=True, **options,
            )  # fmt: skip

    async def done(self, ids: Sequence[str]) -> None:
        """Remove entries that are stored. May be repeated."""
        for i in range(0, len(ids), STEP):
            step = ids[i : i + STEP]
            await _together(
                self.client,
                ("XACK", self.keys.items, GROUP, *step),
                ("XDEL", self.keys.items, *step),
            )

    async def bury(self, entry: Entry, reason: str, storage: str) -> None:
        """Move an entry to the dead items, unless somebody has settled it. May be repeated."""
        names = [self.keys.items, self.keys.items_dead]
        args = [
            GROUP, entry.id, reason.encode("utf-8", "replace"), storage,
            entry.item.format, entry.item.payload, entry.item.item_class,
        ]  # fmt: skip
        await run(self.client, Call("items_bury", names, args))

    async def leave(self) -> None:
        """Strike this reader off, unless it still has entries."""
        keys = self.keys
        names = [keys.items, keys.meta, keys.items_dead, keys.items_writers]
        await run(self.client, Call("items_leave", names, [GROUP, self.name]))


async def _call(client: Client, method: str, *args: Any, **kwargs: Any) -> Any:
    try:
        return await client.call(method, *args, **kwargs)
    except StoreError as exc:
        if str(exc.__cause__).startswith(("NOGROUP", "UNBLOCKED", "no such key")):
            raise ItemsGone("There is no stream of items, or no group of readers.") from exc
        raise


async def _together(client: Client, *commands: Sequence[Any]) -> list[Any]:
    results = await client.send(commands, transaction=True)
    for result in results:
        if isinstance(result, Exception):
            raise await client.failure(result) from result
    return results
