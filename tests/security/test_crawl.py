"""Crawls into which a stranger has put what he liked."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from scrapy import Request, Spider

from crawlo_scrapy.client import AsyncCrawlClient, InvalidRequest
from crawlo_scrapy.spiders import RedisSpider
from crawlo_scrapy.store.keys import Keys
from tests.backends import address_of, client_of
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run

WARNING = "CRAWLO_ALLOWED_SCHEMES"


class Local(Spider):
    """Reads files beside pages, as one does in plain Scrapy."""

    name = "local"
    seen: list[str]
    first = ""
    then: list[Any] = []

    async def start(self):
        self.seen = []
        yield Request(self.first)

    def parse(self, response):
        self.seen.append(response.text)
        yield from (Request(url, self.parse_more) for url in self.then)

    def parse_more(self, response):
        self.seen.append(response.text)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"file {number}")
    return [(tmp_path / f"{number}.txt").as_uri() for number in range(3)]


def said(caplog: Any, what: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if what in record.getMessage()]


async def test_files_of_the_spider_s_own(redis_url, project, site, files, caplog):
    caplog.set_level(logging.WARNING)
    settings = crawl_settings(redis_url, project)
    crawler = await crawl(Local, settings, first=f"{site.url}/ok/1", then=files)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert sorted(crawler.spider.seen)[-3:] == ["file 0", "file 1", "file 2"]
    assert len(said(caplog, WARNING)) == 1
    assert await Peek(redis_url, project, "local").dead_letters() == []


async def test_start_requests_that_are_files(redis_url, project, site, files, caplog):
    settings = crawl_settings(redis_url, project)
    crawler = await crawl(Local, settings, first=files[0], then=[f"{site.url}/ok/1", files[1]])
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert {"file 0", "file 1"} < set(crawler.spider.seen)
    assert len(crawler.spider.seen) == 3
    assert len(said(caplog, WARNING)) == 1


async def test_files_that_may_travel(redis_url, project, files, caplog):
    settings = crawl_settings(redis_url, project, CRAWLO_ALLOWED_SCHEMES=["http", "file"])
    crawler = await crawl(Local, settings, first=files[0], then=files[1:])
    assert sorted(crawler.spider.seen) == ["file 0", "file 1", "file 2"]
    assert not said(caplog, WARNING)
    assert crawler.stats.get_value("scheduler/enqueued/redis") == 3


async def test_a_request_that_is_too_large_stays(redis_url, project, site, caplog):
    settings = crawl_settings(redis_url, project, CRAWLO_MAX_REQUEST_SIZE=2000, URLLENGTH_LIMIT=0)
    large = f"{site.url}/ok/{'x' * 3000}"
    crawler = await crawl(Local, settings, first=f"{site.url}/ok/1", then=[large])
    assert len(crawler.spider.seen) == 2
    assert site.hits[f"/ok/{'x' * 3000}"] == 1
    [line] = said(caplog, "CRAWLO_MAX_REQUEST_SIZE")
    assert "x" * 100 in line, "it names the URL"


def element(**fields: Any) -> bytes:
    return b"\0" + ormsgpack.packb(fields)


async def test_what_strangers_queue(redis_url, project, site, files, caplog):
    """Everything that cannot be crawled becomes a dead letter; the crawl ends as it would."""
    caplog.set_level(logging.ERROR)
    good = f"{site.url}/ok/good"
    hostile = {
        element(u=files[0]): "scheme",
        element(u="ftp://127.0.0.1:1/x"): "scheme",
        element(u=good, c="closed"): "callback",
        element(u=good, c="__init__"): "callback",
        element(u=good, t="subprocess.Popen"): "decode",
        element(u="http://a\u2100b/", a={"verbatim_url": True}): "decode",
        element(u="http://[::1/", a={"verbatim_url": True}): "decode",
        element(u=good, a={"x": b"y" * 2_000_000}): "size",
        element(u=good, a={"download_timeout": "x"}): "decode",
        element(u=good, a={"download_timeout": -1}): "decode",
        b"": "decode",
        b"\0": "decode",
        b"\xff": "decode",
        b"\0P" + bytes(40): "decode",
        b"\0\x81\xa1u" + b"\x91" * 1000: "decode",
        element(u=5): "decode",
    }
    keys, client = Keys(project, "local"), client_of(redis_url)
    await push(redis_url, project, [f"{site.url}/ok/first"])
    for slot, payload in zip("abcdefghijklmnop", hostile, strict=False):
        client.rpush(keys.queue(slot, "0"), payload)
        client.zadd(keys.queue(slot), {"0": 0})
        client.zadd(keys.slots, {slot: 1})
    client.zadd(keys.delayed, {b"no newline": 1, b"x\ny": 1})
    client.hincrby(keys.meta, "queued", len(hostile) + 2)
    crawler = await crawl(Local, crawl_settings(redis_url, project), first=good)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert site.hits["/ok/first"] == site.hits["/ok/good"] == 1
    letters = await Peek(redis_url, project, "local").dead_letters()
    found = sorted(letter.reason for letter in letters)
    assert found == sorted([*hostile.values(), "decode", "decode"])
    for reason in set(found):
        counted = crawler.stats.get_value(f"crawlo/dead_letters/{reason}")
        assert counted == found.count(reason)
    assert len(said(caplog, "made a dead letter")) == len(found), "each is logged once"
    assert not said(caplog, "trying again")
    assert len(max((record.getMessage() for record in caplog.records), key=len)) < 2000


async def push(redis_url: str, project: str, urls: list[str], **options: Any) -> None:
    async with AsyncCrawlClient(
        project, "local", redis_url=address_of(redis_url), **options
    ) as client:
        await client.push(urls)


async def test_requests_whose_meta_is_hostile(redis_url, project, site):
    """Each may fail; none stops the worker or the others."""
    url = f"{site.url}/ok/"
    metas = [
        {"download_slot": ["a"]},
        {"download_slot": {"a": 1}},
        {"cookiejar": [1]},
        {"depth": "x"},
        {"download_maxsize": "x"},
        {"proxy": 5},
        {"proxy": "http://[::1"},
        {"proxy": "junk"},
        {"redirect_times": "x"},
        {"retry_times": "x"},
        {"handle_httpstatus_list": 5},
        {"handle_httpstatus_all": "x"},
        {"bindaddress": 5},
        {"download_latency": "x"},
        {"rule": 99},
        {"is_start_request": [1]},
        {"crawlo_delay": "x"},
        {"allow_offsite": {}},
        {"http_user": 5},
        {"max_retry_times": "x"},
        {"dont_merge_cookies": []},
        {"download_delay": "x"},
    ]
    keys, client = Keys(project, "local"), client_of(redis_url)
    await push(redis_url, project, [f"{url}first"])
    payloads = [element(u=f"{url}{n}", a=meta, d=True) for n, meta in enumerate(metas)]
    payloads += [element(u=f"{url}good{n}", d=True) for n in range(5)]
    payloads += [element(u=f"{url}p", p=2**63, d=True), element(u=f"{url}q", p=-(2**63), d=True)]
    client.rpush(keys.queue("127.0.0.1", "0"), *payloads)
    client.zadd(keys.queue("127.0.0.1"), {"0": 0})
    client.hincrby(keys.meta, "queued", len(payloads))
    crawler = await crawl(Local, crawl_settings(redis_url, project), first=f"{url}last")
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert all(site.hits[f"/ok/good{n}"] == 1 for n in range(5))
    assert site.hits["/ok/first"] == site.hits["/ok/last"] == 1


class Reading(RedisSpider):
    name = "local"
    max_idle_time = 1

    def parse(self, response):
        self.crawler.stats.inc_value("parsed")


async def test_entries_of_strangers(redis_url, project, site, files, caplog):
    key = f"{project}:start"
    entries = [
        files[0],
        json.dumps({"url": files[1]}),
        "FILE:///etc/passwd",
        "ftp://h/",
        "data:,x",
        "x" * 5000,
        "[" * 50_000,
        "\x00",
        "http://[::1",
        '{"url": {"a": 1}}',
        '{"url": "http://h/", "meta": 5}',
        f"{site.url}/ok/1",
    ]
    client_of(redis_url).rpush(key, *entries, b"\xff\xfe")
    settings = crawl_settings(
        redis_url, project, REDIS_START_URLS_KEY=key, CRAWLO_MAX_REQUEST_SIZE=4000
    )
    crawler = await crawl(Reading, settings)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert site.hits == {"/ok/1": 1}
    assert crawler.stats.get_value("parsed") == 1
    letters = await Peek(redis_url, project, "local").dead_letters()
    reasons = sorted(letter.reason for letter in letters)
    assert reasons == ["entry"] * 5 + ["scheme"] * 5 + ["size"] * 2


async def test_a_redirect_to_a_file_is_not_followed(redis_url, project, files):
    """That is Scrapy's doing; should it change, the request would stay with this worker."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 4\r\n"
            b"Connection: close\r\n\r\npage" % files[0].encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    settings = crawl_settings(redis_url, project, HTTPERROR_ALLOW_ALL=True)
    crawler = make_crawler(Local, settings)
    await run(crawler, first=url)
    server.close()
    assert crawler.spider.seen == ["page"]


async def test_pushed_requests_are_as_bounded(redis_url, project):
    with pytest.raises(InvalidRequest, match="workers take 1,048,576 at most"):
        await push(redis_url, project, [{"url": "http://h/", "body": b"x" * 2**20}])
    await push(redis_url, project, [{"url": "http://h/", "body": b"x" * 2**20}], most_bytes=2**21)
    with pytest.raises(InvalidRequest, match="begins with none of"):
        await push(redis_url, project, ["file:///etc/passwd"])
