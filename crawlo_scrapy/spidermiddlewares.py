"""Spider middlewares."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

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
        from crawlo_scrapy.scheduler import shared_scheduler

        scheduler = shared_scheduler(self._crawler)
        stream = start if scheduler is None else scheduler.seed(start)
        async for item in stream:
            yield item
