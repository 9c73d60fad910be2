"""Registry, seeding right, and the test for the end."""

from __future__ import annotations

from crawlo_scrapy.store.frontier import Membership
from tests.store.conftest import Store, push


async def finished(store: Store, member: Membership) -> None:
    assert await store.workers.claim_seeding(member) == "yours"
    assert await store.workers.settle_seeding(member, "done")
    assert await store.workers.finish()


async def join_again(store: Store, worker_id: str, **options: object) -> str:
    status, _ = await store.workers.join(worker_id, {}, bucket_fill=400, **options)  # type: ignore[arg-type]
    return status


async def test_the_next_run_begins_when_all_have_left(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a", "s1")])
    lease = (await store.frontier.exchange(member, limit=1)).leases[0]
    await store.frontier.exchange(member, acks=[lease.id])
    await finished(store, member)
    assert await join_again(store, "late") == "finished"
    assert await store.workers.leave(member, "finished", keep_crawl=True) == ("left", 0)
    second = await store.join("w2")
    assert second.run == 2
    assert await store.workers.claim_seeding(second) == "yours"
    result = await store.frontier.exchange(second, [push("a", "s1"), push("a")])
    assert result.duplicates == [1]  # seeded again, and the seen set was kept


async def test_whoever_started_before_the_end_came_too_late(store: Store) -> None:
    member = await store.join()
    await finished(store, member)
    await store.workers.leave(member, "finished", keep_crawl=True)
    assert await join_again(store, "slow", process_age=60.0) == "finished"
    assert await join_again(store, "new") == "joined"


async def test_a_named_crawl_is_not_run_again(store: Store) -> None:
    member = await store.join(named=True)
    await finished(store, member)
    await store.workers.leave(member, "finished", keep_crawl=True)
    assert await join_again(store, "w2", named=True) == "finished"


async def test_another_format_is_refused(store: Store) -> None:
    await store.join()
    await store.client.call("hset", store.keys.meta, "format", "0")
    assert await join_again(store, "w2") == "format"


async def test_a_crawl_that_is_gone_is_noticed(store: Store) -> None:
    member = await store.join()
    await store.frontier.purge()
    assert await join_again(store, "w1~2", before=member) == "lost"


async def test_a_late_beat_revives_nobody(store: Store) -> None:
    member = await store.join()
    assert await store.workers.beat(member, timeout=60) is not None
    await store.reclaim(member)
    assert await store.workers.beat(member, timeout=60) is None
    assert await store.workers.alive() == []


async def test_beats_tell_who_is_dead(store: Store) -> None:
    member = await store.join("w1")
    await store.join("w2")
    await store.client.call("zadd", store.keys.workers, {"w2": 0})
    beat = await store.workers.beat(member, timeout=60)
    assert beat is not None
    assert beat.dead == ["w2"]


async def test_one_seeds_and_another_takes_over(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    assert await store.workers.claim_seeding(one) == "yours"
    assert await store.workers.claim_seeding(two) == "theirs"
    assert not await store.workers.settle_seeding(two, "done")
    await store.reclaim(one)
    assert await store.workers.claim_seeding(two) == "yours"
    assert await store.workers.settle_seeding(two, "done")
    assert await store.workers.claim_seeding(two) == "done"


async def test_a_worker_with_leases_does_not_leave(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")], limit=1)
    assert await store.workers.leave(member, "shutdown", keep_crawl=True) == ("held", 1)


async def test_the_last_to_leave_purges_a_crawl_that_is_not_kept(store: Store) -> None:
    one, two = await store.join("w1"), await store.join("w2")
    await finished(store, one)
    assert await store.workers.leave(one, "finished", keep_crawl=False) == ("left", 1)
    assert await store.workers.leave(two, "finished", keep_crawl=False) == ("purge", 0)
    assert await join_again(store, "w3") == "purging"


async def test_an_unfinished_crawl_is_never_purged(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push("a")])
    assert await store.workers.leave(member, "shutdown", keep_crawl=False) == ("left", 0)


async def test_finished_means_finished(store: Store) -> None:
    """Invariant 5, each condition alone."""
    one, two = await store.join("w1"), await store.join("w2")
    assert not await store.workers.finish()  # not seeded
    await store.workers.claim_seeding(one)
    await store.workers.settle_seeding(one, "done")
    await store.frontier.exchange(one, [push("a")])
    assert not await store.workers.finish()  # queued
    lease = (await store.frontier.exchange(two, limit=1)).leases[0]
    assert not await store.workers.finish()  # leased by another
    await store.frontier.exchange(two, acks=[lease.id], local=1)
    assert not await store.workers.finish()  # in the memory of another
    await store.frontier.exchange(two)
    assert await store.workers.finish()
    await store.frontier.exchange(two, [push("b")])
    assert not await store.workers.finish()  # a later push opens it again


async def test_each_worker_with_seeds_of_its_own(store: Store) -> None:
    one = await store.join("w1", seeding="every")
    two = await store.join("w2", seeding="every")
    assert await store.workers.settle_seeding(one, "done")
    assert not await store.workers.finish()
    assert await store.workers.settle_seeding(two, "done")
    assert await store.workers.finish()


async def test_counters_that_drifted_do_not_matter(store: Store) -> None:
    member = await store.join()
    await store.workers.claim_seeding(member)
    await store.workers.settle_seeding(member, "done")
    await store.client.call("hset", store.keys.meta, mapping={"queued": 7, "leased": -3})
    assert await store.workers.finish()
    assert await store.meta("queued") == "0"


async def test_another_crawl_of_the_same_number_is_not_ours(store: Store) -> None:
    """Redis was emptied, and somebody began anew: run 1 again, but another."""
    member = await store.join()
    await store.frontier.purge()
    await store.join("new")
    await store.client.call("hset", store.keys.meta, "created", member.created + 1)
    assert await join_again(store, "w1~2", before=member) == "lost"
