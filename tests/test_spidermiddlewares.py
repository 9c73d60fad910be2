"""The middleware of seeding where there is nothing to seed."""

from __future__ import annotations

from scrapy import Request, Spider

from crawlo_scrapy.scheduler import shared_scheduler
from tests.crawling import crawl, crawl_settings

SEED = {"crawlo_scrapy.spidermiddlewares.SeedMiddleware": 0}


class One(Spider):
    name = "one"
    pages = 0
    shared = None

    async def start(self):
        yield Request("data:,x")

    def parse(self, response):
        self.pages += 1
        self.shared = shared_scheduler(self.crawler) is not None


async def test_with_another_scheduler_start_is_iterated():
    crawler = await crawl(One, {"SPIDER_MIDDLEWARES": SEED, "TELNETCONSOLE_ENABLED": False})
    assert (crawler.spider.pages, crawler.spider.shared) == (1, False)


async def test_with_ours_too(redis_url, project):
    crawler = await crawl(One, crawl_settings(redis_url, project))
    assert (crawler.spider.pages, crawler.spider.shared) == (1, True)
