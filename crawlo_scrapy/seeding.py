"""Seeding: start requests enter the crawl once, however many workers start together.

One worker at a time holds the right to iterate the spider's `start()`. If it dies, another
takes over from the beginning, and what is queued already is not queued again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from scrapy import Request, signals
from scrapy.exceptions import CloseSpider

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from crawlo_scrapy.buffers import Buffers
    from crawlo_scrapy.membership import Registration

logger = logging.getLogger(__name__)


class Seeding:
    """The seeding of one worker.

    *role* is ``auto``, ``control`` or ``worker`` (which never seeds); *mode* is ``once`` or
    ``every`` (each worker has start requests of its own). *restart* makes the engine iterate
    `start()` once more.
    """

    def __init__(
        self,
        crawler: Crawler,
        role: str,
        mode: str,
        restart: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._role = role
        self._restart = restart
        self._restarted: asyncio.Task[None] | None = None
        self._every = mode == "every"
        self._wanted = False
        self._granted = self._every
        self._over = False
        self._decided = asyncio.Event()
        self._waiting = False
        self._free = True
        self._next_claim = 0.0
        self._outcome: str | None = None
        self._settled = ""
        self._due = 0
        self._reach = 0
        self._items = 0
        self._requests: WeakSet[Request] = WeakSet()
        self._copies: Counter[int] = Counter()
        for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
            crawler.signals.connect(self._item_through, signal)

    def mode_of(self, request: Request, member: int) -> str:
        """Return the push mode for *request*, whose fingerprint is *member*, or "" for usual.

        A start request that is not filtered is queued once all the same, whoever sends it;
        its number tells it from an equal one in the same `start()`.
        """
        if request not in self._requests or self._every or not request.dont_filter:
            return ""
        self._requests.discard(request)
        self._copies[member] += 1
        return f"s{self._copies[member]}"

    async def stream(self, start: AsyncIterator[Any], buffers: Buffers) -> AsyncIterator[Any]:
        """Yield what `start()` yields, while this worker holds the right to seed."""
        if self._role == "worker" and not self._every:
            return
        outcome = ""
        try:
            if not await self._right(buffers):
                return
            async for item in start:
                await buffers.wait_for_room()
                if buffers.closing or not await self._right(buffers):
                    return
                if isinstance(item, Request):
                    self._requests.add(item)
                else:
                    self._items += 1
                yield item
            outcome = "done"
        except CloseSpider:
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            # Also when the engine stops iterating: then others take over.
            self._reach = buffers.offered
            if outcome or self._granted:
                self._outcome = outcome
            buffers.wake()

    async def _right(self, buffers: Buffers) -> bool:
        while not self._granted and not self._over:
            self._wanted = self._waiting = True
            self._decided.clear()
            buffers.wake()
            await self._decided.wait()
            self._waiting = False
        return self._granted

    async def step(self, buffers: Buffers, registration: Registration) -> None:
        """Ask for the right, or settle it, when it is time."""
        if self._due:
            await self._seed_again(registration)
        if self._wanted and (self._free or time.monotonic() > self._next_claim):
            self._next_claim = time.monotonic() + registration.heartbeat_interval
            await self._claim(registration)
        if self._outcome is not None and self._granted and buffers.safe >= self._reach:
            if self._items and self._outcome:
                return  # an item of start() is still in the pipelines
            if buffers.local and self._outcome:
                return  # nobody but this worker knows them: if it dies, they are seeded anew
            await registration.settle_seeding(self._outcome)
            if self._outcome == "failed":
                logger.error(
                    "start() failed, so that some start requests may be missing. The crawl goes "
                    "on with what it has; start it again when it has ended."
                )
            self._settled, self._outcome = self._outcome, None

    async def _claim(self, registration: Registration) -> None:
        answer = await registration.claim_seeding()
        self._granted, self._over = answer == "yours", answer == "done"
        if self._over:
            self._outcome = None
        if answer == "theirs":
            return
        self._wanted = False
        self._decided.set()
        if self._granted and not self._waiting and self._outcome is None:
            logger.warning(
                "Redis has forgotten that the start requests are in, and who put them there is "
                "gone: iterating start() again. What is queued already is not queued again."
            )
            self._restarted = asyncio.ensure_future(self._restart())

    def again(self, due: int) -> None:
        """Have `start()` iterated once more, by one worker: whichever asks first for *due* (ms)."""
        self._due = due

    async def _seed_again(self, registration: Registration) -> None:
        yours = await registration.claim_due(self._due)
        due, self._due = self._due, 0
        if yours:
            logger.info("It is this worker's to iterate start() again (due %d)", due)
            self._granted, self._over, self._wanted = True, False, False
            self._outcome, self._settled = None, ""
            self._copies.clear()
            self._restarted = asyncio.ensure_future(self._restart())

    def observe(self, seeding: str, seeder: str, worker_id: str) -> None:
        """Compare what Redis says of the seeding with what *worker_id*, this worker, knows."""
        self._free = bool(seeding) or not seeder
        if self._due:
            return  # an answer may have been lost that gave this worker the right
        if self._settled and not seeding and seeder not in ("", worker_id):
            # Another one seeds anew. If it dies, what this worker did once does not count.
            self._settled, self._outcome, self._granted, self._over = "", None, False, True
        if self._settled and not seeding:
            self.interrupted()
        elif self._over and not seeding and not seeder:
            self._wanted = True

    def interrupted(self) -> None:
        """Redis may have forgotten what this worker did, or that it seeds: ask again.

        It may go on, or settle what it has seeded, only if nobody has taken over.
        """
        self._outcome = self._outcome or self._settled or None
        self._settled = ""
        if not self._every:
            self._granted = False
            self._wanted = self._wanted or self._outcome is not None

    def _item_through(self, response: Any) -> None:
        if response is None and self._items:
            self._items -= 1
