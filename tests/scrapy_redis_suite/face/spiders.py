"""Our spiders, with the methods by which scrapy-redis's are driven."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import redis
from scrapy import Request
from scrapy.exceptions import DontCloseSpider

from crawlo_scrapy import spiders
from crawlo_scrapy.store.address import Address
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.source import Source
from tests.aio import run_async
from tests.scrapy_redis_suite.face import connection

__all__ = ["RedisCrawlSpider", "RedisSpider", "connection"]


def _raise(crawler: Any, why: Exception) -> None:
    """What would close the spider, with this line in the log."""
    raise ValueError(str(why))


spiders.close_at_start = _raise


class _Asked:
    """Takes a batch of entries when it is asked to, and not when the crawl has room."""

    @property
    def server(self) -> redis.Redis:
        """For the test to put entries in."""
        return redis.Redis(os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"]))

    def start_requests(self: Any) -> Iterator[Request]:
        return iter(run_async(self._batch()))

    async def _batch(self: Any) -> list[Request]:
        address = Address(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]))
        client = Client.connect(address)
        source = Source(client, Keys(uuid4().hex, self.name), self.redis_key)
        _, entries = await source.take("w", self.redis_batch_size)
        await client.close()
        return [request for entry in entries for request in self._requests_of(entry)]

    def spider_idle(self: Any) -> None:
        for request in self.start_requests():
            self.crawler.engine.crawl(request)
        raise DontCloseSpider


class RedisSpider(_Asked, spiders.RedisSpider):
    """With the methods that the tests call."""


class RedisCrawlSpider(_Asked, spiders.RedisCrawlSpider):
    """With the methods that the tests call."""
