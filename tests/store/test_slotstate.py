"""What limits slots now, and why."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store import slotstate
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.slots import Answer, SlotLimit, Slots, Throttle
from crawlo_scrapy.store.slotstate import SlotState, slot_states
from tests.store.conftest import Store, push


async def one(store: Store, name: str) -> SlotState:
    [state] = await slot_states(store.client, store.keys, [name])
    return state


async def test_where_a_delay_comes_from(store: Store) -> None:
    slots, control = Slots(store.client, store.keys), Control(store.client, store.keys)
    await store.join()

    async def delay(name: str = "a") -> tuple[float, str]:
        state = await one(store, name)
        return state.delay, state.delay_from

    assert await delay() == (0, "")
    await slots.configure({"": SlotLimit(delay=0.5, concurrency=4), "b": SlotLimit(concurrency=1)})
    assert await delay() == (0.5, "settings")
    assert (await one(store, "a")).concurrency == 4
    assert (await one(store, "b")).concurrency == 1
    await slots.learn("a", 3)
    assert await delay() == (3, "robots.txt")
    assert await delay("b") == (0.5, "settings")
    throttle = Throttle(first=5, least=0, most=60, target=1)
    await slots.adapt(throttle, [Answer("b", 7, True)])
    assert await delay() == (5, "AutoThrottle")
    assert await delay("b") == (7, "AutoThrottle")
    await control.delay("ann", "a", 0)
    assert await delay() == (0, "by hand")
    await control.delay("ann", "a", None)
    assert await delay() == (5, "AutoThrottle")


async def test_counts_and_times(store: Store) -> None:
    slots = Slots(store.client, store.keys)
    await slots.configure({"a": SlotLimit(delay=60), "b": SlotLimit(concurrency=1)})
    member = await store.join()
    pushes = [push(n) for n in range(3)] + [push(n, slot="b") for n in range(4, 9)]
    await store.frontier.exchange(member, [*pushes, push("c", slot="c/d")])
    await store.frontier.exchange(member, room=2)
    await slots.hold("e", 600)
    states = {state.slot: state for state in await slot_states(store.client, store.keys)}
    assert list(states) == ["b", "a", "c/d", "e"], "the busiest first"
    assert (states["a"].queued, states["a"].leased) == (2, 1)
    assert 50 < states["a"].wait < 61
    # It has all the leases it may have, and no time.
    assert (states["b"].queued, states["b"].leased) == (4, 1)
    assert states["b"].wait < 1
    assert (states["c/d"].queued, states["c/d"].leased, states["c/d"].held) == (1, 0, 0)
    assert 590 < states["e"].held < 601
    assert 590 < states["e"].wait < 601


async def test_nobody_counts_where_nothing_is_limited(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [push(1), push(2, slot="")])
    states = await slot_states(store.client, store.keys)
    assert [(state.slot, state.leased, state.delay_from) for state in states] == [
        ("", None, ""), ("a", None, ""),
    ]  # fmt: skip
    assert await slot_states(store.client, store.keys, ["nowhere"]) == [
        SlotState("nowhere", 0, None, 0, "", 0, 0, 0)
    ]


async def test_what_is_told_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slotstate, "MOST_SLOTS", 5)
    monkeypatch.setattr(slotstate, "MOST_SHOWN", 3)
    member = await store.join()
    slots = [push(n, slot=f"s{n % 10}") for n in range(25)]
    await store.frontier.exchange(member, slots)
    found = await slot_states(store.client, store.keys)
    assert len(found) == 3
    assert {state.queued for state in found} == {3}
    assert len(await slot_states(store.client, store.keys, [f"s{n}" for n in range(9)])) == 5


@pytest.mark.parametrize("by", ["slot", "fingerprint"])
async def test_of_a_divided_crawl(store: Store, by: str) -> None:
    await store.join()
    layout = Layout(3, by)
    await store.client.call("hset", store.keys.meta, "layout", str(layout))
    parts = layout.keys(store.keys)
    for number, part in enumerate(parts):
        slots = [name for name in "abcdef" if by != "slot" or layout.place(name, 0) == number]
        for name in slots:
            await store.client.call("zadd", part.slots, {name: 1})
            await store.client.call("zadd", part.queue(name), {"0": 0})
            await store.client.call("rpush", part.queue(name, "0"), "x", "y")
    found = await slot_states(store.client, store.keys)
    count = 2 if by == "slot" else 6
    assert [(state.slot, state.queued) for state in found] == [(name, count) for name in "abcdef"]
    if by == "slot":
        await Control(store.client, store.keys).delay("ann", "c", 4)
    [state] = await slot_states(store.client, store.keys, ["c"])
    assert (state.queued, state.delay) == (count, 4 if by == "slot" else 0)
