"""Scrapy's stats collector, whose counts add up over the workers of a crawl."""

from __future__ import annotations

import logging
import pprint
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.statscollectors import MemoryStatsCollector

from crawlo_scrapy.engine import asyncio_available, scheduler_of
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.statssharing import Sharing
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.stats import MAX, MIN, NEWEST, NO_RUN, SUM, ErrorLine, Stats

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

#: How keys add up that Scrapy only sets.
KINDS = {"start_time": MIN, "finish_time": MAX, "elapsed_time_seconds": MAX}


class RedisStatsCollector(MemoryStatsCollector):
    """Counts in this process's memory, and writes what it has counted to Redis now and then.

    Nothing that Scrapy or a spider calls waits for Redis. How a key adds up over the workers
    follows from how it is used: `inc_value` makes a sum, `max_value` the largest, `min_value` the
    smallest, and of a key that is only set, the value that was set last counts.

    `get_stats` is this worker's, as with any collector; `get_cluster_stats` the crawl's.
    """

    # Scrapy's own wraps methods to warn about an argument that these here ignore: 1.2 µs a call.
    __getattribute__ = object.__getattribute__

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._crawler = crawler
        self._kinds = dict(KINDS)
        self._sharing: Sharing | None = None
        crawler.signals.connect(self._stop_sharing, signals.engine_stopped)

    # What is called while a spider crawls: memory only. `set_value` is Scrapy's.

    def inc_value(
        self, key: str, count: int = 1, start: int = 0, spider: Spider | None = None
    ) -> None:
        try:
            self._stats[key] += count
        except KeyError:
            self._stats[key] = start + count
        self._kinds[key] = SUM

    def max_value(self, key: str, value: Any, spider: Spider | None = None) -> None:
        self._stats[key] = max(self._stats.setdefault(key, value), value)
        self._kinds[key] = MAX

    def min_value(self, key: str, value: Any, spider: Spider | None = None) -> None:
        self._stats[key] = min(self._stats.setdefault(key, value), value)
        self._kinds[key] = MIN

    # The crawl's.

    def open_spider(self, spider: Spider | None = None) -> None:
        """Begin to share, if this process has joined a crawl."""
        if not asyncio_available():
            logger.warning("Stats are not shared: that needs the asyncio reactor")
            return
        scheduler = scheduler_of(self._crawler)
        if not hasattr(scheduler, "membership"):
            # Another scheduler than ours: these processes share their stats and nothing else.
            place = Membership("", NO_RUN)
            self._share(lambda: place)
        elif scheduler.membership is not None:
            self._share(lambda: scheduler.membership)

    def _share(self, member_of: Callable[[], Membership]) -> None:
        assert self._crawler.spider is not None
        name = self._crawler.spider.name
        try:
            self._sharing = Sharing(self._crawler.settings, name, member_of, self._entries)
        except (SettingError, StoreError) as exc:
            logger.error("Stats are not shared: %s", exc)

    def _entries(self) -> dict[str, tuple[bytes, Any]]:
        kinds, stats = self._kinds, list(self._stats.items())
        return {str(key): (kinds.get(key, NEWEST), value) for key, value in stats}

    async def _stop_sharing(self) -> None:
        # The last signal: whoever counts something when the spider closes has done so.
        if self._sharing is None:
            return
        totals = await self._sharing.close()
        if totals and self._dump:
            logger.info("Stats of the crawl:\n%s", pprint.pformat(totals))

    @property
    def shared(self) -> Stats | None:
        """Reads the stats of the crawl; None while this process shares none."""
        return self._sharing.reader if self._sharing else None

    async def get_cluster_stats(self) -> dict[str, Any]:
        """Return the stats of all workers in this run of the crawl, this one's as of now.

        Without a crawl to share these are its own. Raises `StoreError` while Redis is away.
        """
        return await self._sharing.totals() if self._sharing else dict(self._stats)

    def note_error(self, line: ErrorLine) -> None:
        """Let others see a line of this worker's log, with the next write."""
        if self._sharing is not None:
            self._sharing.lines.append(line)
