"""Delays that follow the latency of sites, as all workers of a crawl see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import settings as ours
from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.slots import Throttle

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self


class AutoThrottleExtension:
    """Scrapy's AutoThrottle for a shared crawl: one delay a slot, kept in Redis.

    Its rule and its settings are Scrapy's (``scrapy.extensions.throttle``).
    """

    def __init__(self, crawler: Crawler, throttle: Throttle) -> None:
        self._crawler = crawler
        self._throttle = throttle
        crawler.signals.connect(self._opened, signals.spider_opened)
        crawler.signals.connect(self._downloaded, signals.response_downloaded)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not ours.get(settings, "CRAWLO_AUTOTHROTTLE"):
            raise NotConfigured
        target = settings.getfloat("AUTOTHROTTLE_TARGET_CONCURRENCY")
        if target <= 0:
            raise SettingError(
                f"AUTOTHROTTLE_TARGET_CONCURRENCY is {target}; it must be more than 0."
            )
        least = float(ours.get(settings, "CRAWLO_SLOT_DELAY"))
        first = max(least, settings.getfloat("AUTOTHROTTLE_START_DELAY"))
        most = settings.getfloat("AUTOTHROTTLE_MAX_DELAY")
        return cls(crawler, Throttle(first, least, most, target))

    def _opened(self) -> None:
        if (scheduler := shared_scheduler(self._crawler)) is not None:
            scheduler.throttle(self._throttle)

    def _downloaded(self, response: Response, request: Request) -> None:
        latency = request.meta.get("download_latency")
        scheduler = shared_scheduler(self._crawler)
        if (
            scheduler is not None
            and latency is not None
            and request.meta.get("autothrottle_dont_adjust_delay") is not True
        ):
            scheduler.answered(request, latency, response.status == 200)
