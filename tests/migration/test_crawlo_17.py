"""Queues and filters that Crawlo 1.7.3 has written; see crawlo_173.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import ormsgpack
import pytest
from scrapy import Request

from crawlo_scrapy.fingerprints import CrawloFingerprinter
from crawlo_scrapy.migration.move import Move
from crawlo_scrapy.migration.redis_sources import CrawloStreamSource, crawlo_source
from crawlo_scrapy.migration.requests import Entry, crawlo_request
from crawlo_scrapy.payload import InvalidRequest, fingerprint, push_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused, StoreUnavailable
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.values import Codec
from tests.backends import address_of, client_of
from tests.crawling import Peek
from tests.migration.test_scrapy_redis_queue import moved

WRITTEN = json.loads(Path(__file__).with_name("crawlo_173.json").read_text("utf-8"))
SAME = ["--config", str(Path(__file__).with_name("same_crawlo_fingerprints.py"))]
KINDS = sorted(WRITTEN)


class Old:
    """What Crawlo left in Redis of a spider, under another project's name."""

    def __init__(self, url, project, kind):
        self.server = client_of(url)
        self.project = project
        self.requests = WRITTEN[kind]["requests"]
        for key, stored in WRITTEN[kind]["keys"].items():
            self.restore(key.replace("crawlo:old:", f"crawlo:{project}:"), **stored)
        [*_, name] = sorted(
            key.decode() for key in self.server.keys(f"crawlo:{project}:shop:*")
            if key.endswith((b":stream:tasks", b":queue:requests"))
        )  # fmt: skip
        self.key = name

    def restore(self, key, type, entries):
        if type == "stream":
            for fields in entries:
                self.server.xadd(
                    key, {name: base64.b64decode(value) for name, value in fields.items()}
                )
        elif type == "zset":
            self.server.zadd(key, dict(entries))
        elif type == "hash":
            self.server.hset(
                key, mapping={name: base64.b64decode(value) for name, value in entries.items()}
            )
        else:
            self.server.sadd(key, *entries)

    @property
    def left(self):
        return [
            key.decode()
            for key in self.server.scan_iter(f"*crawlo:{self.project}:*")
            if not key.startswith(b"crawlo:{")
        ]


@pytest.fixture
def old(redis_url, project):
    made = []

    def make(kind):
        made.append(Old(redis_url, project, kind))
        return made[-1]

    yield make
    for one in made:
        for key in one.left:
            one.server.delete(key)


def words(some_crawl, old, *more):
    return ["migrate", "crawlo", "shop", "--queue-key", old.key, *some_crawl.words, "--json", *more]


def entries(kind):
    """What a move would read: data and score, in no order."""
    keys = WRITTEN[kind]["keys"]
    for key, stored in keys.items():
        if stored["type"] == "stream":
            for fields in stored["entries"]:
                yield Entry(
                    base64.b64decode(fields["data"]), float(base64.b64decode(fields["priority"]))
                )
        elif stored["type"] == "zset":
            for name, score in stored["entries"]:
                yield Entry(base64.b64decode(keys[f"{key}:data"]["entries"][name]), score)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_what_they_were(kind):
    read = [crawlo_request(entry, "ShopSpider") for entry in entries(kind)]
    found = {(one.url, one.dont_filter): one for one in read}
    for expected in WRITTEN[kind]["requests"]:
        request = found.pop((expected["url"], expected["dont_filter"]), None)
        if request is None:
            # Crawlo's sorted set has one place for a URL.
            assert "zset" in kind
            assert expected["url"] == "http://a.test/1"
            continue
        assert request.method == expected["method"]
        assert request.body == expected["body"].encode(request.encoding)
        assert request.priority == expected["priority"]
    assert not found
    [full] = [one for one in read if one.url == "http://a.test/8"]
    assert full.meta == {
        "proxy": "http://p.test:8", "download_timeout": 9, "dont_redirect": True,
    }  # fmt: skip
    assert full.headers == {b"Authorization": [b"Basic dTpw"]}
    bodies = {one.url: one.headers for one in read}
    assert bodies["http://a.test/3"][b"Content-Type"] == [b"application/json"]
    assert {one.callback for one in read} == {"parse", "parse_product", None}
    # Crawlo's compact streams leave headers and cookies behind.
    [headed] = [one for one in read if one.url == "http://a.test/9"]
    assert (headed.headers, headed.cookies) == (
        ({}, None) if kind == "stream-json" else ({b"X-Key": [b"1"]}, {"c": "d"})
    )


def test_a_request_with_all_that_there_is():
    [full] = [
        one for one in (crawlo_request(entry, None) for entry in entries("zset-pickle"))
        if one.url == "http://a.test/6"
    ]  # fmt: skip
    assert full.meta == {"depth": 3, "n": [1]}
    assert (full.cb_kwargs, full.flags, full.encoding) == ({"k": "v"}, ["f"], "latin-1")


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://a.test/", "method": "GET", "form_data": {"a": "b"}},
        {"url": "http://a.test/", "params": {"a": "b"}},
        {"url": "http://a.test/?a=c", "params": {"a": "b"}, "meta": {"__stream": "x"}},
    ],
)
def test_what_a_get_is_given_is_in_its_url(fields):
    for data in (json.dumps(fields).encode(), ormsgpack.packb(fields)):
        request = crawlo_request(Entry(data, 0), None)
        assert (request.url, request.body, request.meta) == ("http://a.test/?a=b", b"", {})


@pytest.mark.parametrize(
    "data", [b"{}", b"[1]", b'{"url": 1}', b"\x81\xa1a", ormsgpack.packb({"a": 1}), b"\xde\xff"]
)
def test_what_is_no_request_is_refused(data):
    with pytest.raises(InvalidRequest):
        crawlo_request(Entry(data, 0), None)


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprints_are_the_same(kind):
    for expected in WRITTEN[kind]["requests"]:
        headers = {}
        if expected["url"].endswith("/3"):
            headers = {"Content-Type": "application/json"}
        if expected["url"].endswith("/4"):
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if expected["url"].endswith("/9"):
            headers = {"X-Key": "1"}
        request = Request(
            expected["url"], method=expected["method"], body=expected["body"], headers=headers
        )
        found = CrawloFingerprinter().fingerprint(request)
        assert found.hex() == expected["fingerprint"], expected["url"]
    slot = Request("http://a.test/", meta={"download_slot": "x", "depth": 2})
    assert CrawloFingerprinter().fingerprint(slot) != CrawloFingerprinter().fingerprint(
        slot.replace(meta={})
    )


@pytest.mark.parametrize("kind", KINDS)
def test_moved_with_its_filter(crawlo, some_crawl, old, kind):
    left = old(kind)
    count = sum(1 for _ in entries(kind))
    tried = moved(crawlo(*words(some_crawl, left, "--dry-run", *SAME)))
    done = moved(crawlo(*words(some_crawl, left, *SAME)))
    # The one that was not to be filtered is queued beside its twin.
    assert (done["entries"], done["queued"], done["duplicates"]) == (count, count, 0)
    assert {**done, "dry_run": True} == tried
    assert done["fingerprints"] == 10
    assert left.left == []
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    assert "http://a.test/7" in peek.queued()
    again = moved(crawlo(*words(some_crawl, left, *SAME)))
    assert again["entries"] == 0


def test_a_high_priority_goes_first(crawlo, some_crawl, old):
    left = old("stream-json")
    urgent = json.dumps({"url": "http://a.test/urgent"})
    left.server.xadd(f"{left.key}:high", {"data": urgent, "priority": "-200"})
    moved(crawlo(*words(some_crawl, left, *SAME)))
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    priorities = peek.redis.zrange(peek.keys.queue("a.test"), 0, -1)
    assert sorted(map(int, priorities)) == [-100, 0, 200]


def test_other_fingerprints_are_refused(crawlo, some_crawl, old):
    left = old("stream-json")
    before = set(left.left)
    done = crawlo(*words(some_crawl, left))
    assert done.returncode == 1
    assert "crawlo_scrapy.fingerprints.CrawloFingerprinter' to keep those of Crawlo" in done.stderr
    assert set(left.left) == before
    done = moved(crawlo(*words(some_crawl, left, "--refingerprint")))
    assert (done["queued"], done["fingerprints"]) == (10, 0)
    assert left.left == [f"crawlo:{left.project}:shop:dedup:request"]


@pytest.mark.parametrize("kind", KINDS)
async def test_interrupted_it_goes_on(redis_url, project, old, kind, monkeypatch):
    monkeypatch.setattr("crawlo_scrapy.migration.move.BATCH", 3)
    monkeypatch.setattr("crawlo_scrapy.migration.redis_sources.SCAN_STEP", 2)
    left = old(kind)
    keys = Keys(project, "shop")
    codec = Codec()

    def reader(entry):
        request = crawlo_request(entry, None)
        return push_of(request, codec, fingerprint(request))

    async def run(client, *, fails_after=None):
        source = await crawlo_source(client, project, "shop", keys.name, key=None, with_seen=True)
        if fails_after is not None:
            read = source.read

            async def fail(start, count):
                if start >= fails_after:
                    raise StoreUnavailable("away")
                return await read(start, count)

            source.read = fail
        return await Move(source, client, keys, reader).run()

    client = Client.connect(address_of(redis_url))
    try:
        with pytest.raises(StoreUnavailable):
            await run(client, fails_after=5)
        with pytest.raises(StoreRefused, match="is being moved into the crawl"):
            await crawlo_source(client, project, "shop", "other", key=None, with_seen=True)
        done = await run(client)
    finally:
        await client.close()
    count = sum(1 for _ in entries(kind))
    assert (done.entries, done.queued, done.earlier) == (count, count, 6)
    assert done.fingerprints == 10
    peek = Peek(redis_url, project, "shop")
    assert len(peek.queued()) == count
    assert left.left == []


async def test_which_queue_is_meant(redis_url, project, old):
    left = old("stream-json")
    client = Client.connect(address_of(redis_url))

    async def found(**more):
        options = {"key": None, "with_seen": True, **more}
        return await crawlo_source(client, project, "shop", "c", **options)

    try:
        source = await found()
        assert isinstance(source, CrawloStreamSource)
        assert source.name == left.key
        left.server.zadd(f"crawlo:{project}:queue:requests", {"a": 1})
        with pytest.raises(StoreRefused, match=r"There are several queues: .* --queue-key"):
            await found()
        older = await found(key=f"crawlo:{project}:queue:requests")
        assert (await older.total(), await older.seen_total()) == (1, 0)
        left.server.delete(left.key)
        assert (await found()).name == older.name
        left.server.delete(older.name)
        # Only its filter is left: that is the spider's, too.
        assert await (await found()).seen_total() == 10
        left.server.set(left.key, "x")
        with pytest.raises(StoreRefused, match=r"is a string, not a"):
            await found()
    finally:
        await client.close()
