"""A purge is exact, also when it is cut off, or when two run."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store.frontier import Frontier, Membership
from crawlo_scrapy.store.keys import Keys
from tests.store.conftest import Store, names, push


async def fill(store: Store, worker_id: str = "w1") -> Membership:
    """Make a key of every kind."""
    member, dead = await store.join(worker_id), await store.join(f"{worker_id}-dead")
    assert await store.workers.claim_seeding(member) == "yours"
    pushes = [push(i, slot=f"s{i % 7}", priority=i % 3) for i in range(100)]
    pushes += [push("seed", "s1"), push("later", delay_ms=3_600_000)]
    result = await store.frontier.exchange(member, pushes, limit=5)
    await store.dead_letters.bury_lease(member, result.leases[0].id, "decode", "no")
    await store.reclaim(dead)
    for key in (store.keys.stats(1, worker_id), store.keys.control, store.keys.alerts):
        await store.client.call("hset", key, "a", 1)
    await store.client.call("xgroup_create", store.keys.items, "drain", mkstream=True)
    return member


async def all_keys(store: Store) -> set[str]:
    found = store.client.redis.scan_iter(match=store.keys.prefix + "*", count=1000)
    return {key.decode() async for key in found}


async def test_it_counts_the_keys_that_there_were(store: Store) -> None:
    await fill(store)
    before = await all_keys(store)
    for kind in ("meta", "workers", "slots", "delayed", "seeds", "dead", "items", "alerts"):
        assert store.keys.prefix + kind in before
    assert await store.frontier.purge() == len(before)
    assert await all_keys(store) == set()
    assert await store.frontier.purge() == 0


async def test_crawls_of_similar_names_stay(store: Store) -> None:
    project = store.keys.name.split(":")[0]
    await fill(store)
    kept = set()
    for other in (
        Keys(project, "s", "1"), Keys(project, "s:"), Keys(project, "S"), Keys(project + "}", "s"),
        Keys(project, "s*"), Keys(project, "?"), Keys(project, ""), Keys("", f"{project}:s"),
    ):  # fmt: skip
        member = await fill(Store(
            store.client, other, Frontier(store.client, other),
            type(store.workers)(store.client, other),
            type(store.dead_letters)(store.client, other),
        ))  # fmt: skip
        assert member.run == 1
        kept |= await all_keys(Store(store.client, other, *[None] * 3))  # type: ignore[arg-type]
    await store.frontier.purge()
    assert await all_keys(store) == set()
    for key in kept:
        assert await store.client.call("unlink", key) == 1


async def test_it_is_refused_while_a_worker_lives(store: Store) -> None:
    member = await fill(store)
    before = await all_keys(store)
    assert await store.frontier.purge(unless_alive=60) == -1
    assert await all_keys(store) == before
    assert (await store.frontier.exchange(member)).status == "ok"
    await store.client.call("zadd", store.keys.workers, {"w1": 0})
    assert await store.frontier.purge(unless_alive=60) == len(before)


async def test_the_living_are_struck_off_and_leave_no_trace(store: Store) -> None:
    member = await fill(store)
    await store.frontier.purge()
    result = await store.frontier.exchange(member, [push("x")], ["1"], limit=9, started=["1"])
    assert result.status == "unregistered"
    assert await store.workers.beat(member, timeout=60) is None
    assert await store.workers.claim_seeding(member) == "theirs"
    assert not await store.workers.settle_seeding(member, "done")
    assert await store.frontier.release(member, ["1"]) == 0
    assert not await store.workers.finish()
    assert await store.workers.leave(member, "shutdown", keep_crawl=False) == ("left", 0)
    assert await store.reclaim(member) == (0, 0)
    await store.frontier.purge()
    assert await all_keys(store) == set()


async def test_one_that_was_cut_off_is_taken_up(store: Store) -> None:
    await fill(store)
    # Its first step alone: the process that ran it is gone.
    await store.client.call("hset", store.keys.meta, mapping={"state": "purging", "purger": "x"})
    status, _ = await store.workers.join("w2", {}, bucket_fill=400)
    assert status == "purging"
    await store.frontier.purge()
    assert (await store.join("w2")).run == 1


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_slow_purge_does_not_harm_the_next_crawl(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_the_end: bool
) -> None:
    """Another took over, ended, and a new crawl began, while the first still ran."""
    await fill(store)
    scan = store.client.scan

    async def interrupted(*args, **options):  # type: ignore[no-untyped-def]
        monkeypatch.undo()
        await store.frontier.purge()
        member = await store.join("new")
        await store.frontier.exchange(member, [push("a"), push("b")])
        async for batch in scan(*args, **options):
            yield [] if at_the_end else batch

    monkeypatch.setattr(store.client, "scan", interrupted)
    await store.frontier.purge()
    assert await store.meta("state") == "running"
    newcomer = await store.join("w9")
    assert names(await store.frontier.exchange(newcomer, limit=1)) == ["a"]


async def test_the_queue_alone(store: Store) -> None:
    await fill(store)
    seen_before = await store.meta("seen")
    await store.frontier.purge(queue_only=True)
    left = {key.removeprefix(store.keys.prefix).split(":")[0] for key in await all_keys(store)}
    assert left == {"meta", "seen", "stats", "items"}
    assert await store.meta("seen") == seen_before
    member = await store.join("w2")
    assert member.run == 2
    assert await store.workers.claim_seeding(member) == "yours"
    result = await store.frontier.exchange(member, [push("seed", "s1"), push(1)], limit=9)
    assert names(result) == ["seed"]
    assert result.duplicates == [1]
    assert (result.queued, result.leased) == (0, 1)


async def test_a_worker_of_before_does_not_join_what_follows(store: Store) -> None:
    member = await fill(store)
    await store.frontier.purge(queue_only=True)
    status, _ = await store.workers.join("w1~2", {}, bucket_fill=400, before=member)
    assert status == "lost"


async def test_leaving_twice_still_purges(store: Store) -> None:
    """The first answer got lost."""
    member = await store.join()
    await store.workers.claim_seeding(member)
    await store.workers.settle_seeding(member, "done")
    assert await store.workers.finish()
    for _ in range(2):
        assert await store.workers.leave(member, "finished", keep_crawl=False) == ("purge", 0)
    await store.frontier.purge()
    assert await all_keys(store) == set()


@pytest.mark.parametrize("kind", ["items", "items:dead"])
async def test_items_that_nobody_has_drained_stay(
    store: Store, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(store)
    keys = store.keys
    await store.client.call("xadd", keys.prefix + kind, {"json": "{}"})
    for key in (keys.items_writers, keys.items_seen, keys.items_seen_prefix + "0:0"):
        await store.client.call("hset", key, "a", 1)
    before = await all_keys(store)
    kept = {keys.items, keys.items_writers} | {keys.prefix + kind}
    assert await store.frontier.purge() == len(before) - len(kept)
    assert await all_keys(store) == kept
    assert f"`crawlo-scrapy items drain {keys.name} --to …`" in caplog.text
    # What begins anew has them, too; and so on, until somebody decides.
    member = await store.join("w2")
    assert member.run == 1
    await store.frontier.purge()
    assert await all_keys(store) == kept
    assert await store.frontier.purge(items=True) == len(kept)
    assert await all_keys(store) == set()
