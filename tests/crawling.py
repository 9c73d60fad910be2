"""Crawls in this process, and what stands in Redis of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import ormsgpack
from scrapy import Spider
from scrapy.crawler import Crawler, CrawlerRunner
from scrapy.utils.defer import maybe_deferred_to_future

from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetter, DeadLetters
from crawlo_scrapy.store.keys import Keys
from tests.backends import address_of, client_of, settings_of

#: How long a test waits for what must come, in seconds.
PATIENCE = 20.0


def crawl_settings(redis_url: str, project: str, **more: Any) -> dict[str, Any]:
    """What the add-on will set, by hand, with short intervals."""
    return {
        "SCHEDULER": "crawlo_scrapy.scheduler.RedisScheduler",
        "DUPEFILTER_CLASS": "crawlo_scrapy.dupefilter.RedisDupeFilter",
        "SPIDER_MIDDLEWARES": {"crawlo_scrapy.spidermiddlewares.SeedMiddleware": 0},
        **settings_of(redis_url),
        "PROJECT_NAME": project,
        "CRAWLO_EXCHANGE_INTERVAL": 0.02,
        "CRAWLO_HEARTBEAT_INTERVAL": 0.2,
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_TIMES": 2,
        "RETRY_EXCEPTIONS": [],
        "DOWNLOAD_TIMEOUT": 5,
        **more,
    }


def make_crawler(spider: type[Spider], settings: dict[str, Any]) -> Crawler:
    return CrawlerRunner(settings).create_crawler(spider)


async def run(crawler: Crawler, **arguments: Any) -> str:
    """Crawl to the end and return the reason that the spider closed with."""
    task = start(_crawl(crawler, arguments))
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        raise TimeoutError("the crawl does not end")
    await task
    return str(crawler.stats.get_value("finish_reason"))


async def _crawl(crawler: Crawler, arguments: dict[str, Any]) -> None:
    if hasattr(crawler, "crawl_async"):
        await crawler.crawl_async(**arguments)
    else:  # Scrapy 2.13
        await maybe_deferred_to_future(crawler.crawl(**arguments))


async def crawl(spider: type[Spider], settings: dict[str, Any], **arguments: Any) -> Crawler:
    """Crawl to the end and return the crawler."""
    crawler = make_crawler(spider, settings)
    await run(crawler, **arguments)
    return crawler


async def stop(crawler: Crawler) -> None:
    """Ask for the end, as a first Ctrl-C does, and wait for it."""
    if hasattr(crawler, "stop_async"):
        await crawler.stop_async()
    else:  # Scrapy 2.13
        await maybe_deferred_to_future(crawler.stop())


async def until(holds: Callable[[], object], what: str = "") -> None:
    """Return once *holds* is true, letting the event loop run meanwhile."""

    async def wait() -> None:
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)

    try:
        await asyncio.wait_for(wait(), PATIENCE)
    except asyncio.TimeoutError:
        raise TimeoutError(f"never came: {what or holds}") from None


def start(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Let *coroutine* run beside the test."""
    return asyncio.get_event_loop().create_task(coroutine)


def url_of(payload: bytes) -> str:
    return str(ormsgpack.unpackb(payload, ext_hook=lambda number, data: None)["u"])


class Peek:
    """Looks at a crawl in Redis from outside."""

    def __init__(self, redis_url: str, project: str, spider: str, crawl_id: str = "") -> None:
        self.redis_url, self.project, self.spider = redis_url, project, spider
        self.redis = client_of(redis_url)
        self.keys = Keys(project, spider, crawl_id or None)

    def meta(self, name: str) -> str:
        return (self.redis.hget(self.keys.meta, name) or b"").decode()

    def number(self, name: str) -> int:
        return int(self.meta(name) or 0)

    def all_keys(self) -> list[bytes]:
        return sorted(self.redis.scan_iter(self.keys.prefix + "*"))

    def leased(self) -> list[str]:
        """URLs that some worker holds."""
        hashes = self.redis.scan_iter(self.keys.leases_prefix + "*")
        records = [record for key in hashes for record in self.redis.hvals(key)]
        return sorted(url_of(record.split(b"\n", 2)[2][1:]) for record in records)

    def lease_ids(self, url: str) -> set[bytes]:
        """The leases of *url*."""
        hashes = self.redis.scan_iter(self.keys.leases_prefix + "*")
        return {
            lease_id
            for key in hashes
            for lease_id, record in self.redis.hgetall(key).items()
            if url_of(record.split(b"\n", 2)[2][1:]) == url
        }

    def queued(self) -> list[str]:
        """URLs in the queue."""
        lists = self.redis.scan_iter(self.keys.queue_prefix + "*:*", _type="list")
        return sorted(url_of(e[1:]) for key in lists for e in self.redis.lrange(key, 0, -1))

    def copy(self) -> Peek:
        """The crawl as it is at this moment, under another name."""
        other = Peek(self.redis_url, f"{self.project}-{uuid4().hex[:8]}", self.spider)
        for key in self.all_keys():
            data = self.redis.dump(key)
            if data is not None:
                new = key.decode().replace(self.keys.prefix, other.keys.prefix)
                self.redis.restore(new, 0, data)
        return other

    def after_death(self, max_attempts: int = 5) -> list[str]:
        """URLs that would be queued if every worker died at this moment, and one reclaimed."""
        other = self.copy()
        keys, client = other.keys, BlockingClient(address_of(self.redis_url))
        for member in other.redis.zrange(keys.workers, 0, -1):
            worker = member.decode()
            client.run(
                "frontier_reclaim",
                [
                    keys.meta, keys.workers, keys.worker(worker), keys.leases(worker),
                    keys.dead, *keys.queues,
                ],
                [worker, -1000, max_attempts, 60],
            )  # fmt: skip
        client.close()
        queued = other.queued()
        other.redis.delete(*other.all_keys())
        return queued

    async def dead_letters(self) -> list[DeadLetter]:
        client = Client.connect(address_of(self.redis_url))
        letters = [letter async for letter in DeadLetters(client, self.keys).list()]
        await client.close()
        return letters
