"""The seen set: exact over all its levels, and packed."""

from __future__ import annotations

import random

from crawlo_scrapy.store import seen
from tests.store.conftest import Store


async def test_exact_over_several_levels(store: Store) -> None:
    await store.join(bucket_fill=2)  # level 0 is full after 128, level 1 after 512 more
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
    numbers = [str(i).encode() for i in range(30_000)]
    for i in range(0, len(numbers), 1000):
        await seen.add(store.client, store.keys, numbers[i : i + 1000])
    for level, buckets in ((0, 64), (1, 256)):
        for bucket in range(buckets):
            key = f"{store.keys.seen_prefix}{level}:{bucket}"
            assert await store.client.call("object", "encoding", key) == b"intset"


def test_fingerprints_of_any_form_are_spread() -> None:
    prefixes = {seen.split(bytes([i]))[0] >> 26 for i in range(256)}
    assert len(prefixes) > 50
