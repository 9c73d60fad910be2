"""Has the crawl seeded again at the times of a cron expression: once, whoever is first."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import settings as ours
from crawlo_scrapy.engine import close_at_start
from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.errors import StoreError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from crawlo_scrapy.scheduler import RedisScheduler
    from crawlo_scrapy.store.frontier import Frontier

logger = logging.getLogger(__name__)

#: The clocks of this host and of Redis drift: so often is Redis asked, in seconds.
LONGEST_WAIT = 30.0


class SeedCron:
    """Tells the scheduler when `start()` is due again. Times are UTC, by Redis's clock.

    A time at which no worker runs is left out, and so is one at which the crawl is being seeded.
    *after* returns the first time that is later than the one given.
    """

    def __init__(self, crawler: Crawler, after: Callable[[datetime], datetime]) -> None:
        self._crawler = crawler
        self._after = after
        self._watching: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        expression = ours.get(settings, "CRAWLO_SEED_CRON")
        if not expression:
            raise NotConfigured
        try:
            after = schedule(expression)
            if ours.get(settings, "CRAWLO_SEEDING") == "every":
                raise SettingError(
                    'CRAWLO_SEED_CRON seeds once for all workers; with CRAWLO_SEEDING = "every" '
                    "each has its own start requests. Unset one of them."
                )
        except SettingError as exc:
            close_at_start(crawler, exc)
            raise NotConfigured from None
        if ours.get(settings, "CRAWLO_ROLE") == "worker":
            raise NotConfigured
        extension = cls(crawler, after)
        crawler.signals.connect(extension._open, signals.spider_opened)
        crawler.signals.connect(extension._close, signals.spider_closed)
        return extension

    def _open(self) -> None:
        scheduler = shared_scheduler(self._crawler)
        if scheduler is None or (frontier := scheduler.frontier) is None:
            return
        self._watching = asyncio.ensure_future(self._watch(scheduler, frontier))

    async def _watch(self, scheduler: RedisScheduler, frontier: Frontier) -> None:
        due: datetime | None = None
        while not self._stop.is_set():
            try:
                now = await self._now(frontier)
            except StoreError:
                wait = 1.0  # that Redis is away has been logged
            else:
                due = due or self._after(now)
                wait = (due - now).total_seconds()
                if wait <= 0:
                    scheduler.seed_again(round(due.timestamp() * 1000))
                    due = self._after(now)
                    wait = (due - now).total_seconds()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(wait, LONGEST_WAIT))

    async def _now(self, frontier: Frontier) -> datetime:
        seconds, microseconds = await frontier.client.call("time", near=frontier.keys.meta)
        return datetime.fromtimestamp(seconds + microseconds / 1e6, timezone.utc)

    def _close(self) -> None:
        self._stop.set()
        if self._watching is not None:
            self._watching.cancel()


def schedule(expression: str) -> Callable[[datetime], datetime]:
    """Return what gives the next time of a cron expression. Raises `SettingError`."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise SettingError(
            "CRAWLO_SEED_CRON needs cronsim: pip install 'crawlo_scrapy[cron]'."
        ) from None

    def after(moment: datetime) -> datetime:
        return next(CronSim(expression, moment))

    try:
        after(datetime.now(timezone.utc))
    except (CronSimError, StopIteration) as exc:
        why = str(exc) or "it has no next time"
        raise SettingError(f"CRAWLO_SEED_CRON is {expression!r}: {why}.") from None
    return after
