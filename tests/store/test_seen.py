"""The seen set: exact over all its levels, and packed."""

from __future__ import annotations

import random
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.frontier import Frontier, Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.workers import Workers
from tests.backends import address_of
from tests.store.background import Background
from tests.store.conftest import Store, push


async def test_exact_over_several_levels(store: Store) -> None:
    await store.join(bucket_fill=1 / 64)  # level 0 is full after 64, level 1 after 1,024 more
    draw, known = random.Random(7), set()
    for _ in range(60):
        batch = [str(draw.randrange(4000)).encode() for _ in range(100)]
        fresh = await seen.add(store.client, store.keys, batch)
        for fingerprint, new in zip(batch, fresh, strict=True):
            assert new == (fingerprint not in known)
            known.add(fingerprint)
    assert int(await store.meta("seen")) == len(known)
    assert int(await store.meta("seen_level")) >= 2


async def test_buckets_stay_packed(store: Store) -> None:
    fill = await seen.bucket_fill(store.client)
    await store.join(bucket_fill=fill)
    draw, buckets = random.Random(3), 8  # of the 4,096 of level 0
    for _ in range(buckets):
        bits = [
            b for _ in range(fill) for b in (draw.randrange(buckets) << 20, draw.getrandbits(63))
        ]
        await run(store.client, Call("seen_add", [store.keys.meta, store.keys.seen_prefix], bits))
    for bucket in range(buckets):
        key = f"{store.keys.seen_prefix}0:{bucket}"
        assert await store.client.call("object", "encoding", key) == b"intset"
    assert int(await store.meta("seen")) == buckets * fill


def test_fingerprints_of_any_form_are_spread() -> None:
    prefixes = {seen.split(bytes([i]))[0] >> 26 for i in range(256)}
    assert len(prefixes) > 50


@settings(max_examples=30, deadline=None)
@given(
    fill=st.sampled_from([1 / 256, 1 / 128, 3 / 256]),
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("fncr"), st.integers(0, 600)), min_size=1, max_size=80),
        min_size=1,
        max_size=6,
    ),
)
def test_no_false_duplicate_and_none_missed(
    redis_url: str,
    background: Background,
    fill: float,
    batches: list[list[tuple[str, int]]],
) -> None:
    """Against a Python set, in all modes, with levels so small that several are opened."""
    background(_compare(redis_url, fill, batches))


async def _compare(redis_url: str, fill: float, batches: list[list[tuple[str, int]]]) -> None:
    client, keys = Client.connect(address_of(redis_url)), Keys(f"test-{uuid4().hex}", "s")
    _, member = await Workers(client, keys).join("w", {}, bucket_fill=fill)
    assert isinstance(member, Membership)
    frontier, known, queued = Frontier(client, keys), set(), 0
    for batch in batches:
        expected = []
        for index, (mode, number) in enumerate(batch):
            # Mode n is told to be fresh always, and recorded all the same.
            if number in known and mode != "n":
                expected.append(index)
            elif mode in "fn":
                queued += 1
            if mode != "c":
                known.add(number)
        result = await frontier.exchange(member, [push(number, mode) for mode, number in batch])
        assert result.duplicates == expected
        assert result.queued == queued
    assert int(await client.call("hget", keys.meta, "seen") or 0) == len(known)
    members = 0
    async for key in client.redis.scan_iter(match=keys.seen_prefix + "*", count=1000):
        members += await client.call("scard", key)
        assert await client.call("object", "encoding", key) == b"intset"
    assert members == len(known)
    await frontier.purge()
    await client.close()


@pytest.mark.parametrize(
    ("count", "level", "fill"),
    [(63, 0, 63), (64, 1, 0), (1087, 1, 1023), (1088, 2, 0), (17471, 2, 16383), (17472, 3, 0)],
)
async def test_a_level_is_opened_when_the_one_before_is_full(
    store: Store, count: int, level: int, fill: int
) -> None:
    """Too early, and half-empty buckets cost memory; too late, and they are no longer packed."""
    await store.join(bucket_fill=1 / 64)
    for first in range(0, count, 1000):
        batch = [str(i).encode() for i in range(first, min(first + 1000, count))]
        await seen.add(store.client, store.keys, batch)
    assert (await store.meta("seen_level"), await store.meta("seen_fill")) == (
        str(level),
        str(fill),
    )


async def test_seeds_are_recorded_as_seen(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push("a", "s1"), push("a"), push("b", "s1")])
    assert result.duplicates == [1]
    assert int(await store.meta("seen")) == 2


async def test_bucket_fill_follows_the_server() -> None:
    async def answer(method: str, *args: object, near: str) -> dict[str, str]:
        assert (method, *args) == ("config_get", "set-max-intset-entries")
        return {"set-max-intset-entries": "128"}

    async def refuse(*args: object, **_: object) -> None:
        raise StoreRefused("NOPERM")

    client = Client.connect(Address(host="h"))
    client.call = answer  # type: ignore[method-assign,assignment]
    assert await seen.bucket_fill(client) == 100
    client.call = refuse  # type: ignore[method-assign,assignment]
    assert await seen.bucket_fill(client) == 400
