"""How a crawl is divided, and where its partitions lie."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from crawlo_scrapy.store.keys import Keys, hash_slot
from crawlo_scrapy.store.partitions import UNDIVIDED, Layout


@given(name=st.text(min_size=1, max_size=20), count=st.integers(2, 64))
def test_partitions_are_spread_evenly(name: str, count: int) -> None:
    keys = Layout(count).keys(Keys(name, "s"))
    places = sorted(key_slot(part.meta.encode()) for part in keys)
    gaps = [b - a for a, b in zip(places, [*places[1:], places[0] + 16384], strict=True)]
    share = 16384 / count
    assert all(0.85 * share - 16 <= gap <= 1.15 * share + 16 for gap in gaps)


@pytest.mark.parametrize("masters", [3, 5])
def test_masters_get_equal_numbers(masters: int) -> None:
    for spider in ("a", "shop", "news"):
        keys = Layout(4 * masters).keys(Keys("p", spider))
        found = Counter(key_slot(part.meta.encode()) * masters // 16384 for part in keys)
        assert len(found) == masters
        assert max(found.values()) <= 5


def test_all_keys_of_a_partition_are_on_one_hash_slot() -> None:
    part = Keys("p", "s", "id").partition(3, 8)
    names = [part.meta, part.leases("w~2"), part.queue("host", "1"), part.seeds, *part.queues]
    tag = part.prefix[len("crawlo:{") :].partition("}")[0]
    assert {key_slot(name.encode()) for name in names} == {hash_slot(tag)}


def test_the_first_is_the_crawl_itself() -> None:
    home = Keys("p", "s")
    assert home.partition(0, 8) is home
    assert UNDIVIDED.keys(home) == [home]


@given(st.text(min_size=1), st.text(min_size=1), st.integers(2, 9))
def test_no_other_crawl_has_its_names(project: str, spider: str, count: int) -> None:
    """A name that looks like a partition's is another one."""
    own = {part.prefix for part in Layout(count).keys(Keys("p", "s"))}
    other = Keys(project, spider)
    if other.names != ["p", "s"]:
        assert own.isdisjoint(part.prefix for part in Layout(count).keys(other))
    assert Keys("p", f"s#{count - 1}.{count}.0").prefix not in own


@given(st.integers(1, 256), st.sampled_from(["slot", "fingerprint"]))
def test_as_text(count: int, by: str) -> None:
    assert Layout.parse(str(Layout(count, by))) == Layout(count, by)
    assert Layout.parse("") == UNDIVIDED


def test_places() -> None:
    by_slot, by_fingerprint = Layout(4), Layout(4, "fingerprint")
    assert len({by_slot.place("host", member) for member in range(100)}) == 1
    assert {by_slot.place(f"host{n}", 1) for n in range(100)} == set(range(4))
    assert [by_fingerprint.place("host", member) for member in (-1, 0, 5)] == [3, 0, 1]
