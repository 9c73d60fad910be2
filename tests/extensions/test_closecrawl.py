"""Limits of the whole crawl."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control
from tests.backends import address_of
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start

EXTENSIONS = {
    "crawlo_scrapy.extensions.closecrawl.CloseCrawl": 0,
    "crawlo_scrapy.extensions.stats.StatsExtension": 0,
}


class Endless(Spider):
    """Every page leads to another one."""

    name = "endless"

    async def start(self):
        for number in range(4):
            yield Request(f"{self.site}/ok/{number}/0")

    def parse(self, response):
        base, _, number = response.url.rpartition("/")
        yield Request(f"{base}/{int(number) + 1}")
        yield {"url": response.url}
        if int(number) % 5 == 0:
            raise ValueError("of the spider")


def settings(redis_url, project, **limits):
    return crawl_settings(
        redis_url, project, EXTENSIONS=EXTENSIONS, CRAWLO_STATS_INTERVAL=0.1,
        STATS_CLASS="crawlo_scrapy.statscollector.RedisStatsCollector", LOG_LEVEL="INFO", **limits,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"CRAWLO_CLOSE_PAGES": 60}, "closecrawl_pagecount"),
        ({"CRAWLO_CLOSE_ITEMS": 60}, "closecrawl_itemcount"),
        ({"CRAWLO_CLOSE_ERRORS": 10}, "closecrawl_errorcount"),
        ({"CRAWLO_CLOSE_SECONDS": 1}, "closecrawl_timeout"),
    ],
)
async def test_all_workers_stop_and_one_said_so(redis_url, project, site, limit, reason):
    options = settings(redis_url, project, **limit)
    crawlers = [make_crawler(Endless, options) for _ in range(2)]
    tasks = [start(run(crawler, site=site.url)) for crawler in crawlers]
    assert [await task for task in tasks] == [reason] * 2
    peek = Peek(redis_url, project, "endless")
    client = Client.connect(address_of(redis_url))
    notes = await Control(client, peek.keys).audit()
    await client.close()
    assert [note.what for note in notes] == [f"stop ({reason})"]
    if reason == "closecrawl_pagecount":
        counts = [crawler.stats.get_value("response_received_count", 0) for crawler in crawlers]
        assert sum(counts) >= 60
    assert peek.meta("state") == "running", "a higher limit would let it go on"


async def test_without_shared_stats_it_is_said(redis_url, project, site, caplog):
    class One(Endless):
        async def start(self):
            yield Request(f"{self.site}/ok/1", callback=self.nothing)

        def nothing(self, response):
            pass

    options = settings(redis_url, project, CRAWLO_CLOSE_PAGES=1)
    options["STATS_CLASS"] = "scrapy.statscollectors.MemoryStatsCollector"
    options["EXTENSIONS"] = {"crawlo_scrapy.extensions.closecrawl.CloseCrawl": 0}
    crawler = await crawl(One, options, site=site.url)
    assert "CRAWLO_CLOSE_PAGES will have no effect" in caplog.text
    assert crawler.stats.get_value("finish_reason") == "finished"
