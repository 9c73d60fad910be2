"""Joining, seeding and the end, in every combination."""

from __future__ import annotations

from itertools import combinations

import pytest

from crawlo_scrapy.store.frontier import Membership
from tests.store.conftest import Store, names, push


async def settle(store: Store, member: Membership, outcome: str = "done") -> None:
    assert await store.workers.claim_seeding(member) == "yours"
    assert await store.workers.settle_seeding(member, outcome)


async def try_join(store: Store, worker_id: str, **options: object) -> str:
    status, _ = await store.workers.join(worker_id, {}, bucket_fill=400, **options)  # type: ignore[arg-type]
    return status


#: Any of these keeps a crawl from being finished.
CONDITIONS = ["unseeded", "queued", "delayed", "leased", "local", "seeding", "paused"]


COMBINATIONS = [
    combination
    for count in range(len(CONDITIONS) + 1)
    for combination in combinations(CONDITIONS, count)
]


@pytest.mark.parametrize("held", COMBINATIONS, ids="+".join)
async def test_finished_is_what_nothing_holds(store: Store, held: tuple[str, ...]) -> None:
    now = {name: name in held for name in CONDITIONS}
    one, two = await store.join("w1"), await store.join("w2")
    if not now["unseeded"]:
        await settle(store, one)
    if now["leased"]:
        result = await store.frontier.exchange(one, [push("leased")], limit=1)
        assert names(result) == ["leased"]
    if now["queued"]:
        await store.frontier.exchange(one, [push("queued")])
    if now["delayed"]:
        await store.frontier.exchange(one, [push("delayed", delay_ms=3_600_000)])
    if now["local"]:
        await store.frontier.exchange(two, local=1)
    if now["seeding"]:
        await store.client.call("hset", store.keys.worker("w2"), "seeding", 1)
    if now["paused"]:
        await store.client.call("hset", store.keys.meta, "state", "paused")
    assert bool(await store.workers.finish()) == (not held)
    assert (await store.meta("state") == "finished") == (not held)


async def test_what_the_dead_held_is_not_finished(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await settle(store, one)
    await store.frontier.exchange(two, [push("a")], limit=1, local=3)
    await store.client.call("zadd", store.keys.workers, {"w2": 0})
    assert not await store.workers.finish()
    await store.reclaim(two)
    assert not await store.workers.finish()
    [lease] = (await store.frontier.exchange(one, limit=1)).leases
    await store.frontier.exchange(one, acks=[lease.id])
    assert await store.workers.finish()  # what was local died with its worker


async def test_everybody_hears_of_the_end(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await settle(store, one)
    assert await store.workers.finish()
    assert await store.workers.finish()
    assert (await store.frontier.exchange(two)).state == "finished"
    beat = await store.workers.beat(two, timeout=60)
    assert beat is not None
    assert beat.state == "finished"


async def test_an_id_is_taken_until_its_worker_is_struck_off(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")], limit=1)
    assert await try_join(store, "w1") == "taken"
    assert await store.client.call("hlen", store.keys.leases("w1")) == 1
    await store.reclaim(member)
    assert await try_join(store, "w1") == "joined"


async def test_a_named_crawl_while_it_runs_and_after(store: Store) -> None:
    member = await store.join(named=True)
    assert await try_join(store, "w2", named=True) == "joined"
    await settle(store, member)
    assert await store.workers.finish()
    assert await try_join(store, "w3", named=True) == "finished"


async def test_failed_seeding_is_tried_again_by_the_next_worker(store: Store) -> None:
    member = await store.join()
    await settle(store, member, "failed")
    other = await store.join("w2")
    assert await store.workers.claim_seeding(other) == "done"  # not while the first is there
    for one in (member, other):
        await store.workers.leave(one, "shutdown", keep_crawl=True)
    third = await store.join("w3")
    assert third.run == 1
    assert await store.workers.claim_seeding(third) == "yours"


async def test_a_seeder_that_leaves_hands_on_the_rest(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await store.frontier.exchange(one, [push("a", "s1")])
    await settle(store, one, "")
    assert await store.workers.claim_seeding(two) == "yours"
    result = await store.frontier.exchange(two, [push("a", "s1"), push("b", "s1")])
    assert result.duplicates == [0]


async def test_a_seeder_that_leaves_without_a_word(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    assert await store.workers.claim_seeding(one) == "yours"
    assert await store.workers.leave(one, "shutdown", keep_crawl=True) == ("left", 1)
    assert await store.workers.claim_seeding(two) == "yours"


async def test_a_zombie_does_not_seed(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    assert await store.workers.claim_seeding(one) == "yours"
    await store.reclaim(one)
    assert await store.meta("seeder") == ""
    assert await store.workers.claim_seeding(one) == "theirs"
    assert await store.workers.claim_seeding(two) == "yours"
    assert not await store.workers.settle_seeding(one, "done")
    assert (await store.frontier.exchange(one, [push("a", "s1")])).status == "unregistered"
    assert await store.meta("seeder") == "w2"


async def test_a_worker_that_was_struck_off_returns_under_a_new_name(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")], limit=1)
    await store.reclaim(member)
    again = await store.join("w1~2", before=member)
    assert (again.run, again.pushed) == (1, 0)
    assert names(await store.frontier.exchange(again, limit=1)) == ["a"]


async def test_a_worker_that_was_struck_off_returns_too_late(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await settle(store, two)
    await store.reclaim(one)
    assert await store.workers.finish()
    assert await try_join(store, "w1~2", before=one) == "finished"
    await store.workers.leave(two, "finished", keep_crawl=True)
    assert await store.meta("finished") != ""
    assert (await store.join("w3")).run == 2
    assert await store.meta("finished") == ""
    assert await try_join(store, "w1~2", before=one) == "finished"


async def test_seeding_every_begins_again_even_if_late(store: Store) -> None:
    one = await store.join("w1", seeding="every")
    assert await store.workers.claim_seeding(one) == "done"
    assert await store.workers.settle_seeding(one, "done")
    assert await store.workers.finish()
    two = await store.join("w2", seeding="every", process_age=60.0)
    assert two.run == 2
    assert not await store.workers.finish()


async def test_the_dead_do_not_leave(store: Store) -> None:
    """Who was struck off keeps the reason that others gave, and is not registered anew."""
    member = await store.join()
    await store.reclaim(member)
    assert await store.workers.leave(member, "shutdown", keep_crawl=True) == ("left", 0)
    record = await store.client.call("hgetall", store.keys.worker("w1"))
    assert record[b"reason"] == b"dead"
    assert 0 < await store.client.call("ttl", store.keys.worker("w1")) <= 24 * 60 * 60


async def test_leaving_keeps_the_record_for_a_while(store: Store) -> None:
    member = await store.join()
    await store.workers.leave(member, "finished", keep_crawl=True)
    record = await store.client.call("hgetall", store.keys.worker("w1"))
    assert (record[b"host"], record[b"reason"]) == (b"h", b"finished")
    assert b"pushed" not in record
    assert 0 < await store.client.call("ttl", store.keys.worker("w1")) <= 24 * 60 * 60


async def test_beats_carry_records_and_tell_leases(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push("a")], limit=1)
    beat = await store.workers.beat(member, timeout=60, record={"role": "worker"})
    assert beat is not None
    assert beat.leases == {lease.id for lease in result.leases}
    assert (beat.state, beat.dead) == ("running", [])
    record = await store.client.call("hgetall", store.keys.worker("w1"))
    assert (record[b"role"], record[b"host"]) == (b"worker", b"h")


async def test_living_and_registered(store: Store) -> None:
    await store.join("w1")
    await store.join("w2")
    await store.client.call("zadd", store.keys.workers, {"w2": 0})
    assert await store.workers.living(60) == ["w1"]
    assert sorted(await store.workers.alive()) == ["w1", "w2"]
