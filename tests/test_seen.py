"""Workers of crawls with other seen sets than the plain one."""

from __future__ import annotations

import logging

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.dupefilter import RecentSet
from crawlo_scrapy.payload import PlainRequest, fingerprint
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.forgetting import forget
from tests.backends import address_of
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until

OWN_SCHEDULER = {"SCHEDULER": "scrapy.core.scheduler.Scheduler", "SPIDER_MIDDLEWARES": {}}
KINDS = [
    {"CRAWLO_SEEN": "bloom", "BLOOM_FILTER_CAPACITY": 10},
    {"REDIS_TTL": 3600},
    {"CRAWLO_SEEN": "bloom", "REDIS_TTL": 3600},
    {"CRAWLO_SEEN_URLS": True},
]


class Pages(Spider):
    """A page that leads to ten others, which lead to each other."""

    name = "pages"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        yield Request(f"{self.site}/ok/0")

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])
        for number in range(11):
            yield Request(f"{self.site}/ok/{number}")


@pytest.mark.parametrize("own", [{}, OWN_SCHEDULER], ids=["ours", "scrapy"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_each_page_once(kind, own, redis_url, project, site):
    # No local memory: Redis is asked each time.
    settings = crawl_settings(redis_url, project, CRAWLO_LOCAL_CACHE_SIZE=0, **kind, **own)
    crawler = await crawl(Pages, settings, site=site.url)
    assert sorted(crawler.spider.crawled) == sorted(f"/ok/{number}" for number in range(11))
    peek = Peek(redis_url, project, "pages")
    assert peek.number("seen") == 11
    assert peek.meta("seen_how") == kind.get("CRAWLO_SEEN", "exact")


async def test_a_worker_with_another_choice_is_refused(redis_url, project, site, caplog):
    first = make_crawler(Pages, crawl_settings(redis_url, project, CRAWLO_SEEN="bloom"))
    crawling = start(run(first, site=site.url + "/gate"))
    peek = Peek(redis_url, project, "pages")
    await until(lambda: peek.leased(), "a crawl under way")
    second = make_crawler(Pages, crawl_settings(redis_url, project))
    assert await run(second, site=site.url) == "redis_unavailable"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "CRAWLO_SEEN = bloom, and the settings here say CRAWLO_SEEN = exact" in told[0]
    assert peek.redis.zcard(peek.keys.workers) == 1, "it never entered the registry"
    site.open_gate()
    assert await crawling == "finished"


async def test_a_full_filter_is_told_to_who_joins(redis_url, project, site, caplog):
    settings = crawl_settings(redis_url, project, **KINDS[0])
    await crawl(Pages, settings, site=site.url)
    assert "further filters are open" not in caplog.text
    await crawl(Pages, settings, site=site.url)
    assert caplog.text.count("further filters are open") == 1


async def test_a_mistake_closes_with_one_line(redis_url, project, site, caplog):
    settings = {"CRAWLO_SEEN": "bloom", "BLOOM_FILTER_ERROR_RATE": 2}
    crawler = make_crawler(Pages, crawl_settings(redis_url, project, **settings))
    assert await run(crawler, site=site.url) == "invalid_setting"
    assert "BLOOM_FILTER_ERROR_RATE is 2" in caplog.text


class Twice(Pages):
    """Asks for a page again whenever the last answer has come, until it was crawled twice."""

    name = "twice"

    def parse(self, response):
        path = response.url[len(self.site) :]
        self.crawled.append(path)
        self.asked = getattr(self, "asked", 0) + 1
        if self.crawled.count("/ok/0") < 2:
            yield Request(f"{self.site}/ok/0")
            yield Request(f"{self.site}/ok/tick{self.asked}", dont_filter=True)


async def test_workers_forget_too(redis_url, project, site):
    """Otherwise a worker would drop the URL by its own memory, as long as it runs."""
    crawler = make_crawler(Twice, crawl_settings(redis_url, project))
    crawling = start(run(crawler, site=site.url))
    await until(lambda: crawler.spider and len(crawler.spider.crawled) > 5, "it is known by now")
    assert crawler.spider.crawled.count("/ok/0") == 1
    keys = Peek(redis_url, project, "twice").keys
    client = Client.connect(address_of(redis_url))
    assert await forget(client, keys, [fingerprint(PlainRequest(f"{site.url}/ok/0"))]) == 1
    asked = crawler.spider.asked
    await until(lambda: crawler.spider.asked > asked + 3, "nobody was told")
    assert crawler.spider.crawled.count("/ok/0") == 1
    await Control(client, keys).forgot("me", "seen forget")
    assert await crawling == "finished"
    assert crawler.spider.crawled.count("/ok/0") == 2
    await client.close()


async def test_a_page_is_new_again_after_the_ttl(redis_url, project, site):
    """In Redis and in the memory of the worker that crawled it."""
    crawler = await crawl(Twice, crawl_settings(redis_url, project, REDIS_TTL=0.5), site=site.url)
    assert crawler.spider.crawled.count("/ok/0") == 2


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("crawlo_scrapy.dupefilter.time", clock)
    return clock


@pytest.mark.parametrize("steps", [[3.1], [1.0, 1.9, 0.2], [0.1] * 31, [1.49, 1.6]])
def test_nothing_is_remembered_for_longer_than_its_life(clock, steps):
    recent = RecentSet(100, life=3.0)
    clock.now += 1.2
    recent.add("a")
    assert "a" in recent
    for step in steps:
        clock.now += step
        recent.add("b")
        "a" in recent  # noqa: B015 - asking must not keep it
    assert "a" not in recent
    assert "b" in recent


def test_a_full_set_with_a_life(clock):
    recent = RecentSet(4, life=100.0)
    for number in range(50):
        clock.now += 1
        recent.add(number)
        assert number in recent
        assert len(recent._young) + len(recent._old) <= 4
    clock.now += 100
    assert 49 not in recent
