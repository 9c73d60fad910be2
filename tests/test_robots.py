"""robots.txt is fetched once for the crawl, and its delay is the crawl's."""

from __future__ import annotations

import asyncio
import time

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.robots import delay_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.robots import Robots, RobotsFile
from tests.backends import address_of
from tests.crawling import Peek, crawl_settings, make_crawler, run
from tests.site import Site


class Polite(Spider):
    name = "polite"
    pages = 6
    again = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled, self.times = [], []

    async def start(self):
        for number in range(self.pages):
            yield Request(f"{self.site}/ok/{number}", dont_filter=self.again)
        yield Request(f"{self.site}/ok/forbidden")

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])
        self.times.append(time.monotonic())


def settings_for(redis_url, project, **more):
    return crawl_settings(
        redis_url,
        project,
        ROBOTSTXT_OBEY=True,
        DOWNLOADER_MIDDLEWARES={"crawlo_scrapy.robots.SharedRobotsMiddleware": 101},
        **more,
    )


async def crawl_with(count: int, settings, site: Site, **arguments):
    crawlers = [make_crawler(Polite, settings) for _ in range(count)]
    await asyncio.gather(*(run(crawler, site=site.url, **arguments) for crawler in crawlers))
    return crawlers


@pytest.fixture
def robots(site):
    site.robots = b"User-agent: *\nDisallow: /ok/forbidden\nCrawl-delay: 0.3\n"
    return site


async def test_fetched_once_for_all_workers(redis_url, project, robots):
    settings = settings_for(redis_url, project, CONCURRENT_REQUESTS=1, CRAWLO_PREFETCH=1)
    crawlers = await crawl_with(3, settings, robots, pages=30)
    assert robots.hits["/robots.txt"] == 1
    crawled = [path for crawler in crawlers for path in crawler.spider.crawled]
    assert sorted(crawled) == sorted(f"/ok/{number}" for number in range(30))
    forbidden = [crawler.stats.get_value("robotstxt/forbidden", 0) for crawler in crawlers]
    assert sum(forbidden) == 1


async def test_delay_becomes_the_slots(redis_url, project, robots):
    settings = settings_for(redis_url, project, CRAWLO_ROBOTS_DELAY=True, CONCURRENT_REQUESTS=1)
    [crawler] = await crawl_with(1, settings, robots)
    peek = Peek(redis_url, project, "polite")
    assert peek.redis.hgetall(peek.keys.limits) == {b"robots:127.0.0.1": b"300"}
    assert len(crawler.spider.crawled) == 6
    # The first few may have been prefetched before the file came.
    assert crawler.spider.times[-1] - crawler.spider.times[0] > 0


async def test_delay_is_learned_from_what_another_worker_has_fetched(redis_url, project, robots):
    settings = settings_for(redis_url, project)
    await crawl_with(1, settings, robots)
    peek = Peek(redis_url, project, "polite")
    key = peek.keys.robots(robots.url)
    assert not peek.redis.exists(peek.keys.limits)
    assert peek.redis.pexpire(key, 1_000_000)
    await crawl_with(1, {**settings, "CRAWLO_ROBOTS_DELAY": True}, robots, again=True)
    assert peek.redis.hgetall(peek.keys.limits) == {b"robots:127.0.0.1": b"300"}
    assert robots.hits["/robots.txt"] == 1
    assert peek.redis.pttl(key) <= 1_000_000, "it is kept for no longer than by who fetched it"


@pytest.mark.parametrize(("status", "kept"), [(200, 500), (404, 500), (503, 60), (429, 60)])
async def test_failure_is_kept_for_a_short_time(redis_url, project, status, kept):
    client, keys = Client.connect(address_of(redis_url)), Keys(project, "s")
    robots = Robots(client, keys, 500)
    await robots.put("http://a.test", RobotsFile(status, b"x"))
    assert await robots.get("http://a.test", "w") == ("here", (status, b"x"))
    assert kept - 30 < await client.call("pttl", keys.robots("http://a.test")) / 1000 <= kept
    await client.close()


async def test_worker_that_fails_to_fetch_it_leaves_it_to_others(redis_url, project, robots):
    robots.robots = None  # the connection is cut
    settings = settings_for(redis_url, project, RETRY_ENABLED=False, CONCURRENT_REQUESTS=1)
    crawlers = await crawl_with(2, settings, robots)
    assert sum(len(crawler.spider.crawled) for crawler in crawlers) == 7, "all is allowed then"
    peek = Peek(redis_url, project, "polite")
    assert not [key for key in peek.all_keys() if b":robots:" in key]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("Crawl-delay: 2", 2.0),
        ("Request-rate: 1/5s", 5.0),
        ("Request-rate: 10/1m\nCrawl-delay: 1", 6.0),
        ("Disallow: /", 0.0),
        ("Crawl-delay: soon", 0.0),
        ("Crawl-delay: -3", 0.0),
    ],
)
def test_delay_of(rules, expected):
    assert delay_of(b"User-agent: *\n" + rules.encode() + b"\n\xff", "bot") == expected
