"""The stats collector: local counts, and what the crawl is told of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request, Spider, signals
from scrapy.exceptions import DontCloseSpider
from scrapy.settings import Settings, default_settings
from scrapy.signalmanager import SignalManager
from scrapy.statscollectors import MemoryStatsCollector

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy import statssharing
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.statscollector import RedisStatsCollector
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.stats import ErrorLine, Stats
from crawlo_scrapy.values import Codec
from tests.aio import run_async
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, stop, until

OURS = "crawlo_scrapy.statscollector.RedisStatsCollector"
PAGES = "response_received_count"


class Counting(Spider):
    """Crawls `count` pages and counts them."""

    name = "counting"
    count = 3

    async def start(self):
        for number in range(int(self.count)):
            yield Request(f"{self.site}/ok/{number}")

    def parse(self, response):
        self.crawler.stats.inc_value("mine/pages")
        self.crawler.stats.max_value("mine/longest", len(response.url))
        yield {"url": response.url}


class Open(Counting):
    """Stays open until `done` is set."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.done = asyncio.Event()

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.stay, signals.spider_idle)
        return spider

    def stay(self):
        if not self.done.is_set():
            raise DontCloseSpider


def stats_settings(redis_url: str, project: str, **more: Any) -> dict[str, Any]:
    return {
        **crawl_settings(redis_url, project, STATS_CLASS=OURS),
        "CRAWLO_STATS_INTERVAL": 0.05,
        **more,
    }


async def sharing(*crawlers: Any) -> None:
    """Return once all of them run and share their stats."""

    def holds() -> bool:
        try:
            return all(crawler.stats.shared and crawler.engine.running for crawler in crawlers)
        except (RuntimeError, AttributeError):  # it has none yet
            return False

    await until(holds, "they share their stats")


def keys_left(redis_url: str, project: str) -> list[bytes]:
    peek = Peek(redis_url, project, "counting")
    return list(peek.redis.scan_iter(peek.keys.stats_prefix + "*"))


@pytest.fixture
def shared(redis_url, project):
    """Reads the stats of the crawl of `counting`."""
    client = Client.connect(Address(url=redis_url))
    yield Stats(client, Peek(redis_url, project, "counting").keys, Codec())
    run_async(client.close())


def collector() -> RedisStatsCollector:
    class NoCrawler:
        settings, signals, spider, engine = Settings(), SignalManager(), None, None

    return RedisStatsCollector(NoCrawler())


# What is local.

VALUES = st.integers(-9, 9)
KEYS = st.sampled_from(["a", "b"])
CALLS = st.one_of(
    st.tuples(st.sampled_from(["set_value", "max_value", "min_value"]), KEYS, VALUES),
    st.tuples(st.just("inc_value"), KEYS, VALUES, VALUES),
    st.tuples(st.just("clear_stats")),
    st.tuples(st.just("set_stats"), st.dictionaries(KEYS, VALUES)),
)


@given(st.lists(CALLS))
def test_it_counts_as_scrapys_does(calls):
    ours = collector()
    scrapys = MemoryStatsCollector(ours._crawler)
    for method, *args in calls:
        copies = [dict(arg) if isinstance(arg, dict) else arg for arg in args]
        getattr(ours, method)(*args)
        getattr(scrapys, method)(*copies)
        assert ours.get_stats() == scrapys.get_stats()
        assert ours.get_value("a", 7) == scrapys.get_value("a", 7)


def test_the_spider_argument_is_taken_and_ignored():
    stats = collector()
    stats.inc_value("a", spider=None)
    stats.set_value("b", 1, None)
    assert stats.get_value("a", spider=None) == 1


async def test_without_a_crawl_its_own_are_all():
    stats = collector()
    stats.inc_value("a")
    stats.note_error(ErrorLine(0.0, "n", "l", "ERROR", "text"))
    assert stats.shared is None
    assert await stats.get_cluster_stats() == {"a": 1}


# What is shared.


async def test_a_crawl(redis_url, project, site, shared):
    crawler = await crawl(Counting, stats_settings(redis_url, project), site=site.url)
    own = crawler.stats.get_stats()
    assert (own["finish_reason"], own["mine/pages"], own[PAGES]) == ("finished", 3, 3)
    assert await shared.totals() == own
    assert crawler.stats.spider_stats["counting"] is own, "as with Scrapy's"
    [node] = (await shared.nodes()).values()
    assert node.left
    last = (await shared.series())[-1]
    assert (last.pages, last.items, last.acked, last.workers) == (3, 3, 3, 0)


async def test_two_workers_add_up(redis_url, project, site, shared):
    settings = stats_settings(redis_url, project, STATS_DUMP=True)
    one, two = make_crawler(Open, settings), make_crawler(Open, settings)
    tasks = [start(run(crawler, site=site.url)) for crawler in (one, two)]
    await until(lambda: len(site.hits) == 3, "all pages")
    await sharing(one, two)
    for crawler in (one, two):
        crawler.stats.set_value("mine/found", 0)
    two.stats.inc_value("mine/found")
    one.stats.inc_value("mine/more", 5)
    two.stats.inc_value("mine/more", 7)
    one.stats.set_value("mine/last", "one")
    await one.stats.get_cluster_stats()
    two.stats.set_value("mine/last", "two")
    two.stats.max_value("mine/longest", 1000)
    await two.stats.get_cluster_stats()
    cluster = await one.stats.get_cluster_stats()
    assert (cluster["mine/more"], cluster["mine/found"]) == (12, 1)
    assert (cluster["mine/last"], cluster["mine/longest"]) == ("two", 1000)
    assert one.stats.get_value("mine/more") == 5
    for crawler in (one, two):
        crawler.spider.done.set()
    assert [await task for task in tasks] == ["finished", "finished"]
    totals = await shared.totals()
    assert totals[PAGES] == totals["mine/pages"] == 3
    assert totals["start_time"] == min(c.stats.get_value("start_time") for c in (one, two))
    assert len(await shared.nodes()) == 2


async def test_the_last_worker_logs_the_stats_of_the_crawl(redis_url, project, site, caplog):
    caplog.set_level(logging.INFO)
    settings = stats_settings(redis_url, project)
    one, two = make_crawler(Open, settings), make_crawler(Open, settings)
    tasks = [start(run(c, site=site.url)) for c in (one, two)]
    await sharing(one, two)
    await stop(one)
    await tasks[0]
    assert "Stats of the crawl" not in caplog.text
    await stop(two)
    await tasks[1]
    assert caplog.text.count("Stats of the crawl") == 1


async def test_values_that_msgpack_does_not_know(redis_url, project, site, shared):
    class Index:
        def __index__(self):
            return 3

    class Odd:
        def __str__(self):
            return "odd"

    class Worse:
        def __str__(self):
            raise RuntimeError

    crawler = make_crawler(Open, stats_settings(redis_url, project))
    task = start(run(crawler, site=site.url))
    await sharing(crawler)
    crawler.stats.set_value("index", Index())
    crawler.stats.set_value("odd", Odd())
    crawler.stats.set_value("worse", Worse())
    crawler.stats.set_value("nested", {"a": [1, {"b": 2}]})
    crawler.stats.set_value(5, "a key that is no text")
    totals = await crawler.stats.get_cluster_stats()
    assert (totals["index"], totals["odd"]) == (3, "odd")
    assert totals["worse"].startswith("(a ")
    assert totals["nested"] == {"a": [1, {"b": 2}]}
    # One that changes inside is written again.
    crawler.stats.get_value("nested")["a"].append(5)
    assert (await crawler.stats.get_cluster_stats())["nested"] == {"a": [1, {"b": 2}, 5]}
    crawler.stats.clear_stats()
    assert await crawler.stats.get_cluster_stats() == {}
    crawler.spider.done.set()
    await task


async def test_a_resumed_crawl_adds_to_what_was_done(redis_url, project, site, shared):
    # Slowly, so that the first worker leaves something.
    settings = stats_settings(redis_url, project, DOWNLOAD_DELAY=0.05, CONCURRENT_REQUESTS=1)
    first = await crawl(Counting, {**settings, "CLOSESPIDER_ITEMCOUNT": 1}, site=site.url, count=20)
    before = (await shared.totals())[PAGES]
    assert before == first.stats.get_value(PAGES) < 20
    await crawl(Counting, settings, site=site.url, count=20)
    assert (await shared.totals())[PAGES] == 20
    assert len(await shared.runs()) == 1


async def test_reset_on_start(redis_url, project, site, shared):
    # Slowly, so that the first worker leaves something.
    settings = stats_settings(redis_url, project, DOWNLOAD_DELAY=0.05, CONCURRENT_REQUESTS=1)
    await crawl(Counting, {**settings, "CLOSESPIDER_ITEMCOUNT": 1}, site=site.url, count=20)
    before = (await shared.totals())[PAGES]
    await crawl(Counting, {**settings, "STATS_RESET_ON_START": True}, site=site.url, count=20)
    assert (await shared.totals())[PAGES] == 20 - before


async def test_history(redis_url, project, site, shared):
    settings = stats_settings(redis_url, project, CRAWLO_STATS_HISTORY=2)
    for count in (1, 2, 3):
        await crawl(Counting, settings, site=site.url + f"/ok/{count}", count=count)
    assert [run.number for run in await shared.runs()] == [3, 2]
    assert [(await shared.totals(n))[PAGES] for n in (2, 3)] == [2, 3]


async def test_stats_that_are_not_kept(redis_url, project, site):
    settings = stats_settings(redis_url, project, STATS_PERSISTENCE=False)
    crawler = make_crawler(Open, settings)
    task = start(run(crawler, site=site.url))
    await until(lambda: keys_left(redis_url, project), "stats in Redis")
    other = make_crawler(Counting, settings)
    leaving = start(run(other, site=site.url))
    peek = Peek(redis_url, project, "counting")
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "another worker")
    await until(lambda: other.engine.running, "it has started")
    await stop(other)
    await leaving
    assert keys_left(redis_url, project), "one is left"
    crawler.spider.done.set()
    await task
    assert keys_left(redis_url, project) == []


async def test_a_crawl_that_is_not_kept_leaves_no_key(redis_url, project, site):
    settings = stats_settings(redis_url, project, SCHEDULER_PERSIST=False)
    await crawl(Counting, settings, site=site.url)
    assert Peek(redis_url, project, "counting").all_keys() == []


async def test_a_worker_that_comes_too_late_shares_nothing(redis_url, project, site, shared):
    settings = stats_settings(redis_url, project, CRAWLO_CRAWL_ID="x")
    await crawl(Counting, settings, site=site.url)
    late = await crawl(Counting, settings, site=site.url)
    assert late.stats.shared is None
    assert (await late.stats.get_cluster_stats())["finish_reason"] == "finished"


async def test_with_scrapys_scheduler_processes_share_their_stats(redis_url, project, site, shared):
    settings = stats_settings(
        redis_url,
        project,
        SCHEDULER=default_settings.SCHEDULER,
        DUPEFILTER_CLASS=default_settings.DUPEFILTER_CLASS,
        SPIDER_MIDDLEWARES={},
    )
    for _ in range(2):
        await crawl(Counting, settings, site=site.url)
    assert (await shared.totals())[PAGES] == 6
    assert len(await shared.nodes(0)) == 2


# Redis away.


async def test_redis_away(redis_server: LocalRedis, project, site, caplog):
    caplog.set_level(logging.INFO)
    with DelayProxy(redis_server.port) as proxy:
        crawler = make_crawler(Open, stats_settings(proxy.url, project))
        task = start(run(crawler, site=site.url))
        await sharing(crawler)
        await until(lambda: crawler.stats.get_value(PAGES) == 3, "all pages")
        proxy.cut()
        await until(lambda: "Stats are not shared while" in caplog.text, "it says so")
        crawler.stats.inc_value("mine/away", 2)
        with pytest.raises(StoreError):
            await crawler.stats.get_cluster_stats()
        proxy.restore()
        await until(lambda: "shared again" in caplog.text, "Redis is back")
        assert (await crawler.stats.get_cluster_stats())["mine/away"] == 2
        crawler.spider.done.set()
        await task
    assert caplog.text.count("Stats are not shared while") == 1


async def test_redis_that_hangs_does_not_hold_up_the_spider(
    redis_server: LocalRedis, project, site, caplog, monkeypatch
):
    monkeypatch.setattr(statssharing, "CLOSE_TIMEOUT", 0.3)
    with DelayProxy(redis_server.port) as proxy:
        settings = stats_settings(
            proxy.url,
            project,
            SCHEDULER=default_settings.SCHEDULER,
            DUPEFILTER_CLASS=default_settings.DUPEFILTER_CLASS,
            SPIDER_MIDDLEWARES={},
            CRAWLO_REDIS_TIMEOUT=1000,
        )
        crawler = make_crawler(Counting, settings)
        proxy.hang()
        assert await run(crawler, site=site.url) == "finished"
    assert len(site.hits) == 3
    assert "could not be added" in caplog.text


async def test_redis_that_goes_back_gets_all_again(redis_url, project, site, shared):
    crawler = make_crawler(Open, stats_settings(redis_url, project, CRAWLO_STATS_INTERVAL=3600))
    task = start(run(crawler, site=site.url))
    await sharing(crawler)
    await until(lambda: crawler.stats.get_value("mine/pages") == 3, "all pages")
    await crawler.stats.get_cluster_stats()
    peek = Peek(redis_url, project, "counting")
    [node] = (await shared.nodes()).keys()
    key = peek.keys.stats(1, node)
    peek.redis.delete(key)
    crawler.stats.inc_value("mine/pages")
    totals = await crawler.stats.get_cluster_stats()
    assert (totals["mine/pages"], totals[PAGES]) == (4, 3)
    crawler.spider.done.set()
    await task
