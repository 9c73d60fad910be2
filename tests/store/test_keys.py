"""Names of any form never reach another crawl's keys."""

from __future__ import annotations

from itertools import combinations
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlo_scrapy.store.keys import MAX_NAME_LENGTH, Keys, clean
from tests.store.conftest import Store, names, push

HOSTILE = [
    "a", "a:b", "b:c", "b", "c", "{a}", "a}:meta", "a\nb", "a\n0", "a%3Ab", "*", "a?", "[a]",
    "\\a", "", " ", "ä", "日本語", "\ud800", "x" * 10_000, "x" * 9_999, "ä" * 5_000, "a\0b",
    "a:0", "a:-1", ":", "::", "a~b", "x" * MAX_NAME_LENGTH,
]  # fmt: skip


def test_names_never_collide() -> None:
    crawls = [(p, s, i) for p in HOSTILE[:12] for s in HOSTILE[:12] for i in [None, *HOSTILE[:12]]]
    prefixes = {Keys(*crawl).prefix for crawl in crawls}
    assert len(prefixes) == len(set(crawls))


def test_no_prefix_begins_another() -> None:
    prefixes = [Keys(name, "s", i).prefix for name in HOSTILE for i in [None, "x"]]
    assert not [(a, b) for a, b in combinations(prefixes, 2) if a.startswith(b) or b.startswith(a)]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_a_clean_name_is_short_and_plain(name: str) -> None:
    cleaned = clean(name)
    assert len(cleaned) <= MAX_NAME_LENGTH + 40
    assert set(cleaned) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~%"
    )


@given(st.text(), st.text())
def test_clean_is_one_to_one(one: str, other: str) -> None:
    assert (clean(one) == clean(other)) == (one == other)
    if len(clean(one)) <= MAX_NAME_LENGTH:
        assert unquote(clean(one)) == one


def test_long_names_that_begin_alike_stay_apart() -> None:
    cleaned = {clean("x" * 10_000 + str(n)) for n in range(100)}
    assert len(cleaned) == 100
    assert clean(clean("x" * 10_000)) != clean("x" * 10_000)


def test_an_empty_crawl_id_is_none() -> None:
    assert Keys("p", "s", "").prefix == Keys("p", "s").prefix == "crawlo:{p:s}:"
    assert Keys("p", "s", "1").prefix == "crawlo:{p:s:1}:"


def test_the_braces_hold_one_hash_tag() -> None:
    for name in HOSTILE:
        prefix = Keys(name, name, name).prefix
        assert prefix.count("{") == prefix.count("}") == 1
        assert "*" not in prefix
        assert "?" not in prefix


def test_name_of_a_crawl() -> None:
    assert Keys("p", "s:t", "1").name == "p:s%3At:1"


def test_kinds_of_key_stay_apart() -> None:
    keys = Keys("p", "s")
    odd = ["", "0", ":0", "a", "meta", "queue"]
    spelled = [
        keys.meta, keys.workers, keys.slots, keys.delayed, keys.seeds, keys.dead, keys.items,
        keys.control, keys.alerts, *map(keys.worker, odd), *map(keys.leases, odd),
        *(keys.stats(1, name) for name in odd),
        *(keys.queue(clean(slot)) for slot in odd),
        *(keys.queue(clean(slot), priority) for slot in odd for priority in ("0", "-1", "10")),
    ]  # fmt: skip
    assert len(spelled) == len(set(spelled))


async def test_a_slot_that_looks_like_a_priority(store: Store) -> None:
    member = await store.join()
    slots = ["a", "a:5", "", ":", "a\n5", "a:5:5", "{a}", "x" * 10_000, "[::1]"]
    pushes = [
        push(f"{n}/{priority}", slot=clean(slot), priority=priority)
        for n, slot in enumerate(slots)
        for priority in (5, -5)
    ]
    result = await store.frontier.exchange(member, pushes, limit=100)
    assert sorted(names(result)) == sorted(one.payload.decode() for one in pushes)
    await store.frontier.release(member, [lease.id for lease in result.leases])
    assert len((await store.frontier.exchange(member, limit=100)).leases) == len(pushes)
