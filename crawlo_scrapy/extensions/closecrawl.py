"""Stops the whole crawl when it has had enough pages, items, errors or time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.statscollector import RedisStatsCollector
from crawlo_scrapy.statssharing import retention
from crawlo_scrapy.store.control import Control, NotPossible
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.stats import Stats
from crawlo_scrapy.values import Codec

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from crawlo_scrapy.scheduler import RedisScheduler

logger = logging.getLogger(__name__)

#: Setting -> the count that it limits, and the reason that workers close with.
COUNTS = {
    "CRAWLO_CLOSE_PAGES": ("response_received_count", "closecrawl_pagecount"),
    "CRAWLO_CLOSE_ITEMS": ("item_scraped_count", "closecrawl_itemcount"),
    "CRAWLO_CLOSE_ERRORS": ("spider_exceptions/count", "closecrawl_errorcount"),
}
SECONDS, TIMEOUT = "CRAWLO_CLOSE_SECONDS", "closecrawl_timeout"


class CloseCrawl:
    """Looks at what all workers have counted in this run, as often as they tell.

    *limits* are by setting; *seconds* of the run, by Redis's clock, are limited too unless that
    is 0. Whoever sees first that a limit is reached stops the crawl for all.
    """

    def __init__(self, crawler: Crawler, limits: dict[str, int], seconds: float) -> None:
        self._crawler = crawler
        self._limits = limits
        self._seconds = seconds
        self._interval: float = ours.get(crawler.settings, "CRAWLO_STATS_INTERVAL")
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        limits = {name: ours.get(crawler.settings, name) for name in COUNTS}
        limits = {name: limit for name, limit in limits.items() if limit}
        seconds = ours.get(crawler.settings, SECONDS)
        if not limits and not seconds:
            raise NotConfigured
        extension = cls(crawler, limits, seconds)
        crawler.signals.connect(extension._open, signals.spider_opened)
        crawler.signals.connect(extension._close, signals.spider_closed)
        return extension

    def _open(self) -> None:
        scheduler = shared_scheduler(self._crawler)
        if scheduler is None or (frontier := scheduler.frontier) is None:
            return
        if self._limits and not isinstance(self._crawler.stats, RedisStatsCollector):
            names = ", ".join(self._limits)
            logger.warning("%s will have no effect: STATS_CLASS is not ours", names)
            self._limits = {}
        silence = retention(self._crawler.settings).silence
        self._stats = Stats(frontier.client, frontier.keys, Codec(), silence=silence)
        self._control = Control(frontier.client, frontier.keys)
        self._watching = asyncio.ensure_future(self._watch(scheduler))

    async def _watch(self, scheduler: RedisScheduler) -> None:
        while not self._stop.is_set():
            try:
                await self._look(scheduler)
            except StoreError:
                pass  # that Redis is away has been logged
            except Exception:
                logger.exception("Cannot look after the crawl's limits; trying again")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._interval)

    async def _look(self, scheduler: RedisScheduler) -> None:
        # This worker's place changes when it is given up and comes back.
        member = scheduler.membership
        assert member is not None
        names = [COUNTS[name][0] for name in self._limits]
        now, counts = await self._stats.counts(names, member.run)
        for (name, limit), count in zip(self._limits.items(), counts, strict=True):
            if count >= limit:
                await self._stop_crawl(f"{name} is {limit:,}, and it is {count:,}", COUNTS[name][1])
                return
        elapsed = (now - member.created) / 1000
        if self._seconds and elapsed >= self._seconds:
            why = f"{SECONDS} is {self._seconds:g}, and it is {elapsed:.1f}"
            await self._stop_crawl(why, TIMEOUT)

    async def _stop_crawl(self, why: str, reason: str) -> None:
        self._stop.set()
        node = connection.node_id(self._crawler.settings)
        with contextlib.suppress(NotPossible):  # another was first, or it is finished
            await self._control.stop(node, reason=reason, once=True)
            logger.info("Stopping the crawl: %s", why)

    def _close(self) -> None:
        self._stop.set()
        if self._watching is not None:
            self._watching.cancel()
