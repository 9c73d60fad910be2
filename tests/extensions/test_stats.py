"""What a worker tells its crawl besides its stats."""

from __future__ import annotations

import logging

import pytest
from scrapy import Request, Spider
from scrapy.settings import Settings

from crawlo_scrapy.extensions.errorlines import LONGEST, ErrorLines
from crawlo_scrapy.extensions.stats import StatsExtension, resident_memory
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.stats import ErrorLine, Stats
from crawlo_scrapy.values import Codec
from tests.aio import run_async
from tests.crawling import Peek, crawl, crawl_settings

EXTENSION = "crawlo_scrapy.extensions.stats.StatsExtension"


class Failing(Spider):
    name = "failing"

    async def start(self):
        yield Request(self.site + "/ok/1")

    def parse(self, response):
        raise ValueError("see redis://user:hunter2@host/0 and s3cret-token")


def settings_of(redis_url, project, **more):
    return {
        **crawl_settings(redis_url, project),
        "STATS_CLASS": "crawlo_scrapy.statscollector.RedisStatsCollector",
        "EXTENSIONS": {EXTENSION: 0},
        "CRAWLO_STATS_INTERVAL": 0.05,
        **more,
    }


@pytest.fixture
def shared(redis_url, project):
    client = Client.connect(Address(url=redis_url))
    yield Stats(client, Peek(redis_url, project, "failing").keys, Codec())
    run_async(client.close())


async def test_error_lines_and_memory(redis_url, project, site, shared):
    settings = settings_of(redis_url, project, CRAWLO_NODE_ID="n1", MY_TOKEN="s3cret-token")
    crawler = await crawl(Failing, settings, site=site.url)
    [line] = await shared.errors()
    assert (line.node, line.logger, line.level) == ("n1", "scrapy.core.scraper", "ERROR")
    assert line.text.startswith("Spider error processing <GET ")
    assert line.text.endswith(": ValueError: see redis://****@host/0 and ****")
    assert crawler.stats.get_value("crawlo/memory") > 1_000_000
    [node] = (await shared.nodes()).values()
    assert node.values["crawlo/memory"] == crawler.stats.get_value("crawlo/memory")
    assert not [h for h in logging.getLogger().handlers if isinstance(h, ErrorLines)]


async def test_the_stats_of_the_crawl_are_logged(redis_url, project, site, caplog):
    caplog.set_level(logging.INFO)
    settings = settings_of(redis_url, project, STATS_DUMP_INTERVAL=1000, STATS_DUMP=False)
    await crawl(Failing, settings, site=site.url)
    [text] = [r.getMessage() for r in caplog.records if "Stats of the crawl" in r.message]
    assert "'start_time'" in text


async def test_with_another_collector_it_does_nothing(redis_url, project, site):
    settings = settings_of(redis_url, project)
    del settings["STATS_CLASS"]
    crawler = await crawl(Failing, settings, site=site.url)
    assert not [e for e in crawler.extensions.middlewares if isinstance(e, StatsExtension)]


class Lines:
    """What a handler makes of records."""

    def __init__(self, **settings):
        class NoCrawler:
            pass

        self.crawler = NoCrawler()
        self.crawler.settings = Settings(settings)
        self.lines: list[ErrorLine] = []
        self.logger = logging.Logger("here")
        self.logger.addHandler(ErrorLines(self.crawler, "n", self.lines.append))

    @property
    def texts(self):
        return [line.text for line in self.lines]


def test_only_errors_and_only_ones_own():
    lines, other = Lines(), Lines()
    lines.logger.warning("no")
    lines.logger.error("a %d", 1)
    lines.logger.critical("b")
    own, foreign = Spider("s"), Spider("s")
    own.crawler, foreign.crawler = lines.crawler, other.crawler
    lines.logger.error("own", extra={"spider": own})
    lines.logger.error("foreign", extra={"spider": foreign})
    lines.logger.error("does not %d fit", "x")
    assert lines.texts == ["a 1", "b", "own"]


def test_lines_are_short():
    lines = Lines()
    lines.logger.error("é" * 1000)
    lines.logger.error("two\nlines \ud800")
    assert lines.texts == ["é" * (LONGEST // 2), "two lines ?"]


def test_secrets_are_not_shown():
    lines = Lines(
        REDIS_PASSWORD="hunter2",
        MONGO_URI="mongodb://u:p%40ss@h/db",
        API_KEY="k",
        NAME="hunter",
    )
    lines.logger.error("hunter hunter2 mongodb://u:p%40ss@h/db http://a:b@c/d?k=1 x@y")
    assert lines.texts == ["hunter **** **** http://****@c/d?k=1 x@y"]


def test_memory_where_the_system_does_not_say(monkeypatch):
    now = resident_memory()

    def no_proc(*args):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_proc)
    assert resident_memory() >= now / 2
