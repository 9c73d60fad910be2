"""Scrapy's line of progress, and one more for the whole crawl."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from scrapy.extensions.logstats import LogStats

from crawlo_scrapy.statscollector import RedisStatsCollector
from crawlo_scrapy.store.errors import StoreError

if TYPE_CHECKING:
    from scrapy import Spider

    from crawlo_scrapy.store.stats import Sample, Stats

logger = logging.getLogger(__name__)


class LogStatsExtension(LogStats):
    """Logs pages and items per minute, every LOGSTATS_INTERVAL seconds: this worker's as Scrapy
    does, then those of the crawl with what is queued and in flight, how many nodes there are, and
    how long what is queued will take.
    """

    _before: Sample | None = None

    def log(self, spider: Spider) -> None:
        super().log(spider)
        if isinstance(self.stats, RedisStatsCollector) and (shared := self.stats.shared):
            self._asking = asyncio.ensure_future(self._log_crawl(shared, spider))

    async def _log_crawl(self, shared: Stats, spider: Spider) -> None:
        try:
            now = await shared.now()
        except StoreError:
            return  # that Redis is away has been logged
        before, self._before = self._before, now
        if before is not None and now.time > before.time:
            logger.info("%s", progress(before, now), extra={"spider": spider})


def progress(before: Sample, now: Sample) -> str:
    """Say in one line what a crawl did between two samples, and what is left."""
    minutes = (now.time - before.time) / 60_000
    page_rate = (now.pages - before.pages) / minutes
    item_rate = (now.items - before.items) / minutes
    done_rate = (now.acked - before.acked) / minutes
    left = now.queued + now.leased
    return (
        f"Crawl: {now.pages:,} pages (at {page_rate:,.0f} pages/min), "
        f"{now.items:,} items (at {item_rate:,.0f} items/min), "
        f"{now.queued:,} queued, {now.leased:,} in flight, "
        f"{now.workers} {'node' if now.workers == 1 else 'nodes'}"
        + (f", {duration(left / done_rate)} for these" if left and done_rate > 0 else "")
    )


def duration(minutes: float) -> str:
    """Say how long, in the largest unit that tells enough."""
    if minutes < 1.5:
        return "about a minute"
    if minutes < 100:
        return f"about {minutes:.0f} minutes"
    if minutes < 48 * 60:
        return f"about {minutes / 60:.0f} hours"
    return f"about {minutes / 60 / 24:.0f} days"
