"""Cookies that all workers have."""

from __future__ import annotations

import json
from collections import defaultdict
from http.cookiejar import Cookie
from pathlib import Path

import pytest
from scrapy import Request, Spider
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http import Response
from scrapy.settings import Settings

from crawlo_scrapy import cookies
from crawlo_scrapy.cookies import SharedCookiesMiddleware
from crawlo_scrapy.store import cookies as stored
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.cookies import Change, Cookies
from crawlo_scrapy.store.errors import StoreUnavailable
from crawlo_scrapy.store.keys import Keys
from tests.aio import run_async
from tests.backends import address_of, client_of
from tests.chaos.fleet import Fleet
from tests.config.support import final
from tests.crawling import crawl, crawl_settings
from tests.sessions.membersite import SECRET, MemberSite
from tests.waiting import wait_until

SPIDER = Path(__file__).with_name("member_spider.py")
OURS = "crawlo_scrapy.cookies.SharedCookiesMiddleware"
SCRAPYS = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"


@pytest.fixture
def client(redis_url):
    client = Client.connect(address_of(redis_url))
    yield client
    run_async(client.close())


@pytest.fixture
def keys(project, redis_url):
    keys = Keys(project, "s")
    yield keys
    redis = client_of(redis_url)
    redis.delete(keys.cookies, *redis.scan_iter(keys.cookies_prefix + "*"))


def change(jar, cookie, value):
    return Change(*(str(part).encode() for part in (jar, cookie, value)))


class Worker:
    """The middleware of one worker, without a crawl around it."""

    def __init__(self, client, keys):
        self.middleware = SharedCookiesMiddleware()
        self.middleware.crawler = type("Crawler", (), {"stats": None, "spider": None})()
        self.middleware._cookies = Cookies(client, keys)

    async def sync(self):
        while await self.middleware._share():
            pass

    def respond(self, url, *headers, **meta):
        request = Request(url, meta=meta)
        response = Response(url, headers={"Set-Cookie": list(headers)})
        self.middleware.process_response(request, response)

    def sends(self, url, **meta):
        request = Request(url, meta=meta)
        self.middleware.process_request(request)
        return (request.headers.get("Cookie") or b"").decode()


async def test_one_writes_and_others_read(client, keys):
    one, other = Cookies(client, keys), Cookies(client, keys)
    assert (await one.share([change("a", "x", 1), change("b", "x", 2)])).changes
    assert set((await other.share([])).changes) == {change("a", "x", 1), change("b", "x", 2)}
    assert (await other.share([])).changes == []
    await one.share([change("a", "y", 3)])
    found = (await other.share([change("a", "x", 4)])).changes
    assert set(found) == {change("a", "y", 3), change("a", "x", 4)}
    assert change("a", "x", 4) in (await one.share([])).changes
    assert "x" not in repr(change("a", "x", 1))


async def test_bounds(client, keys, monkeypatch):
    monkeypatch.setattr(stored, "MOST_JARS", 3)
    monkeypatch.setattr(stored, "MOST_JAR_BYTES", 200)
    monkeypatch.setattr(stored, "ANSWER_BYTES", 50)
    one = Cookies(client, keys)
    for n in range(5):
        last = await one.share([change(n, "x", "v")])
    assert last.dropped_jars == 1
    assert await client.call("zcard", keys.cookies) == 3
    for n in range(5):
        last = await one.share([change(4, n, "v" * 60)])
    assert last.dropped_cookies == 1
    reader, seen, more = Cookies(client, keys), [], True
    while more:
        answer = await reader.share([])
        seen += answer.changes
        more = answer.more
    assert {(c.jar, c.cookie) for c in seen} == {
        (b"2", b"x"), (b"3", b"x"), (b"4", b"3"), (b"4", b"4"),
    }  # fmt: skip


async def test_answer_is_not_cut_between_jars_that_were_changed_together(client, keys, monkeypatch):
    monkeypatch.setattr(stored, "ANSWER_BYTES", 100)
    await Cookies(client, keys).share([change(jar, "c", "x" * 60) for jar in range(9)])
    late, found, more = Cookies(client, keys), set(), True
    while more:
        shared = await late.share([])
        found |= {one.jar for one in shared.changes}
        more = shared.more
    assert len(found) == 9


async def test_workers_have_the_same_jars(client, keys):
    one, other = Worker(client, keys), Worker(client, keys)
    url = "http://shop.test/a/b"
    one.respond(url, "sid=1; Path=/", "lang=de; Path=/a; Secure", cookiejar=1)
    one.respond(url, "sid=plain", cookiejar=None)
    one.respond(url, "sid=text", cookiejar="1")
    await one.sync()
    await other.sync()
    assert other.sends(url, cookiejar=1) == "sid=1"
    assert other.sends("https://shop.test/a/", cookiejar=1) == "lang=de; sid=1"
    assert other.sends(url) == "sid=plain"
    assert other.sends(url, cookiejar="1") == "sid=text"
    assert other.sends("http://else.test/", cookiejar=1) == ""
    other.respond(url, "sid=2; Path=/", cookiejar=1)
    await other.sync()
    await one.sync()
    assert one.sends(url, cookiejar=1) == "sid=2"
    one.respond(url, "sid=; Path=/; Max-Age=0", cookiejar=1)
    await one.sync()
    await other.sync()
    assert other.sends(url, cookiejar=1) == ""


async def test_the_later_of_two_holds(client, keys):
    one, other = Worker(client, keys), Worker(client, keys)
    one.respond("http://a.test/", "sid=first")
    other.respond("http://a.test/", "sid=second")
    await one.sync()
    await other.sync()
    await one.sync()
    assert one.sends("http://a.test/") == other.sends("http://a.test/") == "sid=second"


async def test_cookies_of_requests(client, keys):
    one, other = Worker(client, keys), Worker(client, keys)
    one.middleware.process_request(Request("http://a.test/", cookies={"given": "1"}))
    await one.sync()
    await other.sync()
    assert other.sends("http://a.test/") == "given=1"
    one.respond("http://a.test/", "no=1", dont_merge_cookies=True)
    assert one.middleware._touched == set()


async def test_an_outage_loses_no_change(client, keys, monkeypatch):
    one, other = Worker(client, keys), Worker(client, keys)
    one.respond("http://a.test/", *(f"c{n}=1" for n in range(40)))
    monkeypatch.setattr(cookies, "MOST_CHANGES", 7)

    async def away(changes):
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(one.middleware._cookies, "share", away)
        with pytest.raises(StoreUnavailable):
            await one.sync()
    await one.sync()
    await other.sync()
    assert other.sends("http://a.test/").count("=1") == 40


async def test_strange_jars_and_cookies(client, keys, caplog):
    one, other = Worker(client, keys), Worker(client, keys)
    one.respond("http://a.test/", "sid=1", cookiejar=object)
    one.respond("http://a.test/", "sid=1", cookiejar="x" * 300)
    await one.sync()
    assert caplog.text.count("are not shared") == 2
    cookie = cookies._name("a.test", "/", "sid")
    foreign = cookies._name("b.test", "/", "sid")
    jar = one.middleware._codec.encode(5)
    good = one.middleware.jars[9]
    good.set_cookie(
        Cookie(0, "sid", SECRET, None, False, "a.test", False, False, "/", True, False, None, True,
               None, None, {})
    )  # fmt: skip
    value = cookies._contents(good)[cookie]
    await Cookies(client, keys).share(
        [Change(jar, cookie, b"nonsense"), Change(jar, foreign, value),
         Change(b"\xc1", cookie, value), Change(jar, b"1", value), Change(jar, b"[1]", value)]
    )  # fmt: skip
    await other.sync()
    assert other.sends("http://a.test/", cookiejar=5) == ""
    assert caplog.text.count("cannot be read") == 1, "once, whatever comes"
    assert SECRET not in caplog.text


def test_the_add_on_puts_it_in_the_place_of_scrapys():
    assert OURS not in final({}).getdict("DOWNLOADER_MIDDLEWARES")
    found = final({"CRAWLO_SHARED_COOKIES": True}).getdict("DOWNLOADER_MIDDLEWARES")
    assert (found[OURS], found[SCRAPYS]) == (700, None)
    assert issubclass(SharedCookiesMiddleware, CookiesMiddleware)


async def test_without_cookies(redis_url, project, site):
    class Plain(Spider):
        name = "plain"
        start_urls = [f"{site.url}/ok/1"]

        def parse(self, response):
            """Nothing."""

    settings = crawl_settings(
        redis_url, project, COOKIES_ENABLED=False, DOWNLOADER_MIDDLEWARES={OURS: 700, SCRAPYS: None}
    )
    crawler = await crawl(Plain, settings)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert isinstance(crawler.settings, Settings)


@pytest.mark.slow
def test_one_worker_logs_in_and_the_other_is(redis_server, tmp_path):
    with MemberSite(delay=0.1) as site, Fleet(
        tmp_path, redis_server.url, "-a", f"url={site.url}", spider=SPIDER,
    ) as fleet:  # fmt: skip
        fleet.start(2)
        wait_until(lambda: len(fleet.items()) == 61, "every page from within", 90)
        assert set(fleet.wait(60)) == {0}
        by_worker = defaultdict(list)
        for line in fleet.items_file.read_text().splitlines():
            item = json.loads(line)
            by_worker[item["pid"]].append(item["inside"])
            assert item["inside"] == ("/page/" in item["url"])
        assert len(by_worker) == 2
        assert all(any(inside) for inside in by_worker.values())
        assert site.hits["/login"] == 1
        logs = "".join(log.read_text() for log in fleet.logs)
        assert SECRET not in logs
        assert not fleet.errors()
