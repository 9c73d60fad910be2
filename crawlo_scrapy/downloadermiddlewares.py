"""Downloader middlewares."""

from __future__ import annotations

import logging
import random
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.downloadermiddlewares import retry
from scrapy.utils.response import response_status_message

from crawlo_scrapy import settings as ours
from crawlo_scrapy.payload import DELAY_KEY
from crawlo_scrapy.scheduler import shared_scheduler

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: How a site says that it is asked too often, be it tried again or not.
BUSY = (429, 503)

_spider = signature(retry.RetryMiddleware.process_response).parameters.get("spider")
#: Scrapy 2.13 hands its methods the spider; newer ones warn of it.
_WANTS_SPIDER = _spider is not None and _spider.default is Parameter.empty


class RetryMiddleware(retry.RetryMiddleware):
    """Scrapy's RetryMiddleware, for a crawl that is shared.

    A retry waits in Redis for as long as the site asks for (Retry-After) or the back-off takes,
    and may then go to another worker. What has no retries left can be kept as a dead letter.
    """

    def __init__(self, settings: BaseSettings) -> None:
        super().__init__(settings)
        self._backoff: float = ours.get(settings, "CRAWLO_RETRY_BACKOFF")
        self._longest: float = ours.get(settings, "CRAWLO_RETRY_DELAY_MAX")
        self._keeps: bool = ours.get(settings, "CRAWLO_DEAD_LETTER_FAILED")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = super().from_crawler(crawler)
        middleware.crawler = crawler
        return middleware

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        result = super().process_response(request, response, *self._spider_argument())
        busy = response.status in BUSY or response.status in self.retry_http_codes
        asked_for = retry_after(response) if busy else 0.0
        if asked_for and (scheduler := shared_scheduler(self.crawler)) is not None:
            # It is the site that wants to be left alone, by all.
            scheduler.hold(request, min(asked_for, self._longest))
        if isinstance(result, Request):
            self._delay(result, asked_for)
        elif response.status in self.retry_http_codes:
            self._give_up(request, response_status_message(response.status))
        return result

    def process_exception(self, request: Request, exception: Exception, spider: Any = None) -> Any:
        result = super().process_exception(request, exception, *self._spider_argument())
        if isinstance(result, Request):
            self._delay(result)
        elif isinstance(exception, self.exceptions_to_retry):
            self._give_up(request, f"{type(exception).__name__}: {exception}")
        return result

    def _spider_argument(self) -> list[Any]:
        return [self.crawler.spider] if _WANTS_SPIDER else []

    def _delay(self, again: Request, asked_for: float = 0.0) -> None:
        # A random part, so that what failed together does not come back together.
        backoff = self._backoff * 2.0 ** (again.meta["retry_times"] - 1)
        seconds = min(max(asked_for, backoff * (1 + random.random()) / 2), self._longest)
        if seconds and shared_scheduler(self.crawler) is not None:
            logger.debug("%s waits for %.1f seconds", again, seconds)
            again.meta[DELAY_KEY] = seconds

    def _give_up(self, request: Request, error: str) -> None:
        scheduler = shared_scheduler(self.crawler)
        if self._keeps and scheduler is not None and not request.meta.get("dont_retry"):
            letter = request.copy()
            # Queued again by a person, it begins anew.
            letter.meta.pop("retry_times", None)
            scheduler.bury(letter, "failed", error)


def retry_after(response: Response) -> float:
    """Return for how many seconds the site wants to be left alone; 0 when it does not say."""
    text = _header(response, "Retry-After")
    if text.isdecimal():
        return float(text)
    until = _date(text)
    if until is None:
        return 0.0
    # By the site's clock, which need not be right.
    now = _date(_header(response, "Date")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def _header(response: Response, name: str) -> str:
    return (response.headers.get(name) or b"").decode("latin-1").strip()


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
