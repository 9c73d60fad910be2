"""Retries through the crawl's queue: Retry-After, back-off, other workers, dead letters."""

from __future__ import annotations

import asyncio
import threading
import time
from email.utils import formatdate

import pytest
from scrapy import Request, Spider
from scrapy.http import Response
from scrapy.settings import default_settings

from crawlo_scrapy.downloadermiddlewares import retry_after
from crawlo_scrapy.engine import Engine
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from tests.aio import run_async
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until
from tests.extensions.busysite import BusySite

MIDDLEWARES = {
    "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
    "crawlo_scrapy.downloadermiddlewares.RetryMiddleware": 550,
}
ERRORS = default_settings.RETRY_EXCEPTIONS


class Pages(Spider):
    """Asks for each of `paths` and notes what comes of it."""

    name = "pages"
    custom_settings = {"RETRY_TIMES": 3}
    meta = {}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: list[tuple[str, int, int]] = []
        self.failures: list[str] = []

    async def start(self):
        for path in self.paths:
            yield Request(
                self.site + path, meta=dict(self.meta), callback=self.parse, errback=self.fail
            )

    def parse(self, response):
        path = response.url.removeprefix(self.site)
        assert "crawlo_delay" not in response.meta
        self.seen.append((path, response.status, response.meta.get("retry_times", 0)))

    def fail(self, failure):
        self.failures.append(failure.type.__name__)


class Local(Pages):
    """Its requests hold what Redis cannot carry."""

    meta = {"lock": threading.Lock}

    async def start(self):
        for path in self.paths:
            yield Request(self.site + path, meta={"lock": threading.Lock()}, callback=self.parse)


@pytest.fixture
def busy():
    site = run_async(BusySite().start())
    yield site
    run_async(site.stop())


@pytest.fixture
def settings(redis_url, project):
    return crawl_settings(redis_url, project, DOWNLOADER_MIDDLEWARES=MIDDLEWARES)


@pytest.fixture
def peek(redis_url, project):
    return Peek(redis_url, project, "pages")


def delays(peek: Peek) -> list[float]:
    """For how many seconds the delayed requests still wait, by Redis's clock."""
    seconds, micros = peek.redis.time()
    now = seconds + micros / 1e6
    return [
        due / 1000 - now for _, due in peek.redis.zrange(peek.keys.delayed, 0, -1, withscores=True)
    ]


def make_due(peek: Peek) -> None:
    """Let the time pass that delayed requests, and their site, wait for."""
    for record in peek.redis.zrange(peek.keys.delayed, 0, -1):
        peek.redis.zadd(peek.keys.delayed, {record: 1})
    peek.redis.delete(peek.keys.holds, peek.keys.pace)
    for slot in peek.redis.zrange(peek.keys.timed, 0, -1):
        peek.redis.zadd(peek.keys.timed, {slot: 1}, xx=True)


async def end_of(crawling: asyncio.Task, peek: Peek) -> str:
    """Let the time pass until the crawl ends, and return its close reason."""
    await until(lambda: make_due(peek) or crawling.done(), "the end")
    return await crawling


NOW = time.time()


@pytest.mark.parametrize(
    ("status", "headers", "more", "low", "high"),
    [
        (503, "Retry-After: 3000", {}, 2900, 3000),
        (429, "Retry-After: 3000", {"CRAWLO_RETRY_BACKOFF": 10}, 2900, 3000),
        # The site's clock stands in 1970.
        (
            503,
            f"Date: {formatdate(5, usegmt=True)}\r\nRetry-After: {formatdate(2005, usegmt=True)}",
            {}, 1900, 2000,
        ),
        (503, f"Retry-After: {formatdate(NOW + 3000, usegmt=True)}", {}, 2000, 3001),
        (503, "Retry-After: 99999999", {}, 3500, 3600),
        (503, "Retry-After: 99999999", {"CRAWLO_RETRY_DELAY_MAX": 500}, 400, 500),
        (500, "", {"CRAWLO_RETRY_BACKOFF": 1000}, 400, 1000),
        (500, "Retry-After: never", {"CRAWLO_RETRY_BACKOFF": 1000}, 400, 1000),
    ],
    ids=["503", "429", "clock", "date", "bounded", "bounded-more", "back-off", "nonsense"],
)  # fmt: skip
async def test_waits_in_redis(settings, peek, busy, status, headers, more, low, high):
    busy.plan["/ok/1"] = [(status, headers)]
    crawler = make_crawler(Pages, settings | more)
    crawling = start(run(crawler, site=busy.url, paths=["/ok/1"]))
    await until(lambda: delays(peek), "a delayed retry")
    [delay] = delays(peek)
    assert low < delay <= high
    assert await end_of(crawling, peek) == "finished"
    assert crawler.spider.seen == [("/ok/1", 200, 1)]
    assert crawler.stats.get_value("retry/count") == 1


async def test_backoff_doubles_and_follows_exceptions(settings, peek, busy):
    settings |= {"CRAWLO_RETRY_BACKOFF": 800, "RETRY_EXCEPTIONS": ERRORS}
    crawler = make_crawler(Pages, settings)
    crawling = start(run(crawler, site=busy.url, paths=["/broken/1"]))
    for low, high in (300, 800), (700, 1600), (1500, 3200):
        await until(lambda: delays(peek), "a delayed retry")
        [delay] = delays(peek)
        assert low < delay <= high
        hits = busy.hits["/broken/1"]
        make_due(peek)
        await until(lambda hits=hits: busy.hits["/broken/1"] > hits, "the retry")
    assert await crawling == "finished"
    assert len(crawler.spider.failures) == 1
    assert crawler.stats.get_value("retry/max_reached") == 1


async def test_another_worker_may_take_it(settings, peek, busy):
    busy.plan["/ok/1"] = [(429, "Retry-After: 3000")]
    first = make_crawler(Pages, settings)
    crawling = start(run(first, site=busy.url, paths=["/ok/1"]))
    await until(lambda: delays(peek), "a delayed retry")
    second = make_crawler(Pages, settings)
    helping = start(run(second, site=busy.url, paths=[]))
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the second worker")
    Engine(first).close("shutdown")
    assert await crawling == "shutdown"
    assert await end_of(helping, peek) == "finished"
    assert (first.spider.seen, second.spider.seen) == ([], [("/ok/1", 200, 1)])


async def test_two_workers_and_a_busy_site(settings, busy):
    """Everything is answered twice with "not now", for a second."""
    paths = [f"/ok/{n}" for n in range(30)]
    busy.plan = {path: [(503, "Retry-After: 1"), (429, "Retry-After: 1")] for path in paths}
    crawlers = [make_crawler(Pages, settings) for _ in range(2)]
    runs = [start(run(crawler, site=busy.url, paths=paths)) for crawler in crawlers]
    assert await asyncio.gather(*runs) == ["finished", "finished"]
    seen = sorted(seen for crawler in crawlers for seen in crawler.spider.seen)
    assert seen == sorted((path, 200, 2) for path in paths)
    assert set(busy.hits.values()) == {3}


async def test_what_redis_cannot_carry_waits_for_its_site_too(settings, peek, busy):
    busy.plan["/ok/1"] = [(503, "Retry-After: 3000")]
    crawler = make_crawler(Local, settings)
    crawling = start(run(crawler, site=busy.url, paths=["/ok/1"]))
    await until(lambda: peek.redis.zcard(peek.keys.holds), "the site is put off")
    assert busy.hits["/ok/1"] == 1
    for key in (peek.keys.holds, peek.keys.pace):
        peek.redis.zadd(key, dict.fromkeys(peek.redis.zrange(key, 0, -1), 1))
    assert await crawling == "finished"
    assert crawler.spider.seen == [("/ok/1", 200, 1)]


@pytest.mark.parametrize("last", [{"dont_retry": True}, {"max_retry_times": 0}])
@pytest.mark.parametrize("status", [429, 503])
async def test_site_is_left_alone_also_when_nothing_is_tried_again(
    last, status, settings, peek, busy, monkeypatch
):
    busy.plan["/ok/1"] = [(status, "Retry-After: 3000")]
    monkeypatch.setattr(Pages, "meta", last)
    settings |= {"RETRY_HTTP_CODES": [429]}
    await crawl(Pages, settings, site=busy.url, paths=["/ok/1"])
    assert busy.hits["/ok/1"] == 1
    assert peek.redis.zcard(peek.keys.holds) == 1, "nobody asks it for more"


async def test_without_our_scheduler_it_is_scrapys(busy):
    busy.plan["/ok/1"] = [(503, "Retry-After: 3000")]
    settings = {"DOWNLOADER_MIDDLEWARES": MIDDLEWARES, "TELNETCONSOLE_ENABLED": False}
    crawler = await crawl(Pages, settings, site=busy.url, paths=["/ok/1"])
    assert crawler.spider.seen == [("/ok/1", 200, 1)]


class TestDeadLetters:
    async def test_kept_when_retries_are_used_up(self, settings, peek, busy, redis_url):
        busy.always = (503, "")
        settings |= {"CRAWLO_DEAD_LETTER_FAILED": True, "RETRY_TIMES": 2}
        crawler = await crawl(Pages, settings, site=busy.url, paths=["/ok/1"])
        [letter] = await peek.dead_letters()
        assert (letter.reason, letter.error) == ("failed", "503 Service Unavailable")
        request = RequestSerializer(crawler.spider).decode(letter.payload)
        assert request.url == busy.url + "/ok/1"
        assert "retry_times" not in request.meta
        assert request.callback == crawler.spider.parse
        assert busy.hits["/ok/1"] == 4  # Pages' own setting wins
        assert crawler.stats.get_value("retry/max_reached") == 1
        assert crawler.stats.get_value("crawlo/dead_letters/failed") == 1

        # A person queues it again: it has all its retries.
        busy.plan["/ok/1"] = [(503, "")] * 7
        client = Client.connect(Address(url=redis_url))
        assert await DeadLetters(client, peek.keys).requeue([letter.id]) == 1
        await client.close()
        again = await crawl(Pages, settings, site=busy.url, paths=[])
        assert again.spider.seen == [("/ok/1", 200, 3)]
        assert await peek.dead_letters() == []

    async def test_kept_after_exceptions(self, settings, peek, busy):
        settings |= {"CRAWLO_DEAD_LETTER_FAILED": True, "RETRY_EXCEPTIONS": ERRORS}
        crawler = await crawl(Pages, settings, site=busy.url, paths=["/broken/1"])
        [letter] = await peek.dead_letters()
        assert letter.reason == "failed"
        assert [letter.error.partition(":")[0]] == crawler.spider.failures

    async def test_kept_by_its_url_when_redis_cannot_carry_it(self, settings, peek, busy):
        busy.always = (503, "")
        settings |= {"CRAWLO_DEAD_LETTER_FAILED": True}
        crawler = await crawl(Local, settings, site=busy.url, paths=["/ok/1"])
        [letter] = await peek.dead_letters()
        request = RequestSerializer(crawler.spider).decode(letter.payload)
        assert (request.url, request.meta) == (busy.url + "/ok/1", {})

    @pytest.mark.parametrize(
        ("kept", "meta"), [(False, {}), (True, {"dont_retry": True})], ids=["off", "dont_retry"]
    )
    async def test_not_kept(self, settings, peek, busy, kept, meta, monkeypatch):
        busy.always = (503, "")
        monkeypatch.setattr(Pages, "meta", meta)
        await crawl(
            Pages, settings | {"CRAWLO_DEAD_LETTER_FAILED": kept}, site=busy.url, paths=["/ok/1"]
        )
        assert await peek.dead_letters() == []


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 7 "}, 7),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "1.5"}, 0),
        ({"Retry-After": "²"}, 0),
        ({"Retry-After": "9" * 400}, float("inf")),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0),
        ({"Retry-After": "Thu, 99 Jan 1970 00:00:10 GMT"}, 0),
        (
            {
                "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
                "Retry-After": "Thu, 01 Jan 2026 00:01:00 -0000",
            },
            60,
        ),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(Response("http://a.test", headers=headers)) == seconds
