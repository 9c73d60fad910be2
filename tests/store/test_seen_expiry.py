"""A URL counts as seen for REDIS_TTL, and not much longer; then its memory is free."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.seen import SeenChoice
from tests.backends import address_of
from tests.crawling import PATIENCE
from tests.store.background import Background
from tests.store.conftest import Store, push

TTL = 1000
KINDS = {"exact": SeenChoice(ttl=TTL), "bloom": SeenChoice("bloom", 1000, 1e-6, ttl=TTL)}
both = pytest.mark.parametrize("choice", KINDS.values(), ids=KINDS.keys())


async def pass_time(client: Client, keys: Keys, seconds: float) -> None:
    """Let all that was seen have been seen so much earlier."""
    text = await client.call("hget", keys.meta, "seen_slices")
    moved = []
    for piece in (text or b"").decode().split(";"):
        parts = piece.split(":")
        parts[5:7] = [str(int(part) - round(seconds * 1000)) for part in parts[5:7]]
        moved.append(":".join(parts))
    await client.call("hset", keys.meta, "seen_slices", ";".join(moved))


@both
async def test_new_again(store: Store, choice: SeenChoice) -> None:
    member = await store.join()
    await seen.choose(store.client, store.keys, choice, own=1)
    await store.frontier.exchange(member, [push("a")])
    for passed in (TTL / 2, TTL / 2 - 1):
        await pass_time(store.client, store.keys, passed)
        result = await store.frontier.exchange(member, [push("a"), push("a", "c")])
        assert result.duplicates == [0, 1], "not yet; and asking makes it live no longer"
    await pass_time(store.client, store.keys, TTL / 5 + 2)
    assert (await inspect(store.client, store.keys)).seen == 0
    result = await store.frontier.exchange(member, [push("a", "c"), push("a"), push("a")])
    assert result.duplicates == [2], "new, and then seen anew"
    assert (await inspect(store.client, store.keys)).seen == int(await store.meta("seen")) == 1


@both
async def test_redis_itself_drops_what_expired(store: Store, choice: SeenChoice) -> None:
    """Even where nobody crawls any more: all keys of a slice have an end."""
    await seen.choose(store.client, store.keys, choice)
    await seen.add(store.client, store.keys, [b"%d" % number for number in range(3000)])
    keys = [key async for key in store.client.redis.scan_iter(store.keys.seen_prefix + "*")]
    assert keys
    for key in keys:
        assert 0 < await store.client.call("pttl", key) <= TTL * 1200


@pytest.mark.parametrize("kind", ["exact", "bloom"])
async def test_memory_is_free_after_a_time(store: Store, kind: str) -> None:
    member = await store.join()
    await seen.choose(store.client, store.keys, SeenChoice(kind, ttl=0.5, urls=kind == "exact"),
                      own=1)  # fmt: skip
    batch = [push(f"https://a.test/{number}", "r") for number in range(500)]
    await store.frontier.exchange(member, batch)

    async def left() -> list[bytes]:
        return [key async for key in store.client.redis.scan_iter(store.keys.seen_prefix + "*")]

    async def gone() -> None:
        while await left():  # noqa: ASYNC110 - nobody tells that a key has expired
            await asyncio.sleep(0.05)

    await asyncio.wait_for(gone(), PATIENCE)
    assert (await seen.look(store.client, store.keys)).count == 0
    assert (await store.frontier.exchange(member, batch)).duplicates == []


async def test_a_slice_begins_near_the_level_of_the_last(store: Store) -> None:
    """Otherwise each would have all levels, and a look would take them all."""
    await seen.choose(store.client, store.keys, SeenChoice("bloom", 100, 1e-6, ttl=TTL))
    levels = []
    for first in range(0, 9000, 1000):
        batch = [b"%d" % number for number in range(first, first + 1000)]
        await seen.add(store.client, store.keys, batch)
        if first % 3000 == 2000:
            [newest, *_] = (await seen.look(store.client, store.keys)).slices
            levels.append((newest.base, newest.level))
            await pass_time(store.client, store.keys, TTL / 5 + 1)
    assert levels == [(0, 4), (3, 5), (4, 5)]
    batch = [b"%d" % number for number in range(9000)]
    for first in range(0, 9000, 1000):
        assert not any(await seen.add(store.client, store.keys, batch[first : first + 1000]))


async def test_never_more_than_six_slices(store: Store) -> None:
    await seen.choose(store.client, store.keys, SeenChoice(ttl=TTL))
    counts = []
    for number in range(20):
        await seen.add(store.client, store.keys, [b"%d" % number])
        state = await seen.look(store.client, store.keys)
        counts.append((len(state.slices), state.count))
        await pass_time(store.client, store.keys, TTL / 5)
    assert max(counts) == counts[-1]
    assert counts[-1][0] == counts[-1][1] <= seen.SLICES
    numbers = [piece.number for piece in (await seen.look(store.client, store.keys)).slices]
    assert numbers == sorted(numbers, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 400), st.lists(st.integers(0, 12), max_size=6)), max_size=14
    )
)
def test_against_a_clock(
    redis_url: str, background: Background, steps: list[tuple[int, list[int]]]
) -> None:
    """A number is seen for TTL after it was recorded, and new after TTL and a fifth."""
    background(_compare(redis_url, steps))


async def _compare(redis_url: str, steps: list[tuple[int, list[int]]]) -> None:
    client, keys = Client.connect(address_of(redis_url)), Keys(f"test-{uuid4().hex}", "s")
    await seen.choose(client, keys, SeenChoice(ttl=TTL))
    now, recorded = 0, dict.fromkeys(range(13), -10 * TTL)
    for passed, numbers in steps:
        now += passed
        if await client.call("hexists", keys.meta, "seen_slices"):
            await pass_time(client, keys, passed)
        fresh = await seen.add(client, keys, [b"%d" % number for number in numbers])
        for number, new in zip(numbers, fresh, strict=True):
            age = now - recorded[number]
            # What passes between two commands of this test is not in `now`: some seconds at most.
            assert not new or age > TTL - 100
            assert new or age < TTL * 1.2 + 1
            if new:
                recorded[number] = now
    await Frontier(client, keys).purge()
    await client.close()
