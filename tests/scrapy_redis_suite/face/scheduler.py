"""Our scheduler, asked by a program that waits for Redis's answer each time."""

from __future__ import annotations

import asyncio
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DontCloseSpider
from typing_extensions import Self

from crawlo_scrapy import settings as ours
from crawlo_scrapy.engine import Engine, scheduler_of
from crawlo_scrapy.scheduler import RedisScheduler
from tests.aio import run_async
from tests.config.support import ADDON
from tests.crawling import make_crawler, run, start, until

#: The lowest priority of a setting that a user made.
_PROJECT = 20


class _Asked(Spider):
    """Has nothing to crawl, and stays; its engine leaves the scheduler to the test."""

    name = "asked"

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.opened = asyncio.Event()
        crawler.signals.connect(spider.on_opened, signals.spider_opened)
        crawler.signals.connect(spider.on_idle, signals.spider_idle)
        return spider

    async def start(self) -> Any:
        for request in ():
            yield request

    def on_opened(self) -> None:
        self.crawler.engine.pause()
        self.opened.set()

    def on_idle(self) -> None:
        raise DontCloseSpider


class Scheduler:
    """Each `open` is the start of a worker, each `close` the end of one.

    Of the test's settings DUPEFILTER_CLASS is left out, as docs/migration says.
    """

    def __init__(self, crawler: Crawler) -> None:
        given = crawler.settings
        self._settings: dict[str, Any] = {
            name: given[name] for name in given if (given.getpriority(name) or 0) >= _PROJECT
        }
        del self._settings["DUPEFILTER_CLASS"]
        self._settings |= {**ADDON, "CRAWLO_EXCHANGE_INTERVAL": 0.02}
        self.persist = ours.get(given, "SCHEDULER_PERSIST")

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def open(self, spider: Spider) -> None:
        settings = {**self._settings, "SCHEDULER_PERSIST": self.persist}
        spider_class = type("Asked", (_Asked,), {"name": spider.name})
        self._crawler = make_crawler(spider_class, settings)
        run_async(self._start())

    async def _start(self) -> None:
        self._end = start(run(self._crawler))
        await until(lambda: self._crawler.spider and self._crawler.spider.opened.is_set())
        self._ours: RedisScheduler = scheduler_of(self._crawler)

    async def _settle(self) -> int:
        """Return what is not done once Redis and the worker agree on it."""
        assert self._ours.exchange is not None
        assert self._ours.frontier is not None
        buffers, frontier, member = (
            self._ours.exchange.buffers, self._ours.frontier, self._ours.membership
        )  # fmt: skip
        assert member is not None
        leases = frontier.keys.leases(member.worker_id)
        while True:
            buffers.wake()
            await asyncio.sleep(0.02)
            if buffers.waiting or buffers.handouts or buffers.lanes[0].acks:
                continue
            held = await frontier.client.call("hlen", leases)
            queued = await frontier.client.call("hget", frontier.keys.meta, "queued")
            if held == len(buffers.inbox) and int(queued or 0) == buffers.queued:
                return int(held) + buffers.queued

    def __len__(self) -> int:
        return run_async(asyncio.wait_for(self._settle(), 20))

    def enqueue_request(self, request: Request) -> bool:
        return self._ours.enqueue_request(request)

    def has_pending_requests(self) -> bool:
        len(self)
        return self._ours.has_pending_requests()

    def next_request(self) -> Request | None:
        """The engine never has it, so that it counts as done."""
        len(self)
        return self._ours.next_request()

    def close(self, reason: str) -> None:
        Engine(self._crawler).close(reason)
        run_async(self._ended())

    async def _ended(self) -> None:
        await self._end
