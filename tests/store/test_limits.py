"""The store at its limits: large batches, odd numbers, odd bytes."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store.frontier import LEASE_BATCH, MAX_ATTEMPTS, MAX_PRIORITY
from tests.store.conftest import Store, names, push


async def test_a_lease_of_more_than_a_batch(store: Store) -> None:
    member = await store.join()
    for first in range(0, 3000, 1000):
        await store.frontier.exchange(member, [push(first + i) for i in range(1000)])
    ids = []
    for _ in range(3):
        result = await store.frontier.exchange(member, limit=50_000, started=ids)
        assert len(result.leases) == LEASE_BATCH
        ids += [lease.id for lease in result.leases]
    assert len(set(ids)) == 3000
    assert ids == sorted(ids)


async def test_many_acks_at_once(store: Store) -> None:
    """Lua cannot pass 10,000 arguments on at once."""
    member = await store.join()
    first = await store.frontier.exchange(member, [push(i) for i in range(10)], limit=10)
    unknown = [str(i) for i in range(10_000)]
    acks = unknown + [lease.id for lease in first.leases]
    result = await store.frontier.exchange(member, acks=acks)
    assert (result.leased, result.held) == (0, 0)


async def test_priorities_of_any_size(store: Store) -> None:
    member = await store.join()
    numbers = [0, 10**400, -(10**400), MAX_PRIORITY - 1, 1 - MAX_PRIORITY, -1, True]
    pushes = [push(i, priority=priority) for i, priority in enumerate(numbers)]
    result = await store.frontier.exchange(member, pushes, limit=100)
    assert [numbers[int(name)] for name in names(result)] == sorted(numbers, reverse=True)


async def test_payloads_of_any_bytes(store: Store) -> None:
    member = await store.join()
    payloads = [b"", b"\n", b"\n\n\n", b"\0", bytes(range(256)), b"x" * 1_000_000]
    pushes = [push(i)._replace(payload=payload) for i, payload in enumerate(payloads)]
    pushes += [
        push(f"d{i}", delay_ms=1)._replace(payload=payload) for i, payload in enumerate(payloads)
    ]
    first = await store.frontier.exchange(member, pushes, limit=100)
    for record in await store.client.call("zrange", store.keys.delayed, 0, -1):
        await store.client.call("zadd", store.keys.delayed, {record: 1})
    second = await store.frontier.exchange(member, limit=100)
    given = [lease.payload for lease in (*first.leases, *second.leases)]
    assert sorted(given) == sorted(2 * payloads)
    ids = [lease.id for lease in (*first.leases, *second.leases)]
    await store.frontier.exchange(member, started=ids)
    await store.reclaim(member, max_attempts=1)
    letters = [letter async for letter in store.dead_letters.list()]
    assert sorted(letter.payload for letter in letters) == sorted(2 * payloads)


async def test_equal_delayed_requests_are_two(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    for member in (one, two):
        await store.frontier.exchange(member, [push("a", "n", delay_ms=9**9) for _ in range(2)])
    assert await store.client.call("zcard", store.keys.delayed) == 4
    assert await store.meta("queued") == "4"


async def test_attempts_are_counted_up_to_their_limit(store: Store) -> None:
    lead = await store.join("lead")
    await store.frontier.exchange(lead, [push("poison")])
    for attempt in range(1, MAX_ATTEMPTS + 1):
        victim = await store.join(f"v{attempt}")
        [lease] = (await store.frontier.exchange(victim, limit=1)).leases
        assert lease.attempts == attempt - 1
        await store.frontier.exchange(victim, started=[lease.id])
        taken = await store.reclaim(victim, max_attempts=10_000)
        assert taken == ((0, 1) if attempt == MAX_ATTEMPTS else (1, 0))


@pytest.mark.parametrize("max_attempts", [0, 1])
async def test_what_was_not_started_is_never_buried(store: Store, max_attempts: int) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")], limit=1)
    assert await store.reclaim(member, max_attempts=max_attempts) == (1, 0)


async def test_reclaim_of_a_worker_without_leases(store: Store) -> None:
    member = await store.join()
    assert await store.reclaim(member) == (0, 0)
    assert await store.reclaim(member) == (0, 0)  # by hand in the registry, with no record
    assert await store.frontier.reclaim("unknown", timeout=0, max_attempts=5) is None


async def test_a_dead_letter_without_a_slot(store: Store) -> None:
    """A `data:` URL has no host."""
    member = await store.join()
    await store.dead_letters.bury_request(member, "x", push("a", slot=""), "encode", "\ud800\n\0é")
    [letter] = [letter async for letter in store.dead_letters.list()]
    assert (letter.slot, letter.payload, letter.error) == ("", b"a", "?\n\0é")
    assert await store.dead_letters.requeue(["x"]) == 1
    assert names(await store.frontier.exchange(member, limit=1)) == ["a"]


async def test_dead_letters_in_many_steps(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push(i) for i in range(250)], limit=250)
    for lease in result.leases:
        assert await store.dead_letters.bury_lease(member, lease.id, "decode", "no")
    assert await store.dead_letters.count() == 250
    ids = {letter.id async for letter in store.dead_letters.list()}
    assert ids == {lease.id for lease in result.leases}
    assert await store.dead_letters.requeue(sorted(ids)[:150]) == 150
    assert await store.dead_letters.purge(sorted(ids)) == 100
    result = await store.frontier.exchange(member, limit=1000)
    assert len(result.leases) == 150
    assert (result.queued, result.leased) == (0, 150)


async def test_requeued_letters_open_a_finished_crawl(store: Store) -> None:
    member = await store.join()
    await store.workers.claim_seeding(member)
    await store.workers.settle_seeding(member, "done")
    await store.dead_letters.bury_request(member, "x", push("a"), "callback", "")
    assert await store.workers.finish()
    await store.dead_letters.requeue(["x"])
    assert await store.meta("state") == "running"
    assert not await store.workers.finish()


async def test_a_paused_crawl_gives_nothing_and_takes_all(store: Store) -> None:
    member = await store.join()
    first = await store.frontier.exchange(member, [push("a"), push("b")], limit=1)
    await store.client.call("hset", store.keys.meta, "state", "paused")
    acks = [lease.id for lease in first.leases]
    result = await store.frontier.exchange(member, [push("c")], acks, limit=9)
    assert (result.state, result.leases, result.queued, result.leased) == ("paused", [], 2, 0)
    assert not await store.workers.finish()


async def test_turns_of_slots_over_many_small_leases(store: Store) -> None:
    member = await store.join()
    pushes = [push(f"{slot}{i}", slot=slot) for slot in "abc" for i in range(20)]
    await store.frontier.exchange(member, pushes)
    order = [names(await store.frontier.exchange(member, limit=1))[0] for _ in range(9)]
    assert [sorted(name[0] for name in order[i : i + 3]) for i in (0, 3, 6)] == [
        ["a", "b", "c"]
    ] * 3


async def test_shares_add_up_to_everything(store: Store) -> None:
    members = [await store.join(f"w{i}") for i in range(5)]
    await store.frontier.exchange(members[0], [push(i) for i in range(23)])
    counts = [0] * 5
    for _ in range(30):
        for i, member in enumerate(members):
            counts[i] += len((await store.frontier.exchange(member, limit=100)).leases)
    assert sum(counts) == 23
    assert max(counts) - min(counts) <= 4


async def test_release_of_some_that_are_gone(store: Store) -> None:
    member = await store.join()
    first = await store.frontier.exchange(member, [push(i) for i in range(4)], limit=4)
    ids = [lease.id for lease in first.leases]
    await store.frontier.exchange(member, acks=[ids[1]])
    assert await store.frontier.release(member, [*ids, "unknown"]) == 3
    assert await store.frontier.release(member, ids) == 0
    assert await store.frontier.release(member, []) == 0
    result = await store.frontier.exchange(member, limit=9)
    assert names(result) == ["0", "2", "3"]
    assert (result.queued, result.leased) == (0, 3)


async def test_lifo_keeps_what_was_given_back_in_front(store: Store) -> None:
    frontier = type(store.frontier)(store.client, store.keys, order="lifo")
    member = await store.join()
    first = await frontier.exchange(member, [push(i) for i in range(4)], limit=2)
    assert names(first) == ["3", "2"]
    await frontier.release(member, [lease.id for lease in first.leases])
    assert names(await frontier.exchange(member, limit=9)) == ["3", "2", "1", "0"]


async def test_attempts_survive_a_release(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    [lease] = (await store.frontier.exchange(one, [push("a")], limit=1)).leases
    await store.frontier.exchange(one, started=[lease.id])
    await store.reclaim(one)
    for _ in range(2):
        [lease] = (await store.frontier.exchange(two, limit=1)).leases
        assert (lease.attempts, lease.suspect) == (1, True)
        await store.frontier.release(two, [lease.id])


async def test_many_leases_of_the_dead_keep_their_order(store: Store) -> None:
    """A large hash has no order of its own."""
    dead = await store.join("dead")
    first = await store.frontier.exchange(dead, [push(i) for i in range(1000)], limit=900)
    assert len(first.leases) == 900
    assert await store.reclaim(dead) == (900, 0)
    assert await store.client.call("exists", store.keys.leases("dead")) == 0
    heir = await store.join("heir")
    result = await store.frontier.exchange(heir, limit=1000)
    assert names(result) == [str(i) for i in range(1000)]
