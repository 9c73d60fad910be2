"""Limits of slots: kept over all workers, by Redis's clock, whatever becomes of the workers."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.frontier import Exchanged, Frontier, Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.slots import AT_ONCE, Answer, SlotLimit, Slots, Throttle
from crawlo_scrapy.store.workers import Workers
from tests.backends import address_of
from tests.store.background import Background
from tests.store.conftest import Store, names, push


@pytest.fixture
def slots(store: Store) -> Slots:
    return Slots(store.client, store.keys)


async def lease(
    store: Store, member: Membership, *, limit: int = 0, room: int = 0, **options: Any
) -> Exchanged:
    return await store.frontier.exchange(member, limit=limit, room=room, **options)


async def due(store: Store, slot: str) -> float:
    """When the slot's next request may be leased, in ms; 0 when it is not a timed one."""
    return float(await store.client.call("zscore", store.keys.timed, slot) or 0)


async def advance(store: Store, slot: str) -> None:
    """Let the slot's time come."""
    key = store.keys.timed if await due(store, slot) else store.keys.pace
    await store.client.call("zadd", key, {slot: 1})


async def test_delay_holds_between_all_workers(store: Store, slots: Slots) -> None:
    await slots.configure({"a": SlotLimit(delay=2)})
    one, two = await store.join("w1"), await store.join("w2")
    await store.frontier.exchange(one, [push(n) for n in range(9)] + [push("b", slot="b")])
    first = await lease(store, one, limit=10, room=10, horizon=3.9, serves=["a"])
    assert {x.payload: x.wait for x in first.leases if x.wait is None} == {b"b": None}
    waits = [x.wait for x in first.leases if x.wait is not None]
    assert waits[0] == pytest.approx(0, abs=0.002)
    assert waits[1] == pytest.approx(2, abs=0.002)
    assert len(waits) == 2
    assert names(await lease(store, two, limit=10, room=10)) == []
    assert names(await lease(store, two, limit=10, room=10, horizon=60)) == []
    second = await lease(store, one, room=1, horizon=60, serves=["a"], behind={"a": 0.5})
    assert 3.5 < (second.leases[0].wait or 0) <= 4.5, "what it was late is added"
    assert len(second.leases) == 1, "no more than there is room for"
    await advance(store, "a")
    assert len(names(await lease(store, two, room=10))) == 1, "who does not serve it takes over"


async def test_time_of_a_slot_outlives_its_queue(store: Store, slots: Slots) -> None:
    await slots.configure({"": SlotLimit(delay=60)})
    member = await store.join()
    await store.frontier.exchange(member, [push(1)])
    assert names(await lease(store, member, room=5)) == ["1"]
    await store.frontier.exchange(member, [push(2)])
    assert names(await lease(store, member, room=5)) == []
    await advance(store, "a")
    assert names(await lease(store, member, room=5)) == ["2"]
    await advance(store, "a")
    await lease(store, member, room=5)
    assert await store.client.call("exists", store.keys.pace) == 0, "no memory of past times"


@pytest.mark.parametrize("end", ["ack", "release", "reclaim", "bury"])
async def test_concurrency(store: Store, slots: Slots, end: str) -> None:
    await slots.configure({"a": SlotLimit(concurrency=2)})
    one, two = await store.join("w1"), await store.join("w2")
    await store.frontier.exchange(one, [push(n) for n in range(5)])
    held = await lease(store, one, room=1)
    assert names(await lease(store, two, room=5)) == ["1"]
    assert names(await lease(store, two, room=5)) == []
    assert not await store.workers.finish()
    lease_id = held.leases[0].id
    if end == "ack":
        await store.frontier.exchange(one, acks=[lease_id])
    elif end == "release":
        await store.frontier.release(one, [lease_id])
    elif end == "reclaim":
        await store.reclaim(one)
    else:
        await store.dead_letters.bury_lease(one, lease_id, "decode", "")
    assert len(names(await lease(store, two, room=5))) == 1
    assert names(await lease(store, two, room=5)) == []


async def test_nothing_comes_of_slots_that_a_worker_does_not_want(
    store: Store, slots: Slots
) -> None:
    await slots.configure({"x": SlotLimit(delay=60), "y": SlotLimit(delay=60)})
    member = await store.join()
    await store.frontier.exchange(
        member, [push(f"{slot}{n}", slot=slot) for n in range(3) for slot in "abcxy"]
    )

    async def leased(*unwanted: str) -> list[str]:
        result = await store.frontier.exchange(
            member, limit=4, room=4, horizon=0.01, unwanted=unwanted
        )
        return sorted(names(result))

    assert await leased("a", "b", "c", "x", "y") == []
    assert await leased("b", "x") == ["a0", "a1", "c0", "c1", "y0"]
    assert await leased("a", "c") == ["b0", "b1", "b2", "x0"]
    assert await leased() == ["a2", "c2"]


async def test_own_limit_beats_that_for_all(store: Store, slots: Slots) -> None:
    await slots.configure({"": SlotLimit(60, 1), "free": SlotLimit(0, 0)})
    member = await store.join()
    await store.frontier.exchange(
        member, [push(f"{slot}{n}", slot=slot) for slot in ("free", "a") for n in range(3)]
    )
    assert names(await lease(store, member, limit=9, room=9)) == ["free0", "free1", "free2", "a0"]


async def test_limits_of_very_many_slots(store: Store, slots: Slots) -> None:
    assert await slots.configure({f"{n}.example": SlotLimit(1, 1) for n in range(10_000)})
    assert await store.client.call("hlen", store.keys.limits) == 20_000


async def test_limit_that_comes_and_goes_in_the_middle(store: Store, slots: Slots) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push(n) for n in range(5)])
    assert await slots.configure({"a": SlotLimit(delay=60)})
    assert not await slots.configure({"a": SlotLimit(delay=60)})
    assert names(await lease(store, member, limit=9, room=9)) == ["0"]
    await slots.configure({})
    await advance(store, "a")
    assert names(await lease(store, member, limit=9, room=9)) == []  # it moves
    assert names(await lease(store, member, limit=9)) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("queued", [False, True])
async def test_hold(store: Store, slots: Slots, limited: bool, queued: bool) -> None:
    if limited:
        await slots.configure({"a": SlotLimit(delay=60)})
    member = await store.join()
    if queued:
        await store.frontier.exchange(member, [push(1)])
    await slots.hold("a", 60)
    await slots.hold("a", 1)
    assert await slots.holds() == ["a"]
    await store.frontier.exchange(member, [push(2), push("b", slot="b")])
    result = await lease(store, member, limit=9, room=9, horizon=1)
    assert names(result) == ["b"]
    assert result.news, "workers look what has changed"
    assert not await store.workers.finish()
    assert 58_000 < await due(store, "a") - await now(store) <= 60_000
    await advance(store, "a")
    await lease(store, member, room=9)
    assert len(names(await lease(store, member, limit=9, room=9))) == (0 if limited else 1 + queued)


async def now(store: Store) -> float:
    seconds, micros = await store.client.call("time")
    return int(seconds) * 1000 + int(micros) / 1000


async def test_throttle_follows_latency(store: Store, slots: Slots) -> None:
    throttle = Throttle(first=5, least=0.1, most=8, target=2)

    async def delay(slot: str = "a") -> float:
        found = await store.client.call("hget", store.keys.limits, f"throttle:{slot}")
        return float(found) / 1000

    await slots.adapt(throttle, [])
    assert await delay("") == 5
    member = await store.join()
    await store.frontier.exchange(member, [push(n) for n in range(9)])
    assert names(await lease(store, member, limit=9, room=9)) == ["0"], "the first delay holds"
    # As in scrapy.extensions.throttle: half way to the latency / 2, at once when that is more.
    for latency, success, expected in [
        (2, True, 3), (2, True, 2), (1, False, 2), (7, False, 3.5), (40, True, 8), (0, True, 4),
    ]:  # fmt: skip
        await slots.adapt(throttle, [Answer("a", latency, success)])
        assert await delay() == expected
    await slots.adapt(throttle, [Answer("a", 0, True)] * 9 + [Answer("b", 2, True)])
    assert (await delay(), await delay("b")) == (0.1, 3)


async def test_delays_of_options_that_were_switched_off_are_forgotten(
    store: Store, slots: Slots
) -> None:
    member = await store.join()
    await slots.adapt(Throttle(first=60, least=0, most=60, target=1), [Answer("a", 60, True)])
    await slots.learn("a", 60)
    await Control(store.client, store.keys).delay("me", "b", 60)
    await store.frontier.exchange(
        member, [push(f"{slot}{n}", slot=slot) for slot in "abc" for n in range(3)]
    )
    assert len(names(await lease(store, member, limit=9, room=9))) == 3
    assert not await slots.configure({}), "a second worker with the same settings"
    assert names(await lease(store, member, limit=9, room=9)) == []
    await slots.configure({}, adapted=False, learned=False)
    assert await store.client.call("hkeys", store.keys.limits) == [b"set:b"]
    assert await due(store, "b") - await now(store) > 58_000, "what was set by hand stays"
    assert await due(store, "c") <= await now(store), "it need not wait for the end of its delay"


async def test_delay_that_was_learned_or_set_by_hand(store: Store, slots: Slots) -> None:
    control = Control(store.client, store.keys)
    await slots.configure({"": SlotLimit(delay=1)})
    member = await store.join()
    await store.frontier.exchange(member, [push(n) for n in range(9)])

    async def next_delay() -> int:
        await advance(store, "a")
        assert len(names(await lease(store, member, room=1))) == 1
        return round((await due(store, "a") - await now(store)) / 1000)

    assert await next_delay() == 1
    await slots.learn("a", 30)
    assert await next_delay() == 30
    await control.delay("me", "a", 7)
    assert await next_delay() == 7, "by hand is above all"
    await control.delay("me", "a", None)
    await slots.learn("a", 0)
    assert await next_delay() == 1


@pytest.mark.parametrize("queued", [True, False])
@pytest.mark.parametrize("by_hand", [True, False])
async def test_shorter_delay_holds_at_once(
    store: Store, slots: Slots, queued: bool, by_hand: bool
) -> None:
    control = Control(store.client, store.keys)

    async def set_delay(seconds: float) -> None:
        if by_hand:
            await control.delay("me", "a", seconds)
        else:
            await slots.configure({"": SlotLimit(seconds), "b": SlotLimit(7, 2)})

    member = await store.join()
    await set_delay(3600)
    await store.frontier.exchange(member, [push(n) for n in range(2 if queued else 1)])
    assert names(await lease(store, member, room=9)) == ["0"]
    key = store.keys.timed if queued else store.keys.pace

    async def wait() -> float:
        return float(await store.client.call("zscore", key, "a") or 0) - await now(store)

    assert await wait() > 3_500_000
    await set_delay(20)
    assert 18_000 < await wait() <= 20_000
    await slots.hold("a", 60)
    await set_delay(1)
    assert 58_000 < await wait() <= 60_000, "what the site asked for stays"


async def test_shorter_delay_of_a_slot_that_has_all_it_may_have(store: Store, slots: Slots) -> None:
    await slots.configure({"a": SlotLimit(3600, 1)})
    member = await store.join()
    await store.frontier.exchange(member, [push(n) for n in range(3)])
    held = await lease(store, member, room=9)
    await advance(store, "a")
    assert names(await lease(store, member, room=9)) == []
    blocked = await due(store, "a")
    await slots.configure({"a": SlotLimit(10, 1)})
    assert await due(store, "a") == blocked > 2**42
    await store.frontier.exchange(member, acks=[held.leases[0].id])
    assert names(await lease(store, member, room=9)) == ["1"]


async def test_turns_of_requests_that_are_not_in_redis(store: Store, slots: Slots) -> None:
    assert await slots.turns({"a": 5}, 1) == [AT_ONCE]
    assert not await store.client.call("exists", store.keys.pace, store.keys.timed)
    await slots.configure({"a": SlotLimit(delay=2), "b": SlotLimit(concurrency=2)})
    assert await slots.turns({"c": 0, "a": 0}, 1) == [AT_ONCE, 0]
    assert await slots.turns({"a": 0}, 1) == [None], "it is too far away to tell"
    [wait] = await slots.turns({"a": 0}, 60)
    assert wait == pytest.approx(2, abs=1)
    # The requests in Redis come after these.
    member = await store.join()
    await store.frontier.exchange(
        member, [push(f"{slot}{n}", slot=slot) for slot in "ab" for n in range(2)]
    )
    assert 2000 < await due(store, "a") - await now(store) <= 4000
    assert await slots.turns({"b": 0}, 1) == [0]
    assert await slots.turns({"b": 2}, 1) == [None]
    assert names(await lease(store, member, room=1)) == ["b0"]
    assert await slots.turns({"b": 0}, 1) == [0]
    assert await slots.turns({"b": 1}, 1) == [None], "one is leased"
    await slots.hold("c", 60)
    assert await slots.turns({"c": 0}, 1) == [None]


async def test_clock_that_goes_back_does_not_stop_slots_without_limits(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push(f"{s}{n}", slot=s) for s in "ab" for n in "123"])
    for slot in "ab":
        await store.client.call("zadd", store.keys.slots, {slot: await now(store) + 3_600_000})
    given = [names(await lease(store, member, limit=1))[0] for _ in range(6)]
    assert given == ["a1", "b1", "a2", "b2", "a3", "b3"]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 30))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_slot_starves(
    redis_url: str, project: str, background: Background, sizes: list[int], limit: int
) -> None:
    """While all slots have requests, none is ahead of another by more than two turns."""

    async def check() -> None:
        client = Client.connect(address_of(redis_url))
        try:
            await crawl(client)
        finally:
            await client.close()

    async def crawl(client: Client) -> None:
        keys = Keys(project, uuid4().hex)
        frontier = Frontier(client, keys)
        _, member = await Workers(client, keys).join("w", {"host": "h"}, bucket_fill=400)
        assert isinstance(member, Membership)
        served: Counter[str] = Counter()
        for slot, size in enumerate(sizes):
            await frontier.exchange(
                member, [push(f"{slot}/{n}", "n", slot=str(slot)) for n in range(size)]
            )
        left = dict(enumerate(sizes))
        share = max(1, limit // len(sizes))
        while all(left.values()):
            result = await frontier.exchange(member, limit=limit)
            assert limit - share < len(names(result)) <= limit or not sum(left.values()) > limit
            for name in names(result):
                slot = int(name.split("/")[0])
                left[slot] -= 1
                served[str(slot)] += 1
            if all(left.values()):
                assert max(served.values()) - min(served[str(slot)] for slot in left) <= 2 * share

    background(check())
