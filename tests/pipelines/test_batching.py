"""Group commit, back-pressure, waiting out an outage, and finding the bad row."""

from __future__ import annotations

import asyncio

import pytest

from crawlo_scrapy.pipelines.batching import Backoff, Batcher, BatchLimits
from crawlo_scrapy.pipelines.errors import ItemRefused, RowsRefused, StorageUnavailable
from tests.crawling import until
from tests.pipelines.storing import QUICK, Watch, row


class Storage:
    """Takes what it is given once it is let; `bad` rows make a batch fail."""

    def __init__(self, bad=(), partial=False):
        self.bad, self.partial = set(bad), partial
        self.writes, self.kept = [], []
        self.free = asyncio.Event()
        self.free.set()
        self.failures = []

    async def write(self, rows):
        values = [row.payload for row in rows]
        self.writes.append(values)
        await self.free.wait()
        if self.failures:
            raise self.failures.pop(0)
        found = {i: f"{value} is bad" for i, value in enumerate(values) if value in self.bad}
        if found and not self.partial:
            raise ValueError(f"one of {values} is bad")
        self.kept += [value for value in values if value not in self.bad]
        if found:
            raise RowsRefused(found)


def batcher(storage, watch=None, **limits):
    return Batcher(storage.write, watch or Watch(), BatchLimits(**limits), QUICK)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_items_of_one_moment_go_together():
    storage = Storage()
    await asyncio.gather(*(batch.store(row(i)) for batch in [batcher(storage)] for i in range(9)))
    assert storage.writes == [list(range(9))]


async def test_items_gather_while_a_write_is_under_way():
    storage = Storage()
    storage.free.clear()
    batch = batcher(storage, interval=60, writes=4)
    tasks = [asyncio.create_task(batch.store(row(0)))]
    await turns()
    for i in range(1, 8):
        tasks.append(asyncio.create_task(batch.store(row(i))))
        await turns()
    assert storage.writes == [[0]]
    storage.free.set()
    await asyncio.gather(*tasks)
    assert storage.writes == [[0], [1, 2, 3, 4, 5, 6, 7]]


async def test_store_returns_only_when_its_batch_is_written():
    storage = Storage()
    storage.free.clear()
    task = asyncio.create_task(batcher(storage).store(row(1)))
    await turns()
    assert storage.writes
    assert not task.done()
    storage.free.set()
    await task
    assert storage.kept == [1]


async def test_count_and_bytes_limit_a_batch():
    storage = Storage()
    batch = batcher(storage, count=3, writes=1)
    await asyncio.gather(*(batch.store(row(i)) for i in range(7)))
    assert storage.writes == [[0, 1, 2], [3, 4, 5], [6]]
    storage = Storage()
    batch = batcher(storage, size=10, writes=1)
    await asyncio.gather(*(batch.store(row(i, size)) for i, size in enumerate([4, 4, 4, 99, 1])))
    assert storage.writes == [[0, 1], [2], [3], [4]]


@pytest.mark.parametrize("limits", [{"count": 2}, {"size": 2}, {"interval": 0.001}])
async def test_another_write_starts_beside_a_slow_one(limits):
    storage = Storage()
    storage.free.clear()
    batch = batcher(storage, writes=2, **{"interval": 60, **limits})
    tasks = [asyncio.create_task(batch.store(row(0)))]
    await turns()
    tasks += [asyncio.create_task(batch.store(row(i))) for i in (1, 2)]
    await until(lambda: len(storage.writes) == 2)
    tasks += [asyncio.create_task(batch.store(row(i))) for i in (3, 4)]
    await turns()
    assert storage.writes == [[0], [1, 2]]
    storage.free.set()
    await asyncio.gather(*tasks)


async def test_room_blocks_while_the_buffer_is_full():
    storage = Storage()
    storage.free.clear()
    batch = batcher(storage, buffer=10)
    tasks = [asyncio.create_task(batch.store(row(i, 5))) for i in range(2)]
    await turns()
    room = asyncio.create_task(batch.room())
    await turns()
    assert not room.done()
    storage.free.set()
    await asyncio.gather(room, *tasks)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, set(range(20)), {19}])
async def test_bad_rows_are_found_and_all_others_stored(partial, bad):
    storage = Storage(bad, partial)
    batch = batcher(storage)
    results = await asyncio.gather(
        *(batch.store(row(i)) for i in range(20)), return_exceptions=True
    )
    refused = {i for i, result in enumerate(results) if isinstance(result, ItemRefused)}
    assert refused == bad
    assert storage.kept == [i for i in range(20) if i not in bad]
    assert all("bad" in str(results[i]) for i in bad)


async def test_one_bad_row_costs_few_writes():
    storage = Storage({512})
    batch = batcher(storage, count=1024)
    await asyncio.gather(*(batch.store(row(i)) for i in range(1024)), return_exceptions=True)
    assert len(storage.writes) <= 2 * 10 + 1


async def test_only_the_storage_says_that_it_is_back():
    """Rows that are made ready meanwhile tell nothing."""
    storage, watch = Storage(), Watch()
    storage.failures = [StorageUnavailable("gone")] * 3
    batch = batcher(storage, watch)

    async def ready():
        return row(2)

    backs = []
    watch.back = lambda: backs.append(len(storage.writes))
    storing = asyncio.create_task(batch.store(row(1)))
    await watch.is_away.wait()
    await batch.store(await batch.persist(ready))
    await storing
    assert backs == [4]


async def test_abort_leaves_nothing_under_way():
    storage, watch = Storage(), Watch()
    storage.failures = [StorageUnavailable("gone")] * 1000
    batch = batcher(storage, watch, count=1, writes=1)
    storing = [asyncio.create_task(batch.store(row(i))) for i in range(3)]
    await watch.is_away.wait()
    await batch.abort()
    results = await asyncio.gather(*storing, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert storage.kept == []


async def test_an_outage_is_waited_out():
    storage, watch = Storage(), Watch()
    storage.failures = [StorageUnavailable("gone")] * 3
    batch = batcher(storage, watch)
    await asyncio.gather(batch.store(row(1)), batch.store(row(2)))
    assert storage.writes == [[1, 2]] * 4
    assert storage.kept == [1, 2]
    assert [text for text, _ in watch.outages] == ["gone"] * 3
    assert watch.is_back.is_set()


async def test_an_outage_does_not_start_more_writes():
    storage, watch = Storage(), Watch()
    storage.failures = [StorageUnavailable("gone")] * 10**6
    batch = batcher(storage, watch, writes=4, count=1)
    tasks = [asyncio.create_task(batch.store(row(i))) for i in range(4)]
    await watch.is_away.wait()
    started = [asyncio.create_task(batch.store(row(i))) for i in (5, 6)]
    await until(lambda: len(watch.outages) >= 8)
    assert not {5, 6} & {value for write in storage.writes for value in write}
    storage.failures.clear()
    await asyncio.gather(*tasks, *started)
    assert sorted(storage.kept) == [0, 1, 2, 3, 5, 6]


async def test_close_writes_what_waits():
    storage = Storage()
    batch = batcher(storage, count=2)
    tasks = [asyncio.create_task(batch.store(row(i))) for i in range(5)]
    await asyncio.sleep(0)
    await batch.close()
    await asyncio.gather(*tasks)
    assert storage.kept == [0, 1, 2, 3, 4]


async def test_a_cancelled_caller_harms_nobody():
    storage = Storage()
    storage.free.clear()
    batch = batcher(storage)
    tasks = [asyncio.create_task(batch.store(row(i))) for i in range(3)]
    await turns()
    tasks[1].cancel()
    storage.free.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert storage.kept == [0, 1, 2]
    await batch.room()


def test_backoff_grows_to_its_cap():
    backoff = Backoff(first=1, cap=8)
    for attempt, full in enumerate([1, 2, 4, 8, 8, 8], start=1):
        assert full / 2 <= backoff.delay(attempt) <= full
    assert backoff.delay(10_000) <= 8
