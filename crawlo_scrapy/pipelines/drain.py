"""From the stream in Redis to a storage that stays: `crawlo-scrapy items drain`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from crawlo_scrapy.pipelines.base import MISFIT_AFTER
from crawlo_scrapy.pipelines.batching import Backoff, Batcher, BatchLimits
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.stream_format import decode
from crawlo_scrapy.pipelines.writer import Writer
from crawlo_scrapy.store.errors import StoreError, StoreUnavailable
from crawlo_scrapy.store.item_reader import ItemReader, ItemsGone, look
from crawlo_scrapy.store.items import Entry

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: How long one read waits for an item, in ms; stopping is noticed after it.
_WAIT_MS = 500
#: What is read first; more once it is known how large items are.
_FIRST_COUNT = 100
#: How long a drain that is told to stop may take to store what it has, in seconds. Docker
#: kills after 10.
STOP_GRACE = 8.0
#: Between two lines in the log about how far it is, in seconds.
_PROGRESS_INTERVAL = 60.0


@dataclass(frozen=True)
class Target:
    """Where items go, and in what pieces.

    `gather`: how many seconds a batch waits to become full. `probe`: whether only the first
    write tells if the storage can be used at all.
    """

    label: str
    writer: Writer
    limits: BatchLimits
    backoff: Backoff
    gather: float = 0.0
    probe: bool = False


@dataclass
class Drained:
    """What a drain did. `left` is how many items were in the stream at the end."""

    stored: int = 0
    refused: int = 0
    taken_over: int = 0
    given_back: int = 0
    left: int = 0


class Drain:
    """Takes items out of a crawl's stream once they are stored; any number may run at once.

    It ends when the stream is empty, and with *follow* only when its crawl is over, too. An item
    that the storage refuses goes to the crawl's dead items; *skip_refused* goes on even if that
    is each of the first ones. What a reader took and did not settle for *silence* seconds is
    taken over.
    """

    def __init__(
        self,
        reader: ItemReader,
        target: Target,
        *,
        follow: bool = False,
        silence: float = 30.0,
        skip_refused: bool = False,
    ) -> None:
        self.result = Drained()
        self._reader = reader
        self._target = target
        self._follow = follow
        self._silence = silence
        self._skip_refused = skip_refused
        self._batcher = Batcher(target.writer.write, self, target.limits, target.backoff)
        self._count = min(_FIRST_COUNT, target.limits.count)
        self._held: set[str] = set()
        self._look_for_stuck = 0.0
        self._reading = asyncio.Lock()
        self._ended = asyncio.Event()
        self._grace = STOP_GRACE
        self._failure: StorageError | None = None
        self._away: set[str] = set()
        self._crawl_was_there = False

    async def run(self) -> Drained:
        """Drain until the end, or until `stop`.

        Raises `StorageError` when the storage cannot be used, `StoreError` for Redis. What was
        not stored is in the stream afterwards.
        """
        try:
            await self._target.writer.open()
            await self._reader.open()
            await self._work()
        finally:
            await self._target.writer.close()
        if self._failure is not None:
            raise self._failure
        return self.result

    def stop(self) -> None:
        """Let `run` store what it has, for `STOP_GRACE` seconds at most, and return."""
        self._ended.set()

    async def _work(self) -> None:
        keeper = asyncio.create_task(self._keep())
        # One lane reads while the others' batches are being written.
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._target.limits.writes + 1)]
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([ended, *lanes], return_when=asyncio.FIRST_COMPLETED)
            self._ended.set()
            await asyncio.wait(lanes, timeout=self._grace)
        finally:
            for task in (keeper, ended, *lanes):
                task.cancel()
            outcomes = await asyncio.gather(*lanes, return_exceptions=True)
            await asyncio.gather(keeper, ended, return_exceptions=True)
            await self._batcher.abort()
            await self._leave()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _leave(self) -> None:
        self.result.given_back = len(self._held)
        try:
            await self._reader.release(list(self._held))
            await self._reader.leave()
            self.result.left = (await look(self._reader.client, self._reader.keys)).waiting
        except ItemsGone:
            return
        except StoreError as exc:
            logger.warning("%d items are given back only in a while: %s", len(self._held), exc)

    async def _lane(self) -> None:
        while True:
            async with self._reading:  # so that batches become full
                entries = await self._next()
            if not entries:
                return
            await self._settle(entries)

    async def _next(self) -> list[Entry]:
        """Return a batch, or nothing at the end."""
        limits, size, due = self._target.limits, 0, 0.0
        entries: list[Entry] = []
        while not self._ended.is_set():
            found = await self._insist(partial(self._read, limits.count - len(entries)))
            if found and not entries:
                due = time.monotonic() + self._target.gather
            entries += found
            size += sum(len(entry.item.payload) for entry in found)
            full = len(entries) >= limits.count or size >= limits.size
            if entries and (full or time.monotonic() >= due or not (found or self._follow)):
                break
            if not found and not entries and await self._insist(self._is_over):
                self._ended.set()
        return entries

    async def _read(self, room: int) -> list[Entry]:
        count, now = min(self._count, room), time.monotonic()
        found: list[Entry] = []
        try:
            if now >= self._look_for_stuck:
                found = await self._reader.take_over(count, round(self._silence * 1000))
                found = [entry for entry in found if entry.id not in self._held]
                self.result.taken_over += len(found)
                if not found:
                    self._look_for_stuck = now + self._silence / 2
            found = found or await self._reader.read(count, _WAIT_MS)
        except ItemsGone:
            if not await self._is_over():
                await self._reader.open()
        self._held.update(entry.id for entry in found)
        self._crawl_was_there = self._crawl_was_there or bool(found)
        size = sum(len(entry.item.payload) for entry in found)
        if size > self._target.limits.size:
            self._count = max(1, self._count // 2)
        elif len(found) == self._count and 2 * size < self._target.limits.size:
            self._count = min(self._target.limits.count, 2 * self._count)
        return found

    async def _is_over(self) -> bool:
        state = await look(self._reader.client, self._reader.keys)
        if state.waiting:
            return False
        if not self._follow or state.state in ("finished", "purging"):
            return True
        purged = self._crawl_was_there and not state.state
        self._crawl_was_there = self._crawl_was_there or bool(state.state)
        return purged

    async def _settle(self, entries: Sequence[Entry]) -> None:
        reasons = await asyncio.gather(*map(self._store, entries))
        outcomes, name = list(zip(entries, reasons, strict=True)), self._target.writer.name
        stored = [entry.id for entry, reason in outcomes if reason is None]
        refused = [(entry, reason) for entry, reason in outcomes if reason is not None]
        await self._insist(partial(self._reader.done, stored))
        self._held.difference_update(stored)
        self.result.stored += len(stored)
        if len(refused) >= MISFIT_AFTER and not self.result.stored and not self._skip_refused:
            self._fail(
                f"{name} refused each of the first {len(refused)} items, so they stay in the "
                f"stream; the first reason: {refused[0][1]}. (--skip-refused makes dead items of "
                "them.)"
            )
            return
        for entry, reason in refused:
            await self._insist(partial(self._reader.bury, entry, reason, name))
            logger.error(
                "%s refused item %s of class %s, which is a dead item now: %s",
                name, entry.id, entry.item.item_class, reason,
            )  # fmt: skip
            self._held.discard(entry.id)
            self.result.refused += 1

    async def _store(self, entry: Entry) -> str | None:
        """Return once the item is stored, or the reason why it never can be."""
        writer = self._target.writer
        try:
            fields, item_class = decode(entry.item)
            row = await self._batcher.persist(partial(writer.prepare, fields, item_class))
            await self._batcher.store(row)
        except ItemRefused as exc:
            return str(exc) or "no reason given"
        except Exception as exc:  # a value that nobody thought of must not end the drain
            return f"it cannot be stored: {exc!r}"
        return None

    def _fail(self, message: str) -> None:
        self._failure = self._failure or StorageError(message)
        self._ended.set()

    async def _keep(self) -> None:
        """Keep other readers from what this one has, and say how far it is."""
        told, next_line = 0, time.monotonic() + _PROGRESS_INTERVAL
        while True:
            await asyncio.sleep(self._silence / 3)
            try:
                await self._reader.keep(list(self._held))
            except StoreError:
                continue  # the lanes tell
            if time.monotonic() >= next_line and self.result.stored > told:
                told, next_line = self.result.stored, time.monotonic() + _PROGRESS_INTERVAL
                logger.info("%d items stored in %s", told, self._target.label)

    async def _insist(self, action: Callable[[], Awaitable[_T]]) -> _T:
        """Return what *action* returns, repeating it while Redis is away."""
        attempt = 0
        while True:
            try:
                result = await action()
            except StoreUnavailable as exc:
                attempt += 1
                self._tell_away("Redis", str(exc))
                await asyncio.sleep(min(self._target.backoff.delay(attempt), 5.0))
            else:
                self._tell_back("Redis")
                return result

    def _tell_away(self, what: str, why: str) -> None:
        if what not in self._away:
            self._away.add(what)
            logger.warning("%s is away, items wait for it: %s", what, why)

    def _tell_back(self, what: str) -> None:
        if what in self._away:
            self._away.remove(what)
            logger.info("%s is back", what)

    # What the batcher tells.

    def stored(self, count: int) -> None:
        pass

    def away(self, error: StorageUnavailable, delay: float) -> None:
        if self._target.probe and not self.result.stored:
            self._grace = 0.0
            self._fail(str(error))
            return
        self._tell_away(self._target.writer.name, str(error))

    def back(self) -> None:
        self._tell_back(self._target.writer.name)
