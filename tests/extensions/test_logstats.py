"""Lines of progress: Scrapy's, and the crawl's."""

from __future__ import annotations

import logging

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.extensions.logstats import duration, progress
from crawlo_scrapy.store.stats import Sample
from tests.crawling import crawl_settings, make_crawler, run, start, until

EXTENSIONS = {
    "crawlo_scrapy.extensions.logstats.LogStatsExtension": 0,
    "scrapy.extensions.logstats.LogStats": None,
}


class Waiting(Spider):
    name = "waiting"

    async def start(self):
        yield Request(self.site + "/gate/1")


@pytest.mark.parametrize("stats", ["scrapy.statscollectors.MemoryStatsCollector", None])
async def test_lines(redis_url, project, site, caplog, stats):
    caplog.set_level(logging.INFO)
    settings = crawl_settings(redis_url, project, EXTENSIONS=EXTENSIONS, LOGSTATS_INTERVAL=0.05)
    settings["STATS_CLASS"] = stats or "crawlo_scrapy.statscollector.RedisStatsCollector"
    crawler = make_crawler(Waiting, settings)
    task = start(run(crawler, site=site.url))
    await until(lambda: "Crawled 0 pages (at 0 pages/min), scraped 0 items" in caplog.text)
    if stats is None:
        await until(lambda: "0 queued, 1 in flight, 1 node" in caplog.text)
    else:
        await until(lambda: caplog.text.count("Crawled 0 pages") > 3)
        assert "in flight" not in caplog.text
    site.open_gate()
    assert await task == "finished"
    assert "responses_per_minute" in crawler.stats.get_stats(), "as with Scrapy's"


def test_progress():
    before = Sample(time=0, pages=1000, items=0, acked=900, queued=10, workers=1)
    now = Sample(
        time=30_000, pages=2500, items=150, acked=1900, queued=10_000, leased=10, workers=3
    )
    assert progress(before, now) == (
        "Crawl: 2,500 pages (at 3,000 pages/min), 150 items (at 300 items/min), "
        "10,000 queued, 10 in flight, 3 nodes, about 5 minutes for these"
    )
    idle = Sample(time=60_000, pages=2500, items=150, acked=1900, queued=5, workers=1)
    assert progress(now, idle).endswith("5 queued, 0 in flight, 1 node")


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.1, "about a minute"),
        (1.6, "about 2 minutes"),
        (99, "about 99 minutes"),
        (120, "about 2 hours"),
        (60 * 24 * 3, "about 3 days"),
    ],
)
def test_duration(minutes, words):
    assert duration(minutes) == words
