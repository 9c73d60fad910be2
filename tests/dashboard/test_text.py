"""How values look."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from crawlo_scrapy.dashboard import text


@pytest.mark.parametrize(
    ("stat", "shown"),
    [
        (1234567, "1,234,567"), (1.5, "1.50"), (True, "True"), (None, "None"), ("a", "a"),
        (datetime(2026, 2, 1, 12), "2026-02-01 12:00:00"), ([1, "b"], "[1, 'b']"),
        (float("nan"), "nan"), (-(10**600), "(a very large number)"),
    ],
)  # fmt: skip
def test_values(stat: Any, shown: str) -> None:
    assert text.value(stat) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"), (0.04, "0.0 s"), (9.94, "9.9 s"), (59, "59 s"), (61, "1 min 1 s"),
        (3600, "1 h"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_spans(seconds: float | None, shown: str) -> None:
    assert text.span(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "–"), (900, "900 B"), (150_000_000, "143 MB"), (5 * 2**40, "5,120 GB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_plain_text_is_cut_and_without_logins() -> None:
    assert text.plain("http://u:p@h/ redis://:p@h") == "http://****@h/ redis://****@h"
    assert len(text.plain("x" * 10_000)) == text.LONGEST + 1
