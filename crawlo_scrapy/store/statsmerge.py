"""How the values of one key add up over the nodes of a crawl."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, NamedTuple

#: The kinds of keys: of their values the sum counts, the largest, the smallest, or the one that
#: was written last.
SUM, MAX, MIN, NEWEST = b"+", b">", b"<", b"="
#: Digits of the time, in microseconds, that stands before a `NEWEST` value.
STAMP = 16


class Stat(NamedTuple):
    """A value, how it adds up, and for `NEWEST` when it was written (in microseconds)."""

    kind: bytes
    value: Any
    time: int = 0


def merge(nodes: Iterable[Mapping[str, Stat]]) -> dict[str, Any]:
    """Add up what nodes have counted, key by key; in order of keys.

    A key that one node counts is a counter; that others only set it changes nothing. Where values
    do not go together the newest stands; of values whose time is not known, the last.
    """
    return {key: stat.value for key, stat in combine(nodes).items()}


def combine(nodes: Iterable[Mapping[str, Stat]]) -> dict[str, Stat]:
    """Return what `merge` does as the stats of one node, which may be combined with others."""
    found: dict[str, list[Stat]] = {}
    for stats in nodes:
        for key, stat in stats.items():
            found.setdefault(key, []).append(stat)
    return {key: _combine(found[key]) for key in sorted(found)}


_COMBINED: dict[bytes, Callable[[Any, Any], Any]] = {SUM: operator.add, MAX: max, MIN: min}


def _combine(stats: list[Stat]) -> Stat:
    kinds = {stat.kind for stat in stats}
    kind = next((kind for kind in _COMBINED if kind in kinds), NEWEST)
    if kind != NEWEST:
        stats = [stat for stat in stats if stat.kind == kind]
        with contextlib.suppress(TypeError, ValueError, ArithmeticError):
            return Stat(kind, reduce(_COMBINED[kind], (stat.value for stat in stats)))
    newest = stats[0]
    for stat in stats[1:]:
        if stat.time >= newest.time:
            newest = stat
    return newest
