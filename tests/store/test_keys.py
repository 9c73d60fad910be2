"""Names of any form never reach another crawl's keys."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlo_scrapy.store.keys import ALL_CRAWLS, Keys, clean, crawl_name

HOSTILE = ["a", "a:b", "b", "{", "}", "a}", "a\n", "*", "ä", "a" * 10_000, "a" * 10_001, "%3A", ":"]


def test_names_do_not_collide() -> None:
    prefixes = [Keys(p, s).prefix for p, s in itertools.product(HOSTILE, HOSTILE)]
    assert len(set(prefixes)) == len(prefixes)


@given(st.text(min_size=1), st.text(min_size=1))
def test_parts_stay_apart(project: str, spider: str) -> None:
    keys = Keys(project, spider)
    assert keys.prefix.count("{") == keys.prefix.count("}") == 1
    assert keys.name.count(":") == 1
    assert "\n" not in keys.prefix
    assert len(keys.prefix) < 600


def test_crawl_name_comes_back() -> None:
    keys = Keys("shop", "s", "id")
    assert crawl_name(keys.meta) == keys.name == "shop:s:id"
    assert ALL_CRAWLS == "crawlo:{*}:meta"


@pytest.mark.parametrize("slot", ["a:0", "a", "2001:db8::1", "a b"])
def test_a_slot_is_no_list_of_another(slot: str) -> None:
    assert ":" not in clean(slot)
