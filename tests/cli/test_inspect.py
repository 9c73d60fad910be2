"""One look at a crawl."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store.inspect import MOST_SLOTS, find_crawls, inspect, keys_of
from crawlo_scrapy.store.keys import Keys
from tests.cli.conftest import SomeCrawl, push


async def test_shows_queue_workers_and_counts(some_crawl: SomeCrawl) -> None:
    pushes = [push(f"https://a.test/{n}", priority=n % 2, number=n) for n in range(6)]
    pushes.append(push("https://b.test:8/", slot="b.test%3A8", number=9))
    member = await some_crawl.add("w1", pushes)
    await some_crawl.bury(member, ("x1", "decode", "https://a.test/dead"))
    async with some_crawl.client() as client:
        state = await inspect(client, some_crawl.keys)

    assert (state.state, state.queued, state.leased, state.seen) == ("running", 7, 0, 7)
    assert state.by_priority == [(1, 3), (0, 4)]
    assert state.by_slot == [("a.test", 6), ("b.test:8", 1)]
    assert state.dead == 1
    [worker] = state.workers
    assert (worker.id, worker.host, worker.pid, worker.role) == ("w1", "h", 7, "auto")
    assert state.living(60) == [worker]


async def test_counts_leases(some_crawl: SomeCrawl) -> None:
    await some_crawl.add("w1", [push(f"https://a.test/{n}", number=n) for n in range(5)], lease=3)
    async with some_crawl.client() as client:
        state = await inspect(client, some_crawl.keys)
    assert (state.queued, state.leased, state.workers[0].leased, state.started) == (2, 3, 3, 0)


async def test_looks_into_a_bounded_number_of_slots(some_crawl: SomeCrawl) -> None:
    count = MOST_SLOTS + 50
    pushes = [push("https://x.test/", slot=f"s{n}", number=n) for n in range(count)]
    await some_crawl.add("w1", pushes)
    async with some_crawl.client() as client:
        state = await inspect(client, some_crawl.keys)
    assert (state.slots, state.slots_read, len(state.by_slot)) == (count, MOST_SLOTS, MOST_SLOTS)
    assert state.queued == count


async def test_a_crawl_that_is_not_there(some_crawl: SomeCrawl) -> None:
    async with some_crawl.client() as client:
        state = await inspect(client, some_crawl.keys)
        assert not await client.call("exists", some_crawl.keys.meta)
    assert not state.exists


async def test_finds_crawls_by_project(some_crawl: SomeCrawl) -> None:
    await some_crawl.add("w1", [])
    async with some_crawl.client() as client:
        assert some_crawl.keys.name in await find_crawls(client)
        assert some_crawl.keys.name in await find_crawls(client, "shop")
        assert some_crawl.keys.name not in await find_crawls(client, "sho")


@pytest.mark.parametrize("parts", [("p", "s"), ("p q", "s:t", "ü*?[")])
def test_a_name_leads_back_to_its_keys(parts: tuple[str, ...]) -> None:
    keys = Keys(*parts)
    assert keys_of(keys.name).prefix == keys.prefix
