"""Items through Redis: the stream, its limit, its readers, and repeats."""

from __future__ import annotations

import json

import pytest

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.errors import StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.redis_stream import RedisStreamWriter
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.items import Items
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.values import Codec
from tests.aio import run_async
from tests.crawling import start
from tests.pipelines.storing import Watch, store, store_in

LIMITS = BatchLimits(count=100, writes=1)


@pytest.fixture
def make(redis_url, project):
    """Returns the crawl's items over a client of their own."""

    clients = []

    def make(url=redis_url):
        clients.append(Client.connect(Address(url=url)))
        return Items(clients[-1], Keys(project, "shop"))

    yield make
    for client in clients:
        run_async(client.close())


async def payloads(items):
    await items.open_group()
    found = await items.read("test", 10_000)
    return [entry.item for entry in found]


async def test_items_go_into_the_stream(make):
    writer = RedisStreamWriter(make())
    reasons = await store(writer, {"n": 1}, {"n": float("nan")}, {"n": 2}, limits=LIMITS)
    assert [reason is None for reason in reasons] == [True, False, True]
    found = await payloads(make())
    assert [json.loads(item.payload) for item in found] == [{"n": 1}, {"n": 2}]
    assert {(item.format, item.item_class) for item in found} == {("json", "builtins.dict")}


async def test_msgpack_keeps_types(make):
    item = {"raw": b"\xff", "nan": float("inf"), "big": 2**70}
    await store(RedisStreamWriter(make(), format="msgpack"), item, limits=LIMITS)
    [found] = await payloads(make())
    assert Codec().decode(found.payload) == item


async def test_a_full_stream_makes_writers_wait_and_trims_nothing(make):
    items, watch = make(), Watch()
    await items.open_group()
    writer = RedisStreamWriter(make(), limit=10)
    await writer.open()
    limits = BatchLimits(count=5, writes=1)
    storing = start(store_in(writer, *({"n": i} for i in range(30)), limits=limits, watch=watch))
    await watch.is_away.wait()
    assert await items.count() == 10
    assert "crawlo-scrapy items drain" in watch.outages[0][0]
    seen = []
    while len(seen) < 30:
        entries = await items.read("reader", 7)
        seen += [json.loads(entry.item.payload)["n"] for entry in entries]
        await items.done([entry.id for entry in entries])
    assert await storing == [None] * 30
    assert seen == list(range(30))
    assert await items.count() == 0
    await writer.close()


async def test_a_batch_sent_twice_is_stored_once(make):
    items = make()
    writer = RedisStreamWriter(items)
    rows = [await writer.prepare({"n": i}, dict) for i in range(3)]
    real, lost = items.append, []

    async def append(*args):
        result = await real(*args)
        if not lost:
            lost.append(result)
            raise_lost()
        return result

    def raise_lost():
        from crawlo_scrapy.store.errors import StoreUnavailable

        raise StoreUnavailable("the answer never came")

    items.append = append
    with pytest.raises(StorageUnavailable):
        await writer.write(rows)
    await writer.write(rows)
    await writer.write([await writer.prepare({"n": 3}, dict)])
    assert await items.count() == 4
    await writer.close()
    assert await make().client.redis.exists(items.keys.items_writers) == 0


async def test_once(make):
    for _ in range(2):
        writer = RedisStreamWriter(make(), once=True, key=["n"])
        await store(writer, *({"n": i % 5, "t": i} for i in range(20)), limits=LIMITS)
    assert [json.loads(item.payload)["n"] for item in await payloads(make())] == list(range(5))


async def test_a_dead_readers_items_are_taken_over(make):
    items = make()
    await store(RedisStreamWriter(make()), {"n": 1}, {"n": 2}, limits=LIMITS)
    await items.open_group()
    await items.open_group()
    [first] = await items.read("dies", 1)
    [second] = await items.read("lives", 10)
    assert await items.take_over("lives", 10, silent_ms=60_000) == []
    again = await items.take_over("lives", 10, silent_ms=0)
    assert {(entry.id, entry.deliveries) for entry in again} == {(first.id, 2), (second.id, 2)}
    assert json.loads(again[0].item.payload) == {"n": 1}
    await items.done([entry.id for entry in again])
    assert await items.count() == 0
    assert await items.take_over("lives", 10, silent_ms=0) == []


async def test_seen(make):
    items = make()
    prints = [bytes([i]) * 16 for i in range(3)]
    assert await items.seen(prints) == [False] * 3
    await items.record(prints[:2])
    assert await items.seen(prints) == [True, True, False]


async def test_items_seen_are_not_urls_seen(make):
    items = make()
    await items.record([b"x" * 16])
    assert not await items.client.redis.keys(items.keys.seen_prefix + "*")


async def test_redis_restarts_in_the_middle(make):
    with LocalRedis(aof=True, config={"appendfsync": "always"}) as server:
        items, watch = make(server.url), Watch()
        writer = RedisStreamWriter(items)
        await writer.open()
        await store_in(writer, {"n": 0}, limits=LIMITS)
        server.kill()
        storing = start(store_in(writer, {"n": 1}, {"n": 2}, limits=LIMITS, watch=watch))
        await watch.is_away.wait()
        server.start()
        assert await storing == [None, None]
        assert await items.count() == 3
        await writer.close()


async def test_no_redis_at_the_start(make):
    writer = RedisStreamWriter(make("redis://127.0.0.1:1"))
    with pytest.raises(StorageError, match="cannot be reached"):
        await writer.open()
    await writer.close()
