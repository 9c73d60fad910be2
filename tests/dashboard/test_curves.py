"""Curves keep what was counted, however few points they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlo_scrapy.dashboard.curves import CLOSEST, columns, points
from crawlo_scrapy.store.stats import Sample

MINUTE = 60_000


def samples(*pages: int, every: int = MINUTE) -> list[Sample]:
    return [Sample(every * (n + 1), pages=count) for n, count in enumerate(pages)]


def test_rates_are_what_was_done_a_minute() -> None:
    found = points(samples(0, 60, 90))
    assert [(point.time, point.pages) for point in found] == [(2 * MINUTE, 60), (3 * MINUTE, 30)]


@pytest.mark.parametrize("pages", [(), (5,)])
def test_one_sample_tells_nothing(pages: tuple[int, ...]) -> None:
    assert points(samples(*pages)) == []


def test_stats_that_were_reset_do_not_go_below_zero() -> None:
    assert [point.pages for point in points(samples(100, 0, 10))] == [0, 10]


def test_samples_that_lie_close_are_one() -> None:
    found = points([Sample(0), Sample(MINUTE, pages=60), Sample(MINUTE + CLOSEST - 1, pages=9999)])
    assert [point.pages for point in found] == [60]


def test_queue_is_the_longest_of_a_span_and_memory_the_last() -> None:
    found = points(
        [Sample(MINUTE * n, queued=n % 3, memory=n) for n in range(7)],
        most=2,
    )
    assert [(point.queued, point.memory) for point in found] == [(2, 3), (2, 6)]


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=200),
    st.integers(1, 50),
    st.integers(CLOSEST, 10 * MINUTE),
)
def test_fewer_points_say_the_same(growth: list[int], most: int, every: int) -> None:
    counts, total = [], 0
    for grown in growth:
        total += grown
        counts.append(total)
    given_samples = samples(*counts, every=every)
    found = points(given_samples, most)
    assert 1 <= len(found) <= most
    assert found[-1].time == given_samples[-1].time
    assert [point.time for point in found] == sorted({point.time for point in found})
    begun = given_samples[0].time
    done = 0.0
    for point in found:
        done += point.pages * (point.time - begun) / MINUTE
        begun = point.time
    # A rate is rounded to 0.1 a minute.
    assert abs(done - (counts[-1] - counts[0])) <= 0.051 * len(growth) * every / MINUTE + 1e-6


def test_columns_for_the_script() -> None:
    assert columns(points(samples(0, 60))) == {
        "time": [120.0], "pages": [60.0], "items": [0.0], "errors": [0.0], "queued": [0],
        "memory": [0],
    }  # fmt: skip
