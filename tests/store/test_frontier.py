"""Push, ack, lease, release, reclaim, purge."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys
from tests.store.conftest import Store, names, push


async def test_higher_priorities_first_then_fifo(store: Store) -> None:
    member = await store.join()
    pushes = [push("a"), push("b", priority=-1), push("c", priority=10), push("d"), push("e")]
    result = await store.frontier.exchange(member, pushes, limit=9)
    assert names(result) == ["c", "a", "d", "e", "b"]


async def test_lifo(store: Store) -> None:
    frontier = Frontier(store.client, store.keys, order="lifo")
    member = await store.join()
    await frontier.exchange(member, [push("a"), push("b")])
    result = await frontier.exchange(member, [push("c"), push("d", priority=1)], limit=9)
    assert names(result) == ["d", "c", "b", "a"]


async def test_two_equal_requests_are_two(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push("a", "n"), push("a", "n")], limit=9)
    assert names(result) == ["a", "a"]
    assert result.duplicates == []


async def test_duplicates_are_named_and_not_queued(store: Store) -> None:
    member = await store.join()
    pushes = [push("a"), push("b"), push("a"), push("b", "n")]
    result = await store.frontier.exchange(member, pushes, limit=9)
    assert result.duplicates == [2]
    assert names(result) == ["a", "b", "b"]


async def test_not_filtered_is_recorded_all_the_same(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push("a", "n"), push("a")])
    assert result.duplicates == [1]


async def test_look_and_record(store: Store) -> None:
    member = await store.join()
    pushes = [push("a", "c"), push("a", "r"), push("a", "c"), push("a", "f")]
    result = await store.frontier.exchange(member, pushes, limit=9)
    assert result.duplicates == [2, 3]
    assert result.leases == []


async def test_start_requests_enter_once_whoever_sends_them(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await store.frontier.exchange(one, [push("a", "s1"), push("a", "s2")])
    result = await store.frontier.exchange(two, [push("a", "s1"), push("a", "s2"), push("a", "s3")])
    assert result.duplicates == [0, 1]
    assert result.queued == 3


async def test_an_ack_ends_a_lease(store: Store) -> None:
    member = await store.join()
    first = await store.frontier.exchange(member, [push("a"), push("b")], limit=1)
    assert (first.queued, first.leased, first.held) == (1, 1, 1)
    second = await store.frontier.exchange(member, acks=[first.leases[0].id])
    assert (second.queued, second.leased, second.held) == (1, 0, 0)
    assert await store.meta("acked") == "1"


async def test_no_ack_without_the_children_before_it(store: Store) -> None:
    """Invariant 2, also when Redis forgot the batch that held them."""
    member = await store.join()
    lease = (await store.frontier.exchange(member, [push("a")], limit=1)).leases[0]
    await store.client.call("hset", store.keys.worker("w1"), "pushed", 0)
    result = await store.frontier.exchange(member, acks=[lease.id])
    assert result.status == "rollback"
    assert await store.client.call("hlen", store.keys.leases("w1")) == 1
    result = await store.frontier.exchange(member, [push("child")], acks=[lease.id])
    assert result.status == "rollback"
    assert await store.client.call("hlen", store.keys.leases("w1")) == 1


async def test_a_batch_sent_twice_counts_once(store: Store) -> None:
    """The reply got lost: the same batch under the same number is not queued again."""
    member = await store.join()
    await store.frontier.exchange(member, [push("a", "n")])
    member.pushed -= 1
    result = await store.frontier.exchange(member, [push("a", "n")], limit=9)
    assert names(result) == ["a"]


async def test_little_work_is_shared(store: Store) -> None:
    members = [await store.join(f"w{i}") for i in range(4)]
    await store.frontier.exchange(members[0], [push(i) for i in range(8)])
    result = await store.frontier.exchange(members[1], limit=100)
    assert len(result.leases) == 2


async def test_slots_take_turns(store: Store) -> None:
    member = await store.join()
    pushes = [push(f"a{i}") for i in range(50)]
    pushes += [push(f"{slot}{i}", slot=slot) for slot in "bc" for i in range(2)]
    result = await store.frontier.exchange(member, pushes, limit=6)
    assert sorted(names(result)) == ["a0", "a1", "b0", "b1", "c0", "c1"]


async def test_worker_without_work_is_noticed_by_those_who_have_it(store: Store) -> None:
    rich = await store.join("w1")
    await store.frontier.exchange(rich, [push(n) for n in range(3)])
    assert len((await store.frontier.exchange(rich, limit=9)).leases) == 3
    poor = await store.join("w2")
    await store.frontier.exchange(poor)
    assert not (await store.frontier.exchange(rich, limit=9)).hungry, "it wants none"
    await store.frontier.exchange(poor, limit=9)
    assert (await store.frontier.exchange(rich, limit=9)).hungry


async def test_delayed_requests_wait_and_count_as_queued(store: Store) -> None:
    member = await store.join()
    await store.workers.claim_seeding(member)
    await store.workers.settle_seeding(member, "done")
    pushes = [push("later", delay_ms=3_600_000), push("now")]
    result = await store.frontier.exchange(member, pushes, limit=9)
    assert names(result) == ["now"]
    await store.frontier.exchange(member, acks=[result.leases[0].id])
    assert not await store.workers.finish()
    [record] = await store.client.call("zrange", store.keys.delayed, 0, -1)
    await store.client.call("zadd", store.keys.delayed, {record: 1})
    assert names(await store.frontier.exchange(member, limit=9)) == ["later"]


async def test_release_restores_the_front_of_the_queue(store: Store) -> None:
    member = await store.join()
    first = await store.frontier.exchange(member, [push(i) for i in range(5)], limit=3)
    assert await store.frontier.release(member, [lease.id for lease in first.leases]) == 3
    second = await store.frontier.exchange(member, limit=9)
    assert names(second) == ["0", "1", "2", "3", "4"]
    assert {lease.attempts for lease in second.leases} == {0}
    assert not any(lease.suspect for lease in second.leases)


async def test_reclaim_costs_an_attempt_only_what_was_started(store: Store) -> None:
    dead, heir = await store.join("dead"), await store.join("heir")
    first = await store.frontier.exchange(dead, [push(i) for i in range(6)], limit=9)
    await store.frontier.exchange(dead, started=[first.leases[1].id])
    assert await store.reclaim(dead) == (3, 0)
    result = await store.frontier.exchange(heir, limit=9)
    assert names(result)[:3] == ["0", "1", "2"]
    assert [lease.attempts for lease in result.leases[:3]] == [0, 1, 0]
    assert all(lease.suspect for lease in result.leases[:3])
    assert await store.workers.alive() == ["heir"]


async def test_too_many_attempts_make_a_dead_letter(store: Store) -> None:
    lead = await store.join("lead")
    await store.frontier.exchange(lead, [push("poison")])
    for attempt in range(3):
        victim = await store.join(f"victim{attempt}")
        lease = (await store.frontier.exchange(victim, limit=1)).leases[0]
        await store.frontier.exchange(victim, started=[lease.id])
        taken = await store.reclaim(victim, max_attempts=3)
        assert taken == ((1, 0) if attempt < 2 else (0, 1))
    [letter] = [letter async for letter in store.dead_letters.list()]
    assert (letter.reason, letter.attempts, letter.payload) == ("attempts", 3, b"poison")
    assert (await store.frontier.exchange(lead, limit=1)).leases == []


async def test_the_living_are_not_robbed(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")], limit=1)
    taken = await store.frontier.reclaim("w1", timeout=60, max_attempts=5)
    assert taken is None
    assert await store.client.call("hlen", store.keys.leases("w1")) == 1


async def test_whoever_was_struck_off_gets_and_gives_nothing(store: Store) -> None:
    member = await store.join()
    await store.reclaim(member)
    result = await store.frontier.exchange(member, [push("a")], limit=9)
    assert result.status == "unregistered"
    assert await store.client.call("exists", store.keys.slots) == 0


async def test_purge_removes_exactly_its_own_keys(store: Store) -> None:
    others = [Keys(store.keys.name.split(":")[0], name) for name in ("s2", "s:s", "*", "[s]")]
    others.append(Keys(store.keys.name.split(":")[0], "s", "id"))
    for keys in others:
        await store.client.call("hset", keys.meta, "state", "running")
    member = await store.join()
    await store.frontier.exchange(member, [push(i) for i in range(2000)][:1000], limit=5)
    await store.frontier.purge()
    left = await store.client.call("keys", store.keys.prefix + "*")
    assert left == []
    for keys in others:
        assert await store.client.call("exists", keys.meta) == 1
        await store.client.call("unlink", keys.meta)


async def test_purge_of_the_queue_keeps_what_was_seen(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a"), push("b")])
    await store.reclaim(member)
    await store.frontier.purge(queue_only=True)
    member = await store.join("w2")
    result = await store.frontier.exchange(member, [push("a")], limit=9)
    assert result.duplicates == [0]
    assert result.leases == []


@pytest.mark.parametrize("count", [1, 999, 1000])
async def test_large_batches(store: Store, count: int) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push(i) for i in range(count)], limit=count)
    assert len(result.leases) == count
    result = await store.frontier.exchange(member, acks=[lease.id for lease in result.leases])
    assert (result.queued, result.leased) == (0, 0)
