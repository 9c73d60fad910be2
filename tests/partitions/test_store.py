"""Joining, losing, feeding, looking at and removing a divided crawl."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import StoreRefused, StoreUnavailable
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.inspect import find_crawls, inspect
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.purging import purge
from crawlo_scrapy.store.workers import Workers
from tests.crawling import Peek
from tests.partitions.conftest import COUNT, HOSTS, Divided, request
from tests.store.conftest import names, push


async def everything(divided: Divided) -> list[bytes]:
    found = []
    for end in ("}", "#"):
        pattern = f"crawlo:{{{divided.keys.name}{end}*"
        async for page in divided.client.scan(pattern, 1000):
            found += page
    return sorted(found)


async def test_who_divides_it_in_another_way_is_refused(divided: Divided) -> None:
    await divided.join()
    for layout in (Layout(), Layout(4), Layout(COUNT, "fingerprint")):
        status, found = await divided.workers.join("w2", {}, bucket_fill=400, layout=layout)
        assert (status, found) == ("layout", f"{COUNT}:slot")
    text = str(partitions.check_layout(divided.keys, "3:slot", Layout(4)))
    assert "begun with 3 partitions by slot" in text
    assert "repartition" in text


async def test_also_when_only_the_seen_set_is_left(divided: Divided) -> None:
    await divided.join()
    await purge(divided.client, divided.keys, queue_only=True)
    status, _ = await divided.workers.join("w2", {}, bucket_fill=400, layout=Layout())
    assert status == "layout"


async def test_a_crawl_of_an_earlier_version_has_one(divided: Divided) -> None:
    workers = Workers(divided.client, divided.keys)
    await workers.join("w1", {}, bucket_fill=400)
    await divided.client.call("hdel", divided.keys.meta, "layout", "root")
    assert (await workers.join("w2", {}, bucket_fill=400))[0] == "joined"
    assert (await workers.join("w3", {}, bucket_fill=400, layout=Layout(2)))[0] == "layout"


async def test_a_partition_that_was_emptied(divided: Divided) -> None:
    await divided.join()
    part = divided.parts[1]
    async for page in divided.client.scan(part.prefix + "*", 100):
        for key in page:
            await divided.client.call("unlink", key)
    assert await divided.open(part, "w1", before=True) == "lost"
    assert await divided.open(part, "w2") == "lost", "a newcomer does not cover it up"
    assert await divided.open(part) == "lost"


async def test_partitions_of_a_crawl_whose_home_was_emptied(divided: Divided) -> None:
    await divided.join()
    await divided.exchange(1, "w1", [request(1)])
    await divided.client.call("unlink", divided.keys.meta, divided.keys.workers)
    await divided.workers.join("w2", {}, bucket_fill=400, layout=divided.layout)
    assert await divided.open(divided.parts[1], "w2") == "lost"
    await divided.client.call("unlink", divided.keys.meta)
    assert await purge(divided.client, divided.keys) > 0
    assert await everything(divided) == []


async def test_a_worker_that_died_before_it_noted_a_partition(divided: Divided) -> None:
    await divided.join()
    await divided.client.call("hdel", divided.keys.meta, f"has:{divided.parts[1].prefix}")
    assert await divided.open(divided.parts[1], "w2") == "joined"
    assert await divided.meta(f"has:{divided.parts[1].prefix}") == await divided.meta("token", 1)


async def test_a_namesake(divided: Divided) -> None:
    await divided.join()
    assert await divided.open(divided.parts[1], "w1") == "taken"
    assert await divided.open(divided.parts[1], "w1~2") == "joined"


async def test_the_next_run_begins_in_all(divided: Divided) -> None:
    await divided.join()
    await divided.seeded()
    await divided.exchange(1, "w1", [request(1, "start", "s1"), request(1, "seen")])
    leases = (await divided.exchange(1, limit=5)).leases
    await divided.exchange(1, "w1", [], [lease.id for lease in leases])
    assert await divided.finish() == "finished"
    old = divided.members["w1"]
    await divided.workers.leave(old[0], "finished", keep_crawl=True)
    await divided.join("w2")
    assert await divided.meta("run", 1) == "2"
    again = await divided.exchange(1, "w2", [request(1, "start", "s1"), request(1, "seen")])
    assert again.duplicates == [1], "start requests are new, what was seen is not"


async def test_a_worker_of_an_earlier_run(divided: Divided) -> None:
    await divided.join()
    await divided.client.call("hset", divided.parts[1].meta, "created", 2**45)
    assert await divided.open(divided.parts[1], "w1", before=True) == "gone"


async def test_seeding_once_more_begins_anew_in_all(divided: Divided) -> None:
    await divided.join()
    await divided.seeded()
    await divided.exchange(1, "w1", [request(1, "start", "s1")])
    assert await divided.workers.claim_due(divided.members["w1"][0], 1000)
    for _ in range(2):  # again is what a worker does that takes over
        await partitions.begin_seeding(divided.client, divided.keys, divided.parts)
        result = await divided.exchange(1, "w1", [request(1, "start", "s1")])
    assert result.duplicates == [0], "once for each time"
    assert await divided.meta("queued", 1) == "2"


async def test_what_a_program_feeds(divided: Divided, redis_url: str) -> None:
    feed = Feed(divided.client, divided.keys, layout=divided.layout)
    pushes = [request(n % COUNT, f"r{n}") for n in range(10)] + [request(0, "r0")]
    fed = await feed.push(pushes)
    assert (fed.queued, fed.duplicates) == (10, [10])
    await divided.join()
    got = [names(await divided.exchange(n, limit=99)) for n in range(COUNT)]
    assert got == [[f"r{n}" for n in range(10) if n % COUNT == place] for place in range(COUNT)]
    other = Feed(divided.client, divided.keys, layout=Layout(2))
    with pytest.raises(StoreRefused, match="begun with 3 partitions by slot"):
        await other.push([request(0, "z")])
    knows_nothing = Feed(divided.client, divided.keys)
    assert (await knows_nothing.push([request(1, "z"), request(1, "r1")])).duplicates == [1]


async def test_a_batch_that_failed_half_way_counts_once(
    divided: Divided, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(divided.client, divided.keys, layout=divided.layout)
    pushes = [request(n, "x", "n") for n in range(COUNT)]
    push_to = feed._push_to

    async def fails_at_the_last(number, share):  # type: ignore[no-untyped-def]
        if number == COUNT - 1:
            raise StoreUnavailable("gone")
        return await push_to(number, share)

    monkeypatch.setattr(feed, "_push_to", fails_at_the_last)
    with pytest.raises(StoreUnavailable):
        await feed.push(pushes)
    monkeypatch.undo()
    assert (await feed.push(pushes)).queued == COUNT
    state = await inspect(divided.client, divided.keys)
    assert (state.queued, state.pushed) == (COUNT, COUNT)


@pytest.mark.parametrize("by", ["slot", "fingerprint"])
async def test_fingerprints_without_a_slot_are_known_wherever_they_may_come(
    divided: Divided, by: str
) -> None:
    divided = Divided(divided.client, divided.keys, Layout(COUNT, by))
    feed = Feed(divided.client, divided.keys, layout=divided.layout)
    await feed.record([f"u{n}".encode() for n in range(20)])
    fed = await feed.push([push(f"u{n}", slot=HOSTS[n % COUNT]) for n in range(20)])
    assert fed.duplicates == list(range(20))


async def test_a_look_at_it(divided: Divided) -> None:
    await divided.join()
    for number in range(COUNT):
        pushes = [request(number, f"{number}-{n}", priority=number) for n in range(number + 2)]
        await divided.exchange(number, "w1", pushes)
    await divided.exchange(2, "w1", limit=1, started=[])
    state = await inspect(divided.client, divided.keys)
    assert (state.queued, state.leased, state.pushed, state.slots) == (8, 1, 9, 3)
    assert dict(state.by_slot) == {HOSTS[0]: 2, HOSTS[1]: 3, HOSTS[2]: 3}
    assert state.by_priority == [(2, 3), (1, 3), (0, 2)]
    assert state.layout == divided.layout
    assert divided.keys.name in await find_crawls(divided.client, divided.keys.names[0])
    assert len(await find_crawls(divided.client, divided.keys.names[0])) == 1


async def test_dead_letters(divided: Divided) -> None:
    await divided.join()
    for number in range(COUNT):
        letters = DeadLetters(divided.client, divided.parts[number])
        member = divided.members["w1"][number]
        # Two partitions may give out the same id.
        await letters.bury_request(member, "7", request(number, str(number)), "failed", "why")
    letters = DeadLetters(divided.client, divided.keys)
    assert await letters.count() == COUNT
    found = {letter.payload.decode(): letter.id async for letter in letters.list()}
    assert await letters.requeue([found["1"]]) == 1
    assert await letters.purge([found["0"]]) == 1
    assert [letter.payload async for letter in letters.list()] == [b"2"]
    assert names(await divided.exchange(1, limit=5)) == ["1"]


async def test_a_purge_removes_all_of_it_and_nothing_else(divided: Divided) -> None:
    await divided.join()
    others = [Divided(divided.client, Keys(divided.keys.names[0], name)) for name in ("t", "s#1")]
    for crawl in (divided, *others):
        if crawl is not divided:
            await crawl.join()
        for number in range(COUNT):
            await crawl.exchange(number, "w1", [request(number)])
    before = [await everything(other) for other in others]
    count = len(await everything(divided))
    assert await purge(divided.client, divided.keys) == count
    assert await everything(divided) == []
    assert [await everything(other) for other in others] == before
    for other in others:
        await purge(divided.client, other.keys)


async def test_the_queue_alone(divided: Divided) -> None:
    await divided.join()
    await divided.exchange(1, "w1", [request(1, "a"), request(1, "b")])
    await purge(divided.client, divided.keys, queue_only=True)
    await divided.join("w2")
    result = await divided.exchange(1, "w2", [request(1, "a"), request(1, "c")], limit=9)
    assert result.duplicates == [0]
    assert names(result) == ["c"]


async def test_samples_of_the_crawl_know_all_partitions(divided: Divided, redis_url: str) -> None:
    await divided.join()
    for number in range(COUNT):
        await divided.exchange(number, "w1", [request(number)])
    await divided.exchange(1, limit=1)
    await partitions.note_elsewhere(divided.client, divided.parts)
    peek = Peek(redis_url, *divided.keys.names)
    assert peek.meta("elsewhere") == "1,1,0,2,0"


async def test_delay_by_hand_is_where_the_slot_is(divided: Divided) -> None:
    control, part = Control(divided.client, divided.keys), divided.parts[1]
    await divided.join()
    await divided.exchange(1, "w1", [request(1, "x"), request(1, "y")])
    await control.delay("me", HOSTS[1], 3600)
    assert len((await divided.exchange(1, limit=9, room=9)).leases) == 1
    before = await divided.client.call("zscore", part.timed, HOSTS[1])
    await control.delay("me", HOSTS[1], 20)
    after = await divided.client.call("zscore", part.timed, HOSTS[1])
    assert before - after > 3_500_000, "a shorter one holds at once"
