"""The task of a worker that brings start URLs from a key of Redis into the crawl."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.utils.httpobj import urlparse_cached

from crawlo_scrapy import settings as ours
from crawlo_scrapy.serializer import SchemeRefused, TooLarge
from crawlo_scrapy.store.errors import StoreError, StoreRefused
from crawlo_scrapy.store.frontier import Push
from crawlo_scrapy.store.source import READABLE, Entry, Source
from crawlo_scrapy.values import CannotDecode

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from crawlo_scrapy.exchange import Exchange
    from crawlo_scrapy.scheduler import RedisScheduler

logger = logging.getLogger(__name__)

#: Shortest and longest pause between two looks at the key, in seconds.
PAUSE = (0.05, 1.0)
#: How often the workers are looked through for entries of those that are gone, in looks.
ADOPT_EVERY = 10
#: How many requests may be queued that nobody can start now, before no more entries are taken.
MOST_AHEAD = 10_000


class StartSource:
    """Takes entries of *source*, *batch* at a time, while the crawl has less than that queued.

    A worker that can start nothing of what is queued takes more: it is delayed, or of slow slots.

    *requests_of* makes requests of an entry. What it makes none of becomes a dead letter.
    """

    def __init__(
        self,
        crawler: Crawler,
        scheduler: RedisScheduler,
        source: Source,
        batch: int,
        requests_of: Callable[[Entry], Iterable[Request]],
    ) -> None:
        assert scheduler.exchange is not None
        self._crawler = crawler
        self._stats: Any = crawler.stats
        self._scheduler = scheduler
        self._exchange: Exchange = scheduler.exchange
        self._source = source
        self._batch = batch
        self._requests_of = requests_of
        allowed = ours.get(crawler.settings, "CRAWLO_ALLOWED_SCHEMES")
        self._schemes = {scheme.lower() for scheme in allowed}
        self._most_bytes: int = ours.get(crawler.settings, "CRAWLO_MAX_REQUEST_SIZE")
        # What is on its way: how much the outbox must have sent, who took it, names of entries.
        self._pending: list[tuple[int, str, list[str]]] = []
        self._unsure = True  # this worker may have entries that it does not know of
        self._looks = 0
        self._told = ""
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())
        scheduler.before_leaving.append(self._leave)
        # Also when this worker could not leave in good order.
        crawler.signals.connect(self._closed, signals.spider_closed)

    @property
    def _worker_id(self) -> str:
        member = self._scheduler.membership
        assert member is not None
        return member.worker_id

    async def _run(self) -> None:
        pause = PAUSE[0]
        while not self._stop.is_set():
            try:
                await self._settle()
                found = await self._look()
            except StoreRefused as exc:
                self._tell(str(exc))
                found = 0
            except StoreError:
                # That Redis is away has been logged; an answer may be lost.
                self._unsure, found = True, 0
            except Exception:
                logger.exception("Cannot read start URLs; trying again")
                self._unsure, found = True, 0
            waits = found or self._pending
            pause = PAUSE[0] if waits else min(2 * pause, PAUSE[1])
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _look(self) -> int:
        """Take what there is, if the crawl wants it; return how many entries that were."""
        buffers, worker_id = self._exchange.buffers, self._worker_id
        most = MOST_AHEAD if buffers.starving else self._batch
        if not buffers.wanted() or buffers.queued + buffers.waiting >= most:
            return 0
        entries: list[Entry] = []
        if self._unsure:
            known = {name for _, _, names in self._pending for name in names}
            entries = [e for e in await self._source.held(worker_id) if e.name not in known]
            self._unsure = False
        if self._looks % ADOPT_EVERY == 0:
            entries += await self._source.adopt(worker_id)
        self._looks += 1
        kind, taken = await self._source.take(worker_id, self._batch)
        if kind not in READABLE:
            self._tell(f"{self._source.name} is a {kind}, not a list, set, sorted set or stream")
        entries += taken
        if entries:
            # Before anything else can happen: who has entries has requests in the outbox.
            for entry in entries:
                self._enqueue(entry)
            names = [entry.name for entry in entries]
            self._pending.append((buffers.offered, worker_id, names))
            self._stats.inc_value("crawlo/entries", len(entries))
        return len(entries)

    def _enqueue(self, entry: Entry) -> None:
        try:
            engine = self._crawler.engine
            assert engine is not None
            if len(entry.data) > self._most_bytes:
                raise TooLarge(
                    f"it has {len(entry.data):,} bytes, and CRAWLO_MAX_REQUEST_SIZE allows "
                    f"{self._most_bytes:,}"
                )
            for request in self._requests_of(entry):
                scheme = urlparse_cached(request).scheme
                if scheme not in self._schemes:
                    # Of the spider's own making it would be crawled; here a stranger asks for it.
                    raise SchemeRefused(f"{scheme}: is not in CRAWLO_ALLOWED_SCHEMES")
                engine.crawl(request)
        except Exception as exc:
            # Entries come from anywhere, and who reads them is the spider.
            reason = exc.reason if isinstance(exc, CannotDecode) else "entry"
            error = f"{type(exc).__name__}: {exc}"
            logger.error("No request can be made of the entry %.200r: %s", entry.data, error)
            self._exchange.buffers.bury(Push("n", 0, 0, "", 0, entry.data), reason, error)

    async def _settle(self) -> None:
        """Forget the entries whose requests are in Redis."""
        buffers = self._exchange.buffers
        while self._pending and buffers.safe >= self._pending[0][0]:
            if buffers.local or any(lane.burials for lane in buffers.lanes):
                return  # nobody but this worker knows them yet
            _, worker_id, names = self._pending[0]
            await self._source.drop(worker_id, names)
            self._pending.pop(0)

    def _tell(self, what: str) -> None:
        if what != self._told:
            logger.error("Cannot read start URLs: %s", what)
            self._told = what

    async def _leave(self, reason: str) -> None:
        """The outbox is flushed: what was enqueued is in Redis; others take over all else."""
        self._stop.set()
        await self._task
        with contextlib.suppress(StoreError):
            await self._settle()

    def _closed(self) -> None:
        self._stop.set()
