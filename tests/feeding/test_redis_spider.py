"""Spiders that read start URLs from Redis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scrapy import Request
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import Rule

from crawlo_scrapy.client import AsyncCrawlClient
from crawlo_scrapy.spiders import RedisCrawlSpider, RedisSpider
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import taken_keys
from crawlo_scrapy.store.source import Source
from tests.backends import address_of, client_of
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until
from tests.waiting import wait_until

SPIDER = Path(__file__).with_name("source_spider.py")


class Reading(RedisSpider):
    name = "reading"
    max_idle_time = 1

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])


class Ruled(RedisCrawlSpider):
    name = "ruled"
    rules = [Rule(LinkExtractor(), callback="parse_page")]

    def parse_page(self, response):
        """Called for no page of the site, which has no links."""


@pytest.fixture
def key(project):
    return f"{project}:start"


def fill(redis_url, key, kind, entries):
    client = client_of(redis_url)
    for number, entry in enumerate(entries):
        if kind == "list":
            client.rpush(key, entry)
        elif kind == "set":
            client.sadd(key, entry)
        elif kind == "zset":
            client.zadd(key, {entry: number})
        else:
            client.xadd(key, {"data": entry})
    return client


def settings(redis_url, project, key, **more):
    return crawl_settings(redis_url, project, REDIS_START_URLS_KEY=key, **more)


@pytest.mark.parametrize("kind", ["list", "set", "zset", "stream"])
async def test_reads(redis_url, project, site, key, kind):
    client = fill(redis_url, key, kind, [f"{site.url}/ok/{n}" for n in range(40)])
    options = settings(redis_url, project, key, REDIS_START_URLS_BATCH_SIZE=7)
    crawler = await crawl(Reading, options, site=site.url)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert sorted(crawler.spider.crawled) == sorted(f"/ok/{n}" for n in range(40))
    assert not (client.xlen(key) if kind == "stream" else client.exists(key))
    peek = Peek(redis_url, project, "reading")
    assert peek.meta("state") == "finished"
    workers, prefix = taken_keys(key, peek.keys.name)
    assert not [*client.scan_iter(prefix + "*"), *client.scan_iter(workers)]
    client.delete(key)


async def test_stays_for_more(redis_url, project, site, key):
    crawler = make_crawler(Ruled, settings(redis_url, project, key))
    crawling = start(run(crawler))
    peek = Peek(redis_url, project, "ruled")
    await until(lambda: peek.meta("seeding") == "done", "it joined and has no start requests")
    client = fill(redis_url, key, "list", [f"{site.url}/ok/a"])
    await until(lambda: site.hits["/ok/a"], "it is crawled")
    fill(redis_url, key, "list", [f"{site.url}/ok/a", f"{site.url}/ok/b"])
    await until(lambda: site.hits["/ok/a"] == 2 and site.hits["/ok/b"], "more, and not filtered")
    async with AsyncCrawlClient(project, "ruled", redis_url=address_of(redis_url)) as control:
        await control.stop()
    assert await crawling == "stopped"
    assert client.exists(key) == 0


class Delaying(Reading):
    """Asks first for more pages than a batch has, none of which may be fetched soon."""

    async def start(self):
        for number in range(20):
            meta = {"crawlo_delay": 3000} if self.delayed else {"download_slot": "slow"}
            yield Request(f"{self.site}/ok/later{number}", meta=meta)


@pytest.mark.parametrize("delayed", [True, False])
async def test_reads_on_beside_what_cannot_be_started(redis_url, project, site, key, delayed):
    options = settings(
        redis_url,
        project,
        key,
        REDIS_START_URLS_BATCH_SIZE=4,
        CRAWLO_SLOTS={"slow": {"delay": 3000}},
    )
    crawler = make_crawler(Delaying, options)
    crawling = start(run(crawler, site=site.url, delayed=delayed))
    peek = Peek(redis_url, project, "reading")
    await until(lambda: peek.number("pushed") == 20, "all are queued")
    client = fill(redis_url, key, "list", [f"{site.url}/ok/{n}" for n in range(12)])
    await until(lambda: len(crawler.spider.crawled) >= 12, "the entries are crawled meanwhile")
    async with AsyncCrawlClient(project, "reading", redis_url=address_of(redis_url)) as control:
        await control.stop()
    assert await crawling == "stopped"
    assert client.exists(key) == 0


def test_entries_as_scrapy_redis_has_them(project):
    spider = Reading()
    spider.redis_encoding = "utf-8"

    def made(entry):
        data = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
        return spider.make_request_from_data(data)

    plain = made(b"http://h/1")
    assert (plain.url, plain.dont_filter, plain.method) == ("http://h/1", True, "GET")
    full = made({"url": "http://h/", "method": "post", "meta": {"job": 1}, "a": "1", "b": "x y"})
    assert (full.method, full.meta, full.body) == ("POST", {"job": 1}, b"a=1&b=x+y")
    assert full.headers["Content-Type"] == b"application/x-www-form-urlencoded"
    assert made({"url": "http://h/?z=1", "a": "1"}).url == "http://h/?a=1"
    more = made({"url": "http://h/", "priority": 5, "headers": {"X": "y"}, "dont_filter": False})
    assert (more.priority, more.headers["X"], more.dont_filter) == (5, b"y", False)
    with pytest.raises(ValueError, match="no url"):
        made({"meta": {}})


async def test_what_is_no_request_is_a_dead_letter(redis_url, project, site, key):
    entries = ["no url at all", '{"a": 1}', b"\xff", f"{site.url}/ok/good"]
    fill(redis_url, key, "list", entries)
    crawler = await crawl(Reading, settings(redis_url, project, key), site=site.url)
    assert crawler.spider.crawled == ["/ok/good"]
    letters = await Peek(redis_url, project, "reading").dead_letters()
    assert [letter.reason for letter in letters] == ["entry"] * 3
    assert {letter.payload for letter in letters} == {b"no url at all", b'{"a": 1}', b"\xff"}


async def test_fields_of_a_stream(redis_url, project, site, key):
    client = client_of(redis_url)
    client.xadd(key, {"url": f"{site.url}/ok/s", "meta": '{"a": 1}', "priority": "3"})
    crawler = await crawl(Reading, settings(redis_url, project, key), site=site.url)
    assert crawler.spider.crawled == ["/ok/s"]
    client.delete(key)


async def test_a_key_of_another_type_is_said(redis_url, project, key, caplog):
    client = client_of(redis_url)
    client.set(key, "x")
    await crawl(Reading, settings(redis_url, project, key), site="")
    assert f"{key} is a string, not a list, set, sorted set or stream" in caplog.text
    assert client.get(key) == b"x"
    client.delete(key)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"redis_key": " "}, "must not be empty"),
        ({"redis_batch_size": "x"}, "redis_batch_size is 'x'"),
        ({"redis_encoding": "klingon"}, "klingon"),
    ],
)
async def test_mistakes(redis_url, project, key, caplog, attributes, message):
    spider = type("Wrong", (Reading,), attributes)
    crawler = await crawl(spider, settings(redis_url, project, key), site="")
    assert crawler.stats.get_value("finish_reason") == "invalid_setting"
    assert message in caplog.text


async def test_entries_of_the_dead_are_taken_over(redis_url, project, site, key):
    fill(redis_url, key, "list", [f"{site.url}/ok/{n}" for n in range(5)])
    peek = Peek(redis_url, project, "reading")
    client = Client.connect(address_of(redis_url))
    kind, entries = await Source(client, peek.keys, key).take("gone", 5)
    assert (kind, len(entries)) == ("list", 5)
    await client.close()
    crawler = await crawl(Reading, settings(redis_url, project, key), site=site.url)
    assert sorted(crawler.spider.crawled) == [f"/ok/{n}" for n in range(5)]
    workers, prefix = taken_keys(key, peek.keys.name)
    assert not peek.redis.exists(workers, prefix + "gone")


@pytest.mark.parametrize("source", ["a:{tag}:b", "plain", "{x}"])
def test_notes_stay_on_the_hash_slot_of_the_source(source):
    from redis.crc import key_slot

    for name in taken_keys(source, "p:s"):
        assert key_slot(name.encode()) == key_slot(source.encode())


@pytest.mark.slow
def test_none_is_lost_when_workers_are_killed(redis_server, tmp_path, key):
    count = 400
    with ChaosSite(count, delay=0.1) as site, Fleet(
        tmp_path, redis_server.url, "-a", f"key={key}", spider=SPIDER,
        CRAWLO_HEARTBEAT_INTERVAL=0.3, CRAWLO_WORKER_TIMEOUT=3, CRAWLO_MAX_ATTEMPTS=50,
    ) as fleet:  # fmt: skip
        base = site.url.removesuffix("0")
        client = fill(redis_server.url, key, "list", [f"{base}{n}" for n in range(count)])
        fleet.start(2)
        for goal in (40, 120, 200):
            wait_until(lambda goal=goal: len(fleet.items()) >= goal, f"{goal} items", 90)
            fleet.alive[0].kill()
            fleet.start()
        wait_until(lambda: len(fleet.items()) == count, "every page", 120)
        fleet.wait(90)
        assert not client.exists(key)
