"""What a worker tells its crawl besides its stats, and the crawl's stats in the log."""

from __future__ import annotations

import asyncio
import logging
import os
import pprint
import resource
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.extensions.errorlines import ErrorLines
from crawlo_scrapy.statscollector import RedisStatsCollector
from crawlo_scrapy.store.errors import StoreError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class StatsExtension:
    """Measures this worker's memory, shows its error lines to the crawl, logs the crawl's stats.

    *measure_interval* and *dump_interval* are in seconds; without the latter nothing is logged
    before the end.
    """

    def __init__(
        self,
        stats: RedisStatsCollector,
        errors: logging.Handler,
        measure_interval: float,
        dump_interval: float | None,
    ) -> None:
        self._stats = stats
        self._errors = errors
        self._measure_interval = measure_interval
        self._dump_interval = dump_interval
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        stats = crawler.stats
        if not isinstance(stats, RedisStatsCollector):
            raise NotConfigured
        settings = crawler.settings
        node = connection.node_id(settings)
        extension = cls(
            stats,
            ErrorLines(crawler, node, stats.note_error),
            ours.get(settings, "CRAWLO_STATS_INTERVAL"),
            ours.get(settings, "STATS_DUMP_INTERVAL"),
        )
        crawler.signals.connect(extension._open, signals.spider_opened)
        crawler.signals.connect(extension._close, signals.spider_closed)
        return extension

    def _open(self) -> None:
        logging.getLogger().addHandler(self._errors)
        if self._stats.shared is None:
            return
        self._repeat(self._measure, self._measure_interval)
        if self._dump_interval:
            self._repeat(self._dump, self._dump_interval)

    def _close(self) -> None:
        logging.getLogger().removeHandler(self._errors)
        for task in self._tasks:
            task.cancel()

    def _repeat(self, what: Callable[[], Awaitable[None]], interval: float) -> None:
        async def repeat() -> None:
            while True:
                await what()
                await asyncio.sleep(interval)

        self._tasks.append(asyncio.ensure_future(repeat()))

    async def _measure(self) -> None:
        self._stats.set_value("crawlo/memory", resident_memory())

    async def _dump(self) -> None:
        try:
            totals = await self._stats.get_cluster_stats()
        except StoreError:
            return  # that Redis is away has been logged
        logger.info("Stats of the crawl:\n%s", pprint.pformat(totals))


def resident_memory() -> int:
    """Return the bytes of memory that this process has; if nobody knows, the most it ever had."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
