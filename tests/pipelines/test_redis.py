"""Items through Redis: the stream, its limit, its readers, and repeats."""

from __future__ import annotations

import json

import pytest

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.errors import StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.redis_stream import RedisStreamWriter
from crawlo_scrapy.pipelines.stream_format import decode
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_items import DeadItems
from crawlo_scrapy.store.item_reader import ItemReader, ItemsGone, readers
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


async def reader_of(items, name="reader"):
    reader = ItemReader(items.client, items.keys, name)
    await reader.open()
    return reader


async def payloads(items):
    return [entry.item async for entry in items.all()]


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


@pytest.mark.parametrize("format", ["json", "msgpack"])
async def test_hostile_items(make, format):
    good = [
        {"n": 1, "a`b'\"": 1, "a.b": 2, "$set": 3, "nu\0ll": 4, "": 5, "𝕏" * 100: 6},
        {"n": 2, "v": "x" * (16 * 1024 * 1024)}, {"n": 3, "class": "os.system", "json": "{"},
        {"n": 4, **{f"f{i}": i for i in range(10_000)}}, {"n": 5, "v": "\0\r\n🕷"},
    ]  # fmt: skip
    bad = [{"v": print}, {"v": [object()]}] + ([{"v": float("nan")}] if format == "json" else [])
    reasons = await store(RedisStreamWriter(make(), format=format), *bad, *good, limits=LIMITS)
    assert [bool(reason) for reason in reasons] == [True] * len(bad) + [False] * len(good)
    assert [decode(item) for item in await payloads(make())] == [(item, dict) for item in good]


async def test_a_full_stream_makes_writers_wait_and_trims_nothing(make):
    items, watch = make(), Watch()
    reader = await reader_of(items)
    writer = RedisStreamWriter(make(), limit=10)
    await writer.open()
    limits = BatchLimits(count=5, writes=1)
    storing = start(store_in(writer, *({"n": i} for i in range(30)), limits=limits, watch=watch))
    await watch.is_away.wait()
    assert await items.count() == 10
    assert f"`crawlo-scrapy items drain {items.keys.name} --to …`" in watch.outages[0][0]
    seen = []
    while len(seen) < 30:
        entries = await reader.read(7)
        seen += [json.loads(entry.item.payload)["n"] for entry in entries]
        await reader.done([entry.id for entry in entries])
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
    await store(RedisStreamWriter(make()), *({"n": i} for i in range(4)), limits=LIMITS)
    dies, lives = await reader_of(items, "dies"), await reader_of(make(), "lives")
    taken = {entry.id for entry in await dies.read(2)} | {entry.id for entry in await lives.read(9)}
    assert await lives.take_over(10, silent_ms=60_000) == []
    # One at a time: it goes on where it was, and begins anew at the end.
    again = [entry for _ in range(4) for entry in await lives.take_over(1, silent_ms=0)]
    assert {entry.id for entry in again} == taken
    assert json.loads(again[0].item.payload) == {"n": 0}
    await lives.done([entry.id for entry in again])
    assert await items.count() == 0
    assert await lives.take_over(10, silent_ms=0) == []


async def test_what_a_reader_keeps_is_not_taken_over(make):
    items = make()
    await store(RedisStreamWriter(make()), {"n": 1}, {"n": 2}, limits=LIMITS)
    one, other = await reader_of(items, "one"), await reader_of(items, "other")
    kept, given_back = [entry.id for entry in await one.read(9)]
    await items.client.redis.xclaim(items.keys.items, "drain", "one", 0, [kept], idle=10_000)
    await one.keep([kept])
    await one.release([given_back])
    assert [entry.id for entry in await other.take_over(9, silent_ms=9_000)] == [given_back]


async def test_a_reader_leaves(make):
    items = make()
    await items.client.call("hset", items.keys.meta, "state", "running")
    await store(RedisStreamWriter(make()), {"n": 1}, limits=LIMITS)
    reader = await reader_of(items)
    [entry] = await reader.read(9)
    assert [(r.name, r.holds) for r in await readers(items.client, items.keys)] == [("reader", 1)]
    await reader.leave()  # not with an item that nobody would get then
    assert await readers(items.client, items.keys) != []
    await reader.done([entry.id])
    await reader.leave()
    assert await items.client.call("xinfo_consumers", items.keys.items, "drain") == []
    await items.client.call("delete", items.keys.meta)  # it was purged
    await reader.leave()
    assert await items.client.call("exists", items.keys.items) == 0
    await reader.leave()
    assert await readers(items.client, items.keys) == []
    with pytest.raises(ItemsGone):
        await reader.read(1)


async def test_dead_items(make):
    items = make()
    await store(RedisStreamWriter(make()), {"n": 1}, {"n": "ü"}, limits=LIMITS)
    reader, dead = await reader_of(items), DeadItems(items.client, items.keys)
    first, second = await reader.read(9)
    for _ in range(2):  # the first answer was lost
        await reader.bury(second, "it is \ud800 bad", "mysql")
    await reader.done([first.id])
    await reader.bury(first, "somebody has stored it", "mysql")
    [entry] = [entry async for entry in dead.list()]
    assert (entry.item, entry.storage) == (second.item, "mysql")
    assert entry.reason == "it is ? bad"
    assert await items.count() == 0
    assert await dead.requeue([entry.id, "1-1"]) == 1
    assert await payloads(items) == [second.item]
    [again] = await reader.read(9)
    await reader.bury(again, "still", "mysql")
    [entry] = [entry async for entry in dead.list()]
    assert await dead.purge([entry.id, "1-1"]) == 1
    assert await dead.requeue([entry.id]) == 0


async def test_looking_at_a_long_stream(make):
    items = make()
    await store(RedisStreamWriter(make()), *({"n": i} for i in range(1234)), limits=LIMITS)
    assert [json.loads(item.payload)["n"] for item in await payloads(items)] == list(range(1234))
    newest = await items.last(3)
    assert [json.loads(entry.item.payload)["n"] for entry in newest] == [1231, 1232, 1233]
    assert [entry.id for entry in await items.wait_after(newest[0].id, 10)] == [
        entry.id for entry in newest[1:]
    ]
    assert await items.wait_after(newest[-1].id, 10) == []


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
