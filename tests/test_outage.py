"""Redis away, or back with an older state: nothing is lost."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider
from scrapy.statscollectors import DummyStatsCollector

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy.buffers import Buffers
from crawlo_scrapy.exchange import Exchange
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.membership import Registration
from crawlo_scrapy.place import Heartbeats, Terms
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import Frontier, Push
from crawlo_scrapy.store.partitions import UNDIVIDED
from crawlo_scrapy.store.workers import Workers
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until
from tests.site import Site

TERMS = Terms(heartbeat_interval=0.5, timeout=60, max_attempts=5, named=False, seeding="once",
              persist=True, keep_queue=True, flush=False)  # fmt: skip


class Engine:
    """Has what it was handed until it is told otherwise."""

    def __init__(self):
        self.requests = set()

    def has(self, request):
        return request in self.requests

    def wake(self):
        pass

    def is_full(self, slot):
        return False

    closing = False
    concurrency = free = 16


class NoSeeding:
    async def step(self, buffers, registration):
        pass

    def observe(self, *told):
        pass

    def interrupted(self):
        pass


class Bench:
    """An exchange without Scrapy around it."""

    def __init__(self, redis_url, peek):
        self.engine = Engine()
        self.client = Client.connect(Address(url=redis_url))
        self.serializer = RequestSerializer(Spider("s"))
        frontier = Frontier(self.client, peek.keys)
        stats = DummyStatsCollector.__new__(DummyStatsCollector)
        stats.inc_value = lambda *args: None
        heartbeats = Heartbeats(Address(url=redis_url), "w", TERMS)
        self.registration = Registration(
            self.client, frontier, heartbeats, "w", {"node": "w"}, TERMS, stats
        )
        self.duplicates = []
        self.buffers = Buffers(self.engine, stats, prefetch=1, low_water=1, outbox_limit=100)
        self.exchange = Exchange(
            [frontier], self.registration, NoSeeding(), self.serializer, self.buffers,
            self.engine, stats, layout=UNDIVIDED, interval=0.02,
            on_duplicate=self.duplicates.append, on_rollback=lambda: None, on_lost=print,
            on_stop=print,
        )  # fmt: skip

    async def start(self):
        assert await self.registration.join(0.0)
        self.exchange.start()
        return self

    def offer(self, url, mode="n"):
        request = Request(url)
        payload = self.serializer.encode(request)
        self.buffers.offer(Push(mode, 0, len(url), "a", 0, payload), request)

    async def take(self):
        await until(lambda: self.buffers.inbox, "a lease")
        request = self.buffers.take()
        self.engine.requests.add(request)
        return request

    async def stop(self):
        assert await self.exchange.close()
        await self.registration.leave("finished")
        await self.client.close()


async def test_what_comes_after_a_batch_whose_answer_is_lost(
    redis_server: LocalRedis, project: str
) -> None:
    # The batch is sent again under its number; what was offered since must not hide in it.
    peek = Peek(redis_server.url, project, "s")
    with DelayProxy(redis_server.port) as proxy:
        bench = await Bench(proxy.url, peek).start()
        proxy.delay = 0.3
        bench.offer("http://a/1")
        await until(lambda: peek.number("pushed") == 1, "the batch in Redis")
        bench.offer("http://a/22")
        proxy.delay = 0.0
        proxy.cut()
        bench.offer("http://a/333")
        proxy.restore()
        await until(lambda: bench.buffers.safe == 3, "all three confirmed")
        await bench.stop()
    assert peek.queued() == ["http://a/1", "http://a/22", "http://a/333"]
    assert peek.number("pushed") == 3


async def test_parent_waits_for_a_batch_whose_answer_is_lost(
    redis_server: LocalRedis, project: str
) -> None:
    peek = Peek(redis_server.url, project, "s")
    with DelayProxy(redis_server.port) as proxy:
        bench = await Bench(proxy.url, peek).start()
        bench.offer("http://a/parent")
        parent = await bench.take()
        proxy.delay = 0.3
        bench.offer("http://a/1")
        await until(lambda: peek.number("pushed") == 2, "the first child in Redis")
        bench.offer("http://a/22")
        bench.engine.requests.discard(parent)
        proxy.delay = 0.0
        proxy.cut()
        proxy.restore()
        await until(lambda: peek.number("acked") == 1, "the ack of the parent")
        assert sorted(peek.after_death()) == ["http://a/1", "http://a/22"]
        await bench.stop()


async def test_leases_whose_answer_is_lost_are_given_back(
    redis_server: LocalRedis, project: str
) -> None:
    peek = Peek(redis_server.url, project, "s")
    with DelayProxy(redis_server.port) as proxy:
        bench = await Bench(proxy.url, peek).start()
        proxy.delay = 0.3
        bench.offer("http://a/1")
        await until(peek.leased, "a lease in Redis")
        proxy.delay = 0.0
        proxy.cut()
        proxy.restore()
        assert (await bench.take()).url == "http://a/1"
        assert peek.leased() == ["http://a/1"]
        await bench.stop()
    assert peek.queued() == ["http://a/1"]  # its handout was never through


class Tree(Spider):
    """Page n leads to 2n+1 and 2n+2. `at` says what happens when so many were crawled."""

    name = "tree"
    pages = 40
    custom_settings = {"CONCURRENT_REQUESTS": 4, "CONCURRENT_REQUESTS_PER_DOMAIN": 4}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        yield Request(f"{self.site}/ok/0")

    async def parse(self, response):
        number = int(response.url.rpartition("/")[2])
        for child in (2 * number + 1, 2 * number + 2):
            if child < self.pages:
                yield Request(f"{self.site}/ok/{child}")
        self.crawled.append(number)
        await self.at(len(self.crawled), self)


class Snapshot:
    """All keys of a crawl as they are now; `restore` is a Redis that forgot what came later."""

    def __init__(self, peek):
        self._peek = peek
        self._dumps = {key: peek.redis.dump(key) for key in peek.all_keys()}

    def restore(self):
        pipe = self._peek.redis.pipeline()
        pipe.delete(*self._peek.all_keys())
        for key, data in self._dumps.items():
            if data is not None:
                pipe.restore(key, 0, data)
        pipe.execute()


@pytest.mark.parametrize(("saved", "lost"), [(1, 5), (3, 9), (10, 30), (20, 21), (1, 39)])
async def test_rollback(saved: int, lost: int, redis_url: str, project: str, site: Site) -> None:
    peek = Peek(redis_url, project, "tree")
    snapshots = []

    async def at(count, spider):
        if count == saved:
            # Wait for an exchange: what is snapshot is a state of Redis, not of the worker.
            snapshots.append(Snapshot(peek))
        if count == lost:
            snapshots[0].restore()

    crawler = await crawl(Tree, crawl_settings(redis_url, project), site=site.url, at=at)
    assert set(crawler.spider.crawled) == set(range(Tree.pages))
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert peek.meta("state") == "finished"
    assert peek.number("queued") == peek.number("leased") == 0


class Seeds(Spider):
    """Ten start requests, one at a time; no page comes before the gate opens."""

    name = "seeds"
    custom_settings = {"CONCURRENT_REQUESTS": 1, "CRAWLO_PREFETCH": 1}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        for number in range(10):
            yield Request(f"{self.site}/gate/{number}", dont_filter=self.dont_filter)
            await self.at(number)

    def parse(self, response):
        self.crawled.append(int(response.url.rpartition("/")[2]))


async def test_rollback_over_the_end_of_seeding_whose_seeder_is_gone(
    redis_url: str, project: str, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody is left who knows what the start requests were.
    peek = Peek(redis_url, project, "seeds")
    client = Client.connect(Address(url=redis_url))
    workers = Workers(client, peek.keys)
    _, seeder = await workers.join("seeder", {"node": "seeder"}, bucket_fill=400)
    assert await workers.claim_seeding(seeder) == "yours"
    await workers.settle_seeding(seeder, "done")
    peek.redis.hset(peek.keys.worker("seeder"), "local", 1)  # so that it is not finished

    async def at(number):
        pass

    other = make_crawler(Seeds, crawl_settings(redis_url, project))
    crawling = start(run(other, site=site.url, at=at, dont_filter=True))
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the other worker")
    await until(lambda: other.engine.running and other.engine._start is None, "end of its start()")
    peek.redis.hset(peek.keys.meta, "seeding", "")
    await workers.leave(seeder, "dead", keep_crawl=True)
    await client.close()
    site.open_gate()
    assert await crawling == "finished"
    assert set(other.spider.crawled) == set(range(10))
    assert "iterating start() again" in caplog.text
    assert peek.meta("seeding") == "done"


@pytest.mark.parametrize("dont_filter", [False, True])
@pytest.mark.parametrize("saved", [0, 4, 9])
@pytest.mark.parametrize("before_end", [True, False])
async def test_rollback_over_start_requests(
    dont_filter: bool, saved: int, before_end: bool, redis_url: str, project: str, site: Site
) -> None:
    # Start requests have no parent that could be crawled again.
    peek = Peek(redis_url, project, "seeds")
    snapshots, asked = [], 0

    async def at(number):
        nonlocal asked
        asked = number + 1
        if number == saved:
            await until(lambda: peek.number("pushed") == number + 1, "seeds in Redis")
            snapshots.append(Snapshot(peek))
        if number == 9 and before_end:
            await until(lambda: peek.number("pushed") == 10, "all seeds in Redis")
            snapshots[0].restore()

    crawler = make_crawler(Seeds, crawl_settings(redis_url, project))
    crawling = start(run(crawler, site=site.url, at=at, dont_filter=dont_filter))
    if not before_end:
        await until(lambda: peek.meta("seeding") == "done", "the end of seeding")
        snapshots[0].restore()
    await until(lambda: saved == 9 or asked == 10, "all start requests")
    if saved != 9:
        await until(lambda: crawler.stats.get_value("crawlo/rollbacks"), "notice of it")
    site.open_gate()
    assert await crawling == "finished"
    assert set(crawler.spider.crawled) == set(range(10))
    assert peek.meta("seeding") == "done"
