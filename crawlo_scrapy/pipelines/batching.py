"""Group commit: items gather while a write is under way, and go out together when it ends.

An idle storage gets an item at once, a busy one gets large batches, and nothing has to be
tuned for either. Whoever stores an item waits until its batch is written.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from crawlo_scrapy.pipelines.errors import ItemRefused, RowsRefused, StorageUnavailable
from crawlo_scrapy.pipelines.writer import Row

_T = TypeVar("_T")


@dataclass(frozen=True)
class BatchLimits:
    """When a batch is full, and how much may wait."""

    #: Most items in one write.
    count: int = 500
    #: Most bytes in one write; a single larger item still goes, alone.
    size: int = 4 * 1024 * 1024
    #: Seconds that an item waits for running writes before another is started beside them.
    interval: float = 0.05
    #: Most writes at the same time.
    writes: int = 2
    #: Bytes that may wait or be on their way before `Batcher.room` blocks.
    buffer: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Backoff:
    """Seconds between attempts: doubled from `first` up to `cap`, with jitter."""

    first: float = 0.2
    cap: float = 30.0

    def delay(self, attempt: int) -> float:
        """Return the wait after the *attempt*-th failure, at least half of its full length."""
        full = min(self.cap, self.first * 2.0 ** min(attempt - 1, 60))
        return full * random.uniform(0.5, 1.0)


class Observer(Protocol):
    """Told what happens to batches, for logs and stats."""

    def stored(self, count: int) -> None: ...
    def away(self, error: StorageUnavailable, delay: float) -> None: ...
    def back(self) -> None: ...


@dataclass(eq=False, slots=True)
class _Waiting:
    row: Row
    since: float
    done: asyncio.Future[None]
    settled: bool = False


class Batcher:
    """Writes rows in batches through *write*, and finds the bad ones in a batch that fails."""

    def __init__(
        self,
        write: Callable[[Sequence[Row]], Awaitable[None]],
        observer: Observer,
        limits: BatchLimits | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._write = write
        self._observer = observer
        self._limits = limits or BatchLimits()
        self._backoff = backoff or Backoff()
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._held_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._away = False

    async def room(self) -> None:
        """Return when less than the buffer's bytes wait: the back-pressure before encoding."""
        while self._held_bytes >= self._limits.buffer:
            self._has_room.clear()
            await self._has_room.wait()

    async def store(self, row: Row) -> None:
        """Return when *row* is stored. Raises `ItemRefused` if it never can be."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(row, loop.time(), loop.create_future())
        self._queue.append(waiting)
        self._queued_bytes += row.size
        self._held_bytes += row.size
        if self._pump_handle is None:
            # One turn of the loop later, so that all items of a response go together.
            self._pump_handle = loop.call_soon(self._pump)
        await waiting.done

    async def persist(self, action: Callable[[], Awaitable[_T]]) -> _T:
        """Return what *action* returns, repeating it while it raises `StorageUnavailable`."""
        attempt = 0
        while True:
            try:
                result = await action()
            except StorageUnavailable as exc:
                attempt += 1
                delay = self._backoff.delay(attempt)
                self._away = True
                self._observer.away(exc, delay)
                await asyncio.sleep(delay)
            else:
                if attempt:
                    self._back()
                return result

    def _back(self) -> None:
        if self._away:
            self._away = False
            self._observer.back()

    async def close(self) -> None:
        """Return when everything that was handed to `store` is written or refused."""
        while self._queue or self._tasks:
            self._pump()
            await asyncio.wait(self._tasks)
        for handle in (self._pump_handle, self._timer):
            if handle is not None:
                handle.cancel()

    async def abort(self) -> None:
        """Stop writing. What was under way may be stored or not; its callers are cancelled."""
        while self._queue:
            self._settle(self._queue.popleft(), asyncio.CancelledError())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.close()

    def _pump(self) -> None:
        self._pump_handle = None
        loop = asyncio.get_running_loop()
        while self._queue and self._may_start(loop.time()):
            task = loop.create_task(self._run(self._take()))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        self._arm_timer(loop)

    def _may_start(self, now: float) -> bool:
        if not self._tasks:
            return True
        if self._away or len(self._tasks) >= self._limits.writes:
            return False
        return (
            len(self._queue) >= self._limits.count
            or self._queued_bytes >= self._limits.size
            or now - self._queue[0].since >= self._limits.interval
        )

    def _arm_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue and not self._away and len(self._tasks) < self._limits.writes:
            self._timer = loop.call_at(self._queue[0].since + self._limits.interval, self._pump)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < self._limits.count:
            if batch and size + self._queue[0].row.size > self._limits.size:
                break
            waiting = self._queue.popleft()
            size += waiting.row.size
            batch.append(waiting)
        self._queued_bytes -= size
        return batch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # every waiter has it already
        if self._queue and self._pump_handle is None:
            self._pump()

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            await self._store_or_split(batch)
        except BaseException as exc:
            for waiting in batch:
                self._settle(waiting, exc)
            raise

    async def _store_or_split(self, batch: list[_Waiting]) -> None:
        """Settle every row of *batch*, halving what fails until the bad rows stand alone."""
        parts = [batch]
        while parts:
            part = parts.pop()
            rows = [waiting.row for waiting in part]
            reasons: dict[int, str] = {}
            try:
                await self.persist(lambda rows=rows: self._write(rows))  # type: ignore[misc]
                self._back()
            except RowsRefused as exc:
                self._back()
                reasons = exc.reasons
            except Exception as exc:
                self._back()
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                    continue
                reasons = {0: str(exc) or type(exc).__name__}
            if len(reasons) < len(part):
                self._observer.stored(len(part) - len(reasons))
            for index, waiting in enumerate(part):
                reason = reasons.get(index)
                self._settle(waiting, None if reason is None else ItemRefused(reason))

    def _settle(self, waiting: _Waiting, error: BaseException | None) -> None:
        if waiting.settled:
            return
        waiting.settled = True
        self._held_bytes -= waiting.row.size
        self._has_room.set()
        if waiting.done.done():  # the caller was cancelled
            return
        if error is None:
            waiting.done.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            waiting.done.cancel()
        else:
            waiting.done.set_exception(error)
