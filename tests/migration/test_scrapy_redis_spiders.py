"""Spiders and settings of scrapy-redis on our scheduler, and what its own scheduler tests ask."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from scrapy import Request, Spider, signals
from scrapy.exceptions import DontCloseSpider

from tests.backends import client_of
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.crawling import Peek, crawl, crawl_settings
from tests.waiting import wait_until

pytest.importorskip("scrapy_redis.spiders")

HERE = Path(__file__).parent
FOREIGN = HERE / "foreign_spider.py"
RULES = HERE / "foreign_rules_spider.py"
KINDS = {
    "list": {},
    "set": {"REDIS_START_URLS_AS_SET": "True"},
    "zset": {"REDIS_START_URLS_AS_ZSET": "True"},
}


@pytest.fixture
def start_key(project, redis_server):
    key = f"{project}:start_urls"
    yield key
    client_of(redis_server.url).delete(key)


def fill(url, key, kind, entries):
    client = client_of(url)
    for number, entry in enumerate(entries):
        if kind == "list":
            client.rpush(key, entry)
        elif kind == "set":
            client.sadd(key, entry)
        else:
            client.zadd(key, {entry: number})
    return client


def fleet_of(folder, url, key, spider, **settings):
    settings = {
        "REDIS_START_URLS_KEY": key, "CRAWLO_HEARTBEAT_INTERVAL": 0.3, "CRAWLO_WORKER_TIMEOUT": 5,
        **settings,
    }  # fmt: skip
    return Fleet(folder, url, spider=spider, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_read(redis_server, tmp_path, start_key, kind):
    count = 120
    with ChaosSite(count, delay=0.05) as site, fleet_of(
        tmp_path, redis_server.url, start_key, FOREIGN, MAX_IDLE_TIME_BEFORE_CLOSE=4,
        **KINDS[kind],
    ) as fleet:  # fmt: skip
        base = site.url.removesuffix("0")
        urls = [f"{base}{n}" for n in range(count)]
        entries = [*urls[:60], *(json.dumps({"url": url, "meta": {"a": 1}}) for url in urls[60:])]
        client = fill(redis_server.url, start_key, kind, entries)
        fleet.start(2)
        wait_until(lambda: len(fleet.items()) == count, "every page", 90)
        assert fleet.wait(60) == [0, 0]
        assert fleet.reasons() == {"finished": 2}
        assert set(fleet.items().values()) == {1}
        assert not client.exists(start_key)
        assert not fleet.errors()


@pytest.mark.slow
def test_rules_with_a_late_worker_and_one_that_is_stopped(redis_server, tmp_path, start_key):
    count = 300
    with ChaosSite(count, delay=0.1) as site, fleet_of(
        tmp_path, redis_server.url, start_key, RULES, MAX_IDLE_TIME_BEFORE_CLOSE=6,
    ) as fleet:  # fmt: skip
        fill(redis_server.url, start_key, "list", [site.url])
        fleet.start(2)
        wait_until(lambda: len(fleet.items()) >= 60, "some pages", 60)
        fleet.start()
        fleet.workers[0].send_signal(signal.SIGTERM)
        # Rules give no callback to the start page itself.
        wait_until(lambda: len(fleet.items()) >= count - 1, "every page", 120)
        assert fleet.wait(60) == [0, 0, 0]
        assert fleet.reasons() == {"shutdown": 1, "finished": 2}
        assert set(fleet.items().values()) == {1}
        assert not fleet.errors()


@pytest.mark.slow
def test_without_max_idle_time_they_stay(redis_server, tmp_path, start_key):
    with ChaosSite(3, delay=0) as site, fleet_of(
        tmp_path, redis_server.url, start_key, FOREIGN
    ) as fleet:  # fmt: skip
        base = site.url.removesuffix("0")
        fill(redis_server.url, start_key, "list", [f"{base}0"])
        fleet.start(2)
        wait_until(lambda: len(fleet.items()) == 1, "the first page", 60)
        fill(redis_server.url, start_key, "list", [f"{base}1", f"{base}0"])
        wait_until(lambda: fleet.items().total() == 3, "more, and one twice", 60)
        wait_until(
            lambda: all("Joined the crawl" in log.read_text() for log in fleet.logs), "both run", 60
        )
        assert len(fleet.alive) == 2
        for worker in fleet.workers:
            worker.send_signal(signal.SIGTERM)
        assert fleet.wait(60) == [0, 0]
        assert fleet.reasons() == {"shutdown": 2}


# What tests/test_scrapy_redis.py of scrapy-redis asks of queues and scheduler.


class Ordered(Spider):
    """Enqueues its pages in one go and notes in which order they come."""

    name = "ordered"
    custom_settings = {"CONCURRENT_REQUESTS": 1, "CRAWLO_PREFETCH": 1}
    pages = ()

    def __init__(self, *args, site, **kwargs):
        super().__init__(*args, **kwargs)
        self.site, self.order = site, []
        self.start_urls = [f"{site}/ok/start"]

    def parse(self, response):
        for name, priority in self.pages:
            yield Request(f"{self.site}/ok/{name}", self.parse_page, priority=priority)

    def parse_page(self, response):
        self.order.append(response.url.rpartition("/")[2])


def settings_of(redis_url, project, **more):
    settings = crawl_settings(redis_url, project, ADDONS={"crawlo_scrapy.Addon": 500}, **more)
    for name in ("SCHEDULER", "DUPEFILTER_CLASS", "SPIDER_MIDDLEWARES"):
        del settings[name]
    return settings


@pytest.mark.parametrize(
    ("queue_class", "pages", "order"),
    [
        ("PriorityQueue", [("1", 100), ("2", 50), ("3", 200)], ["3", "1", "2"]),
        ("SpiderPriorityQueue", [("1", 1), ("2", 1), ("3", 2)], ["3", "1", "2"]),
        ("FifoQueue", [("1", 0), ("2", 0), ("3", 0)], ["1", "2", "3"]),
        ("LifoQueue", [("1", 0), ("2", 0), ("3", 0)], ["3", "2", "1"]),
        ("SpiderStack", [("1", 0), ("2", 0), ("3", 0)], ["3", "2", "1"]),
    ],
)
async def test_order(redis_url, project, site, queue_class, pages, order):
    spider = type("Spider", (Ordered,), {"pages": pages})
    settings = settings_of(
        redis_url, project, SCHEDULER_QUEUE_CLASS=f"scrapy_redis.queue.{queue_class}"
    )
    crawler = await crawl(spider, settings, site=site.url)
    assert crawler.spider.order == order


async def test_equal_requests_are_filtered(redis_url, project, site):
    spider = type("Spider", (Ordered,), {"pages": [("1", 0), ("1", 0)]})
    crawler = await crawl(spider, settings_of(redis_url, project), site=site.url)
    assert crawler.spider.order == ["1"]


@pytest.mark.parametrize("persist", [True, False])
async def test_persistence(redis_url, project, site, persist):
    """An interrupted crawl is kept, which scrapy-redis does with SCHEDULER_PERSIST only."""
    spider = type("Spider", (Ordered,), {"pages": [(str(n), 0) for n in range(5)]})
    settings = settings_of(redis_url, project, SCHEDULER_PERSIST=persist)
    first = await crawl(spider, {**settings, "CLOSESPIDER_PAGECOUNT": 2}, site=site.url)
    second = await crawl(spider, settings, site=site.url)
    assert sorted(first.spider.order + second.spider.order) == list("01234")
    assert bool(Peek(redis_url, project, "ordered").all_keys()) is persist


class Feeding(Spider):
    """Has no start requests; comes up with one when it is asked for the second time."""

    name = "feeding"

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.on_idle, signals.spider_idle)
        spider.states = []
        return spider

    async def start(self):
        for request in ():
            yield request

    def on_idle(self):
        self.states.append(self.peek.meta("state"))
        if len(self.states) == 2:
            self.crawler.engine.crawl(Request(f"{self.site}/ok/fed"))
        if len(self.states) < 4:
            raise DontCloseSpider

    def parse(self, response):
        """Its page is enough."""


async def test_no_crawl_is_finished_before_its_idle_handlers_were_asked(redis_url, project, site):
    """Or a worker that comes in that moment would leave at once."""
    peek = Peek(redis_url, project, "feeding")
    crawler = await crawl(Feeding, settings_of(redis_url, project), peek=peek, site=site.url)
    assert set(crawler.spider.states) == {"running"}
    assert site.hits["/ok/fed"] == 1
    assert peek.meta("state") == "finished"
