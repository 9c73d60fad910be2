"""Draining: an item leaves the stream when its storage has it, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.drain import Drain, Target
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.redis_stream import RedisStreamWriter
from crawlo_scrapy.pipelines.writer import Row, Writer
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_items import DeadItems
from crawlo_scrapy.store.errors import StoreUnavailable
from crawlo_scrapy.store.item_reader import ItemReader, readers
from crawlo_scrapy.store.items import Items
from crawlo_scrapy.store.keys import Keys
from tests.aio import run_async
from tests.crawling import PATIENCE, start, until
from tests.pipelines.storing import QUICK, store

LIMITS = BatchLimits(count=10, writes=2)


class Memory(Writer):
    """Keeps numbers once it is let; refuses `bad` ones, and all before `missing` is cleared."""

    name = "memory"

    def __init__(self, bad=()):
        self.bad = set(bad)
        self.kept, self.batches, self.classes = [], [], set()
        self.free = asyncio.Event()
        self.free.set()
        self.away = False
        self.is_open = False

    async def open(self):
        self.is_open = True

    async def prepare(self, fields, item_class):
        if fields["n"] in self.bad:
            raise ItemRefused(f"{fields['n']} is bad")
        if fields["n"] == "odd":
            raise ZeroDivisionError("nobody thought of this")
        self.classes.add(item_class)
        return Row(fields["n"], 1)

    async def write(self, rows):
        await self.free.wait()
        if self.away:
            raise StorageUnavailable("it sleeps")
        self.batches.append(len(rows))
        self.kept += [row.payload for row in rows]

    async def close(self):
        self.is_open = False


class Stream:
    """A crawl's stream, and drains of it."""

    def __init__(self, url, project):
        self.url = url
        self.keys = Keys(project, "shop")
        self.clients = []
        self.items = Items(self.client(), self.keys)

    def client(self):
        self.clients.append(Client.connect(Address(url=self.url), connections=8))
        return self.clients[-1]

    async def add(self, *numbers):
        limits = BatchLimits(count=1000, writes=1)
        writer = RedisStreamWriter(Items(self.client(), self.keys))
        await store(writer, *({"n": n} for n in numbers), limits=limits)

    def drain(self, writer, name="one", limits=LIMITS, gather=0.0, probe=False, **options):
        target = Target("there", writer, limits, QUICK, gather, probe)
        return Drain(ItemReader(self.client(), self.keys, name), target, **options)

    async def state(self, value):
        if value:
            await self.items.client.call("hset", self.keys.meta, "state", value)
        else:
            await self.items.client.call("delete", self.keys.meta)

    async def dead(self):
        return [entry async for entry in DeadItems(self.items.client, self.keys).list()]


async def end(task):
    """Return what *task* returns, within reason."""
    return await asyncio.wait_for(task, PATIENCE)


@pytest.fixture
def stream(redis_url, project):
    stream = Stream(redis_url, project)
    yield stream
    for client in stream.clients:
        run_async(client.close())


async def test_everything_is_stored_and_taken_out(stream):
    await stream.add(*range(1234))
    writer = Memory()
    result = await stream.drain(writer).run()
    assert sorted(writer.kept) == list(range(1234))
    assert (result.stored, result.refused, result.left) == (1234, 0, 0)
    assert writer.classes == {dict}
    assert not writer.is_open
    assert await readers(stream.items.client, stream.keys) == []
    assert (await stream.drain(writer).run()).stored == 0


async def test_nothing_is_taken_out_before_the_storage_has_it(stream):
    await stream.add(*range(50))
    writer = Memory()
    writer.free.clear()
    drain = stream.drain(writer)
    task = start(drain.run())
    await until(lambda: len(drain._held) == 30)
    assert [(r.name, r.holds) for r in await readers(stream.items.client, stream.keys)] == [
        ("one", 30)
    ]
    assert await stream.items.count() == 50
    writer.free.set()
    assert (await end(task)).stored == 50


async def test_what_is_refused_is_kept_with_its_reason(stream):
    await stream.add(*range(40), "odd")
    writer = Memory(bad={3, 17})
    result = await stream.drain(writer).run()
    assert (result.stored, result.refused, result.left) == (38, 3, 0)
    dead = [(json.loads(e.item.payload)["n"], e.reason, e.storage) for e in await stream.dead()]
    odd = "it cannot be stored: ZeroDivisionError('nobody thought of this')"
    assert sorted(dead, key=str) == [
        ("odd", odd, "memory"), (17, "17 is bad", "memory"), (3, "3 is bad", "memory"),
    ]  # fmt: skip


async def test_entries_that_are_no_items(stream):
    client, key = stream.items.client, stream.keys.items
    await stream.add(1)
    hostile = [
        {"json": b"{"}, {"json": b"[1]"}, {"msgpack": b"\xc1"}, {"pickle": b"cos\nsystem\n"},
        {"class": "builtins.dict"}, {"json": b"[" * 100_000}, {"json": b'{"n": 1}', "class": b"os"},
        {"json": b'{"n": 2}', "class": b"..\xff."},
    ]  # fmt: skip
    for entry in hostile:
        await client.call("xadd", key, entry)
    writer = Memory()
    result = await stream.drain(writer).run()
    assert (result.stored, result.refused, result.left) == (3, 6, 0)
    assert sorted(writer.kept) == [1, 1, 2]
    reasons = sorted(entry.reason[:30] for entry in await stream.dead())
    assert reasons[-2:] == ["it is in the format 'pickle', ", "it is not an object with named"]


async def test_a_storage_that_takes_nothing_leaves_the_stream_alone(stream):
    await stream.add(*range(100))
    with pytest.raises(StorageError, match=r"refused each of the first \d+ items.*0 is bad"):
        await stream.drain(Memory(bad=range(100))).run()
    assert (await stream.items.count(), await stream.dead()) == (100, [])
    # What the first had is there for the second at once.
    result = await stream.drain(Memory(bad=range(100)), skip_refused=True).run()
    assert (result.refused, result.left) == (100, 0)
    assert len(await stream.dead()) == 100


async def test_several_share_the_work(stream):
    await stream.add(*range(2000))
    writers = [Memory() for _ in range(3)]
    drains = [stream.drain(writer, str(i)) for i, writer in enumerate(writers)]
    results = await asyncio.gather(*(drain.run() for drain in drains))
    assert sum(result.stored for result in results) == 2000
    assert sorted(n for writer in writers for n in writer.kept) == list(range(2000))


async def test_a_dead_drains_items_are_taken_over(stream):
    await stream.add(*range(30))
    dead = ItemReader(stream.client(), stream.keys, "dead")
    await dead.open()
    await dead.read(20)
    writer = Memory()
    result = await stream.drain(writer, silence=0.3).run()
    assert (result.stored, result.taken_over) == (30, 20)
    assert sorted(writer.kept) == list(range(30))


async def test_a_slow_drain_is_not_robbed(stream):
    """Its storage is away for longer than a dead drain would be waited for."""
    await stream.add(*range(30))
    slow, quick = Memory(), Memory()
    slow.free.clear()
    first = stream.drain(slow, "slow", silence=0.3)
    task = start(first.run())
    await until(lambda: len(first._held) == 30)
    other = start(stream.drain(quick, "quick", silence=0.3).run())
    await asyncio.sleep(1.0)  # what must not happen meanwhile has no event
    slow.free.set()
    assert ((await end(task)).stored, (await end(other)).stored) == (30, 0)


async def test_an_answer_of_redis_that_is_lost(stream):
    """Redis has given entries to a reader who never heard of it."""
    await stream.add(*range(30))
    writer = Memory()
    drain = stream.drain(writer, silence=0.3)
    real, lost = drain._reader.read, []

    async def read(count, wait_ms):
        found = await real(count, wait_ms)
        if found and len(lost) < 2:
            lost.append(found)
            raise StoreUnavailable("the answer never came")
        return found

    drain._reader.read = read
    result = await drain.run()
    assert len(lost) == 2
    assert (result.stored, result.left) == (30, 0)
    assert sorted(writer.kept) == list(range(30))


async def test_an_outage_of_the_storage(stream, caplog):
    caplog.set_level("INFO")
    await stream.add(*range(30))
    writer = Memory()
    writer.away = True
    task = start(stream.drain(writer).run())
    await until(lambda: "memory is away, items wait for it: it sleeps" in caplog.text)
    writer.away = False
    assert (await end(task)).stored == 30
    assert caplog.text.count("memory is away") == caplog.text.count("memory is back") == 1


async def test_stop_stores_what_is_in_hand(stream):
    await stream.add(*range(1000))
    writer = Memory()
    writer.free.clear()
    drain = stream.drain(writer)
    task = start(drain.run())
    await until(lambda: len(drain._held) == 30)
    drain.stop()
    writer.free.set()
    result = await end(task)
    assert (result.stored, result.given_back, result.left) == (30, 0, 970)
    assert len(writer.kept) == 30


async def test_stop_gives_back_what_cannot_be_stored(stream):
    await stream.add(*range(1000))
    writer = Memory()
    writer.away = True
    drain = stream.drain(writer)
    drain._grace = 0.05
    task = start(drain.run())
    await until(lambda: len(drain._held) == 30)
    drain.stop()
    result = await end(task)
    assert (result.stored, result.given_back, result.left) == (0, 30, 1000)
    # Another has them at once.
    assert (await stream.drain(Memory(), "other", silence=60).run()).stored == 1000


async def test_a_storage_that_only_a_write_can_tell_of(stream):
    await stream.add(*range(10))
    writer = Memory()
    writer.away = True
    with pytest.raises(StorageError, match="it sleeps"):
        await stream.drain(writer, probe=True).run()
    assert await stream.items.count() == 10


async def test_following_until_the_crawl_is_finished(stream):
    writer = Memory()
    drain = stream.drain(writer, follow=True)
    task = start(drain.run())  # before there is a crawl
    await stream.state("running")
    await stream.add(*range(10))
    await until(lambda: len(writer.kept) == 10)
    await stream.add(*range(10, 20))
    await until(lambda: len(writer.kept) == 20)
    assert not task.done()
    await stream.state("finished")
    assert (await end(task)).stored == 20


@pytest.mark.parametrize("before", ["running", ""])
async def test_following_a_crawl_that_is_purged(stream, before):
    await stream.add(1)
    await stream.state(before)
    writer = Memory()
    task = start(stream.drain(writer, follow=True).run())
    await until(lambda: writer.kept == [1])
    await stream.state("")
    await stream.items.client.call("delete", stream.keys.items)
    assert (await end(task)).stored == 1


async def test_a_stream_that_is_lost_while_its_crawl_goes_on(stream):
    """Redis was emptied, for example: what comes after that is drained."""
    await stream.state("running")
    writer = Memory()
    task = start(stream.drain(writer, follow=True).run())
    await stream.add(1)
    await until(lambda: writer.kept == [1])
    await stream.items.client.call("delete", stream.keys.items)
    await stream.add(2)
    await until(lambda: writer.kept == [1, 2])
    await stream.state("finished")
    await end(task)


async def test_batches_wait_to_be_full(stream):
    await stream.state("running")
    writer = Memory()
    limits = BatchLimits(count=20, writes=1)
    task = start(stream.drain(writer, follow=True, gather=60.0, limits=limits).run())
    for n in range(40):
        await stream.add(n)
    await until(lambda: len(writer.kept) == 40)
    assert writer.batches == [20, 20]
    await stream.state("finished")
    await end(task)


async def test_what_is_read_at_once_is_bounded_by_bytes(stream):
    await stream.add(*range(10**100, 10**100 + 500))
    writer = Memory()
    drain = stream.drain(writer, limits=BatchLimits(count=500, size=1000, writes=1))
    most, real = [], drain._reader.read

    async def read(count, wait_ms):
        found = await real(count, wait_ms)
        most.append(len(found))
        return found

    drain._reader.read = read
    await drain.run()
    assert sum(most) == 500
    assert max(most[6:]) <= 10


async def test_redis_restarts_in_the_middle(project):
    with LocalRedis(aof=True, config={"appendfsync": "always"}) as server:
        stream = Stream(server.url, project)
        await stream.state("running")
        await stream.add(*range(100))
        writer = Memory()
        task = start(stream.drain(writer, follow=True, silence=0.5).run())
        await until(lambda: len(writer.kept) == 100)
        writer.free.clear()
        await stream.add(*range(100, 200))
        server.kill()
        writer.free.set()
        server.start()
        await stream.add(*range(200, 300))
        await until(lambda: set(writer.kept) == set(range(300)))
        await stream.state("finished")
        assert (await end(task)).left == 0
        for client in stream.clients:
            await client.close()
