"""Queues that scrapy-redis has written, moved into a crawl."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis
from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest

from crawlo_scrapy.fingerprints import ScrapyRedisFingerprinter
from crawlo_scrapy.migration.move import CountsDiffer, Move
from crawlo_scrapy.migration.redis_sources import ScrapyRedisSource
from crawlo_scrapy.migration.requests import scrapy_request
from crawlo_scrapy.payload import fingerprint, push_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError, StoreUnavailable
from crawlo_scrapy.values import Codec
from tests.backends import address_of, client_of
from tests.cli.conftest import EXAMPLE
from tests.crawling import Peek
from tests.waiting import wait_until

queues = pytest.importorskip("scrapy_redis.queue")
dupefilter = pytest.importorskip("scrapy_redis.dupefilter")

#: Settings with the fingerprints of scrapy-redis.
SAME = ["--config", str(Path(__file__).with_name("same_fingerprints.py"))]


class Old:
    """What scrapy-redis left behind, written by its own classes."""

    def __init__(self, url, name, kind="PriorityQueue"):
        self.server = client_of(url)
        self.queue_key, self.seen_key = f"{name}:requests", f"{name}:dupefilter"
        self.spider = Spider("shop")
        self.spider.parse_product = self.spider._parse
        self.queue = getattr(queues, kind)(self.server, self.spider, self.queue_key)
        self.seen = dupefilter.RFPDupeFilter(self.server, self.seen_key)

    @property
    def words(self):
        return ["--queue-key", self.queue_key, "--dupefilter-key", self.seen_key]

    def push(self, *requests):
        for request in requests:
            if request.dont_filter or not self.seen.request_seen(request):
                self.queue.push(request)

    def push_raw(self, data):
        if isinstance(self.queue, queues.PriorityQueue):
            self.server.zadd(self.queue_key, {data: 0})
        else:
            self.server.lpush(self.queue_key, data)

    def crawled(self, *urls):
        for url in urls:
            self.seen.request_seen(Request(url))

    def left(self):
        keys = [*self.server.scan_iter(f"*{self.queue_key}*")]
        return [*keys, *self.server.scan_iter(f"*{self.seen_key}*")]

    def remove(self):
        for key in self.left():
            self.server.delete(key)


@pytest.fixture(params=["PriorityQueue", "FifoQueue", "LifoQueue"])
def old(request, redis_url, project):
    old = Old(redis_url, project, request.param)
    yield old
    old.remove()


@pytest.fixture
def fifo(redis_url, project):
    old = Old(redis_url, project, "FifoQueue")
    yield old
    old.remove()


class Fragile(Client):
    """Loses its connection for good at the call of that number, before or after it was done."""

    left = 10**9
    after = False

    async def call(self, *args, **kwargs):
        return await self._act(super().call, args, kwargs)

    async def send(self, *args, **kwargs):
        return await self._act(super().send, args, kwargs)

    async def _act(self, function, args, kwargs):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise StoreUnavailable("cut")
        result = await function(*args, **kwargs)
        if self.left == 0:
            raise StoreUnavailable("cut")
        if self.left < 0:
            raise StoreUnavailable("cut before")
        return result


def read(entry):
    request = scrapy_request(entry)
    return push_of(request, Codec(), fingerprint(request))


def words(some_crawl, old, *more):
    return ["migrate", "scrapy-redis", "shop", *old.words, *some_crawl.words, *more]


def moved(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fill(old, count):
    old.crawled(*(f"http://a.test/old/{n}" for n in range(30)))
    old.push(*(Request(f"http://a.test/{n}", priority=n % 3) for n in range(count)))


def test_all_is_moved(crawlo, some_crawl, old):
    fill(old, 1200)
    old.push(
        Request("http://b.test/", dont_filter=True, headers={"X": ["a", "b"]}, meta={"a": (1,)}),
        FormRequest("http://b.test/form", formdata={"x": "1"}, cb_kwargs={"k": b"\xff"}),
        JsonRequest("http://b.test/json", data={"j": [1]}),
    )
    for bad in (b"nonsense", pickle.dumps(["no request"]), pickle.dumps({"url": "nowhere"})):
        old.push_raw(bad)
    tried = moved(crawlo(*words(some_crawl, old, "--dry-run", "--json", *SAME)))
    assert (tried["entries"], tried["queued"], tried["dead"]) == (1206, 1203, 3)
    assert not Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2]).all_keys()
    done = moved(crawlo(*words(some_crawl, old, "--json", *SAME)))
    assert {**done, "dry_run": True} == tried
    assert done["fingerprints"] == 1232
    assert old.left() == []
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    assert len(peek.queued()) == peek.number("queued") == 1203
    assert peek.number("seen") == 1233
    assert peek.redis.hlen(peek.keys.dead) == 3
    assert not peek.redis.exists(peek.keys.migration("x"))
    again = moved(crawlo(*words(some_crawl, old, "--json", *SAME)))
    assert (again["entries"], again["fingerprints"]) == (0, 0)
    pushed = crawlo("push", "shop", "http://a.test/old/7", *some_crawl.words, *SAME)
    assert "1 seen before" in pushed.stdout


def test_order_and_fields(crawlo, some_crawl, fifo):
    fifo.push(*(Request(f"http://a.test/{n}", dont_filter=True) for n in range(5)))
    request = Request("http://c.test/", method="PUT", body=b"\0", priority=-2, errback=None,
                      cookies={"a": "b"}, flags=["f"], encoding="latin1")  # fmt: skip
    fifo.push(request)
    assert moved(crawlo(*words(some_crawl, fifo, "--json", *SAME)))["queued"] == 6
    client, keys = client_of(some_crawl.url), some_crawl.keys
    found = [Codec().decode(e[1:])["u"] for e in client.lrange(keys.queue("a.test", "0"), 0, -1)]
    assert found == [f"http://a.test/{n}" for n in range(5)]
    [element] = client.lrange(keys.queue("c.test", "-2"), 0, -1)
    assert Codec().decode(element[1:]) == {
        "u": "http://c.test/", "m": "PUT", "b": b"\0", "p": -2, "k": {"a": "b"}, "f": ["f"],
        "n": "latin1",
    }  # fmt: skip


def test_other_fingerprints_are_refused(crawlo, some_crawl, old):
    fill(old, 3)
    done = crawlo(*words(some_crawl, old))
    assert done.returncode == 1
    assert "--refingerprint" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(old.queue) == 3
    done = moved(crawlo(*words(some_crawl, old, "--refingerprint", "--json")))
    assert (done["queued"], done["fingerprints"]) == (3, 0)
    assert old.left() == [old.seen_key.encode()]
    old.queue.push(Request("http://a.test/1"))  # an old worker, late
    done = moved(crawlo(*words(some_crawl, old, "--refingerprint", "--json")))
    assert (done["queued"], done["duplicates"]) == (0, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch hacked'\ntR.",
        pickle.dumps({"url": "http://h/", "_class": "os.system"}),
        pickle.dumps({"url": "http://h/", "callback": "from_crawler_x"}),
        pickle.dumps({"url": "http://h/", "meta": {"x": complex}}),
        pickle.dumps({"url": 1}),
        pickle.dumps({"url": "http://h/", "meta": {"l": [[]] * 10, "crawlo_delay": "x"}}),
        b'{"url": ',
    ],
    ids=range(7),
)
def test_hostile_entries_are_dead_letters(crawlo, some_crawl, fifo, data):
    fifo.push_raw(data)
    fifo.push(Request("http://a.test/"))
    done = moved(crawlo(*words(some_crawl, fifo, "--json", *SAME)))
    assert (done["entries"], done["queued"], done["dead"]) == (2, 1, 1)
    assert not (EXAMPLE / "hacked").exists()
    listed = json.loads(crawlo("dead-letters", "list", "shop", "--json", *some_crawl.words).stdout)
    assert [letter["reason"] for letter in listed] == ["decode"]


def test_keys_of_another_type(crawlo, some_crawl, fifo):
    fifo.server.set(fifo.queue_key, "x")
    done = crawlo(*words(some_crawl, fifo, *SAME))
    assert done.returncode == 1
    assert "is a string, not a list or zset" in done.stderr


def test_where_there_is_nothing(crawlo, some_crawl, fifo):
    done = crawlo(*words(some_crawl, fifo, *SAME), "--queue-key", "mistyped", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "there is nothing in mistyped, " in done.stderr


def test_what_a_forgotten_move_left(crawlo, some_crawl, fifo):
    fill(fifo, 3)
    aside = f"crawlo:migrating:{fifo.queue_key}"
    fifo.server.rpush(aside, "x")
    done = crawlo(*words(some_crawl, fifo, *SAME))
    assert done.returncode == 1
    assert f"{aside} is there" in done.stderr
    assert fifo.server.exists(fifo.queue_key)
    fifo.server.delete(aside)
    assert moved(crawlo(*words(some_crawl, fifo, "--json", *SAME)))["queued"] == 3


def test_json_of_a_serializer(crawlo, some_crawl, fifo):
    fifo.push_raw(json.dumps({"url": "http://a.test/", "meta": {"a": 1}}).encode())
    assert moved(crawlo(*words(some_crawl, fifo, "--json", *SAME)))["queued"] == 1


def test_fingerprints_are_those_of_scrapy_redis():
    old = dupefilter.RFPDupeFilter(None, "")
    for request in (
        Request("http://a.test/?b=1&a=2#x"), Request("http://a.test/", method="POST", body=b"\xff"),
        Request("http://ä.test/ö?x= "),
    ):  # fmt: skip
        new = ScrapyRedisFingerprinter().fingerprint(request)
        assert new.hex() == old.request_fingerprint(request)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_cut_anywhere_and_repeated(redis_url, some_crawl, project, after):
    """Whichever call is the last: the next run goes on, and everything is there once."""
    calls, done = 1, False
    while not done:
        old = Old(redis_url, f"{project}-{calls}", "FifoQueue")
        fill(old, 1203)
        old.push(*(Request("http://a.test/twice", dont_filter=True) for _ in range(2)))
        old.push_raw(b"bad")
        keys = type(some_crawl.keys)("shop", "shop", f"{project}-{calls}")
        attempts = 0
        while True:
            client = Fragile.connect(address_of(redis_url))
            client.left, client.after = (calls if attempts == 0 else 10**9), after
            source = ScrapyRedisSource(client, old.queue_key, old.seen_key)
            move = Move(source, client, keys, read)
            attempts += 1
            try:
                await source.open(keys.name)
                await move.run()
                break
            except StoreError:
                client.left = 10**9
            finally:
                await client.close()
        done = attempts == 1
        peek = Peek(redis_url, "shop", "shop", f"{project}-{calls}")
        assert old.left() == []
        assert Counter(peek.queued()) == Counter(
            [f"http://a.test/{n}" for n in range(1203)] + ["http://a.test/twice"] * 2
        )
        assert peek.redis.hlen(peek.keys.dead) == 1
        assert peek.number("queued") == 1205
        peek.redis.delete(*peek.all_keys())
        calls += 1
    assert calls > 12


async def test_counts_that_do_not_match(redis_url, some_crawl, fifo):
    fill(fifo, 3)
    client = Client.connect(address_of(redis_url))
    source = ScrapyRedisSource(client, fifo.queue_key, fifo.seen_key)
    await source.open(some_crawl.keys.name)
    total = source.total

    async def more():
        return await total() + 1

    source.total = more
    with pytest.raises(CountsDiffer, match="there were 4 requests, of which 3 are queued"):
        await Move(source, client, some_crawl.keys, read).run()
    assert len(fifo.left()) == 3
    await client.close()


def test_a_move_to_another_crawl_is_finished_first(crawlo, some_crawl, fifo):
    fill(fifo, 3)
    fifo.server.set(f"crawlo:migrating-ticket:{fifo.queue_key}", "1234 shop:shop:other")
    done = crawlo(*words(some_crawl, fifo, *SAME))
    assert done.returncode == 1
    assert "is being moved into the crawl shop:shop:other" in done.stderr
    fifo.server.delete(f"crawlo:migrating-ticket:{fifo.queue_key}")


@pytest.mark.slow
def test_killed_in_the_middle(crawlo, some_crawl, old):
    count = 20_000
    fill(old, count)
    keys, client = some_crawl.keys, redis.Redis.from_url(some_crawl.url)
    command = [sys.executable, "-B", "-c", "from crawlo_scrapy.cli import main; main()"]
    for _ in range(2):
        process = subprocess.Popen(
            [*command, *words(some_crawl, old, "--refingerprint")], cwd=EXAMPLE
        )
        before = int(client.hget(keys.meta, "queued") or 0)
        wait_until(
            lambda before=before, process=process: (
                int(client.hget(keys.meta, "queued") or 0) > before + 2000
                or process.poll() is not None
            ),
            "some are moved", 60,
        )  # fmt: skip
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = moved(crawlo(*words(some_crawl, old, "--refingerprint", "--json")))
    assert done["entries"] == done["queued"] == count
    assert 0 < done["earlier"] < count
    assert int(client.hget(keys.meta, "queued")) == count


def test_workers_that_run(crawlo, some_crawl, fifo):
    from tests.cli.conftest import do

    do(some_crawl.add("w", []))
    fill(fifo, 3)
    done = crawlo(*words(some_crawl, fifo, *SAME))
    assert done.returncode == 1
    assert "stop them first" in done.stderr
    assert len(fifo.queue) == 3
