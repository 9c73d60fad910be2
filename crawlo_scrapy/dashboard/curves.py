"""Samples, whose counts only grow, as curves: what was done a minute, how long the queue was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from crawlo_scrapy.store.stats import Sample

#: Points of a curve at most: a day of one a minute.
MOST_POINTS = 1500
#: Samples that lie closer than this are one, in ms: a rate over less is noise.
CLOSEST = 5000


class Point(NamedTuple):
    """What happened a minute up to `time` (in ms), and how the crawl, or the node, stood then.

    `queued` is the longest that the queue was, and `memory` in bytes.
    """

    time: int
    pages: float
    items: float
    errors: float
    queued: int
    memory: int


def points(samples: Sequence[Sample], most: int = MOST_POINTS) -> list[Point]:
    """Return at most *most* points for *samples*, oldest first; each spans as many as need be."""
    spaced = _spaced(samples)
    step = max(1, -(-(len(spaced) - 1) // most))
    # From the end: the newest sample always has a point.
    ends = range(len(spaced) - 1, 0, -step)
    return [_point(spaced[max(0, end - step) : end + 1]) for end in reversed(ends)]


def _spaced(samples: Sequence[Sample]) -> list[Sample]:
    spaced: list[Sample] = []
    for sample in samples:
        if spaced and sample.time - spaced[-1].time < CLOSEST:
            continue
        spaced.append(sample)
    return spaced


def _point(span: Sequence[Sample]) -> Point:
    first, last = span[0], span[-1]
    minutes = (last.time - first.time) / 60_000
    # Less than before: somebody has reset the stats.
    pages, items, errors = (
        round(max(0, getattr(last, name) - getattr(first, name)) / minutes, 1)
        for name in ("pages", "items", "errors")
    )
    queued = max(sample.queued for sample in span[1:])
    return Point(last.time, pages, items, errors, queued, last.memory)


def columns(found: Sequence[Point]) -> dict[str, list[float]]:
    """Return *found* as the page's script takes them; times are in seconds."""
    return {
        "time": [point.time / 1000 for point in found],
        "pages": [point.pages for point in found],
        "items": [point.items for point in found],
        "errors": [point.errors for point in found],
        "queued": [point.queued for point in found],
        "memory": [point.memory for point in found],
    }
