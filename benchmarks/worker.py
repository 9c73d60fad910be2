"""One crawl in a process of its own; prints what it measured as JSON.

    python -m benchmarks.worker memory http://127.0.0.1:8000/page/0

`crawl.py` starts it. Every kind of scheduler gets the same settings; what differs is in
`VARIANTS` alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import scrapy
from scrapy import signals
from scrapy.crawler import Crawler, CrawlerProcess
from scrapy.exceptions import ScrapyDeprecationWarning
from scrapy.http import Response

COMMON: dict[str, Any] = {
    "CONCURRENT_REQUESTS": 16,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    "DOWNLOAD_DELAY": 0,
    "RETRY_ENABLED": False,
    "COOKIES_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
    "LOG_LEVEL": "WARNING",
}

#: What makes each kind of scheduler; ``{redis}`` becomes the URL of Redis.
VARIANTS: dict[str, dict[str, Any]] = {
    "memory": {},
    "scrapy-redis": {
        "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
        "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
        "SCHEDULER_PERSIST": True,
        "REDIS_URL": "{redis}",
    },
    "crawlo_scrapy": {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "REDIS_URL": "{redis}",
    },
}


class LinksSpider(scrapy.Spider):
    """Follow every link."""

    name = "links"

    def __init__(self, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url

    async def start(self) -> AsyncIterator[scrapy.Request]:
        yield scrapy.Request(self.url)

    def parse(self, response: Response) -> Iterator[scrapy.Request]:
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href)


class Clock:
    """Notes when the spider opened, when the last page arrived, and when the spider closed."""

    opened = last_page = closed = 0.0

    def __init__(self, crawler: Crawler) -> None:
        crawler.signals.connect(self.spider_opened, signals.spider_opened)
        crawler.signals.connect(self.response_received, signals.response_received)
        crawler.signals.connect(self.spider_closed, signals.spider_closed)

    def spider_opened(self) -> None:
        self.opened = time.perf_counter()

    def response_received(self) -> None:
        self.last_page = time.perf_counter()

    def spider_closed(self) -> None:
        self.closed = time.perf_counter()


def settings_for(variant: str, redis_url: str, concurrent_items: int) -> dict[str, Any]:
    """Return all settings of a crawl with this kind of scheduler."""
    own = {
        name: value.format(redis=redis_url) if isinstance(value, str) else value
        for name, value in VARIANTS[variant].items()
    }
    return {**COMMON, "CONCURRENT_ITEMS": concurrent_items, **own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("url", help="first page of the site")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    parser.add_argument("--concurrent-items", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()

    # scrapy-redis 0.9.1 calls Scrapy as it was two years ago.
    warnings.filterwarnings("ignore", category=ScrapyDeprecationWarning)
    settings = settings_for(options.variant, options.redis, options.concurrent_items)
    settings.update(pair.split("=", 1) for pair in options.set)
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(LinksSpider)
    clock = Clock(crawler)
    process.crawl(crawler, url=options.url)
    process.start()
    assert crawler.stats
    stats = crawler.stats.get_stats()
    result = {
        "pages": stats.get("response_received_count", 0),
        "crawl_seconds": clock.last_page - clock.opened,
        "closing_seconds": clock.closed - clock.last_page,
        "exchanges": stats.get("crawlo/exchanges"),
        "finish_reason": stats.get("finish_reason"),
        "errors": stats.get("log_count/ERROR", 0),
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
