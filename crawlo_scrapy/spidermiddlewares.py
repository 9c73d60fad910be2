"""Spider middlewares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.engine import scheduler_of

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class SeedMiddleware:
    """Lets `start()` run on the one worker that holds the right to seed.

    It has to be the one closest to the engine, so that it sees what others make of `start()`.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def process_start(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        from crawlo_scrapy.scheduler import RedisScheduler

        scheduler = scheduler_of(self._crawler)
        stream = scheduler.seed(start) if isinstance(scheduler, RedisScheduler) else start
        async for item in stream:
            yield item
