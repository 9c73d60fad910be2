"""What the new partitions of a crawl inherit of the seen sets of its old ones.

A bucket of the seen set keeps its number, for nobody knows more of a fingerprint than its bucket
and its member. So do levels; those of the same number are united. Slices of a seen set that
expires, and streams of URLs, get new numbers behind those that are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crawlo_scrapy.store.bloom import Bloom
from crawlo_scrapy.store.division import Change
from crawlo_scrapy.store.seen import FILL, SeenState, Slice, read_state

#: How a seen set stands; all else that a `meta` says of it was chosen, and is the same everywhere.
_STATE = {
    "seen", "seen_level", "seen_fill", "seen_slice", "seen_slices", "seen_chunk", "seen_chunk_fill",
}  # fmt: skip
#: Bytes of a member while its bucket is packed, and when it has outgrown that; of a bucket's key.
PACKED, LOOSE, KEY = 8, 80, 100


@dataclass(frozen=True)
class Origin:
    """The seen set of an old partition, and where it stands in a new one.

    Numbers of slices grow by `slices` there, those of chunks of URLs by `chunks`.
    """

    number: int
    state: SeenState
    fill: int
    last_slice: int
    slices: int = 0
    chunks: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is in it; what is counted elsewhere may be."""
        state = self.state
        return not (state.count or self.fill or state.level or state.slices)

    @property
    def parts(self) -> list[Slice]:
        """Its slices; one for ever of a seen set that does not expire."""
        if self.state.ttl:
            return self.state.slices
        return [Slice(0, 0, self.state.level, self.fill, self.state.count, 0, 0, 0)]

    def part_in(self, part: Slice) -> Slice:
        """Return a slice with the numbers that it has in the new partition."""
        if not self.state.ttl:
            return part
        return replace(part, number=part.number + self.slices, chunk=part.chunk + self.chunks)


def count_field(part: Slice, level: int) -> str:
    return f"seen:{part.number}:{level}"


class Origins:
    """The seen sets of the old partitions. *metas* are of each at *now*, in ms."""

    def __init__(self, change: Change, metas: Mapping[int, Mapping[str, str]], now: int) -> None:
        self.change = change
        self.old = {number: _origin(number, meta, now) for number, meta in metas.items()}
        self._choice = {
            name: value
            for name, value in metas[0].items()
            if name.startswith("seen_") and name not in _STATE
        }
        self._new = [self._lined_up(number) for number in range(change.new.count)]

    def _lined_up(self, number: int) -> list[Origin]:
        """Return what a new partition gets, one behind the other."""
        result, slices, chunks = [], 0, 0
        for old in self.change.origins(number):
            if (origin := self.old.get(old)) is None:
                continue
            first = 0 if old == number and self.change.stays(old) else origin.state.chunks[0]
            result.append(replace(origin, slices=slices, chunks=chunks - first))
            slices += origin.last_slice
            if origin.state.urls:
                chunks += origin.state.chunk + 1 - first
        return result

    @property
    def total(self) -> int:
        """How many fingerprints there are to copy."""
        return sum(origin.state.count for origin in self.old.values())

    def obstacle(self) -> str:
        """Return why these seen sets cannot be copied so; "" if they can."""
        states = [origin.state for origin in self.old.values() if not origin.empty]
        if any(state.how == "bf" for state in states):
            return "its seen set is a Bloom filter of the server's module, which cannot be divided"
        several = any(len(found) > 1 for found in self._new)
        if several and any(state.how == "bloom" for state in states):
            return (
                "its seen set is a Bloom filter, and two of them cannot be made one. That needs "
                f"a multiple of {self.change.old.count} partitions, divided as before"
            )
        return ""

    def heir(self, number: int, to: int) -> Origin:
        """Return an old partition as it stands in a new one."""
        return next(origin for origin in self._new[to] if origin.number == number)

    def memory(self, bucket_fill: int) -> tuple[int, int]:
        """Return about how many bytes the seen sets have now, and will have.

        A bucket holds *bucket_fill* members on average when its level is full.
        """
        share = 1 / self.change.new.count if self.change.splits_seen else 1.0
        now = sum(_memory([origin], 1.0, self.total, bucket_fill) for origin in self.old.values())
        then = sum(_memory(found, share, self.total, bucket_fill) for found in self._new)
        return now, then

    def fields(self, number: int, counts: Mapping[str, int]) -> dict[str, Any]:
        """Return what the `meta` of a new partition says of its seen set.

        *counts* are those of the members that came, and went.
        """
        origins = [origin for origin in self._new[number] if not origin.empty]
        if not origins:
            return dict(self._choice)
        settle = self._slices if origins[0].state.ttl else self._levels
        fields = settle(number, origins, counts) | self._choice
        if origins[0].state.urls and (len(origins) > 1 or not self._is_here(origins[0], number)):
            last = origins[-1]
            fields |= {"seen_chunk": last.state.chunk + last.chunks + 1, "seen_chunk_fill": 0}
        return fields

    def _levels(
        self, number: int, origins: Sequence[Origin], counts: Mapping[str, int]
    ) -> dict[str, Any]:
        level = max(origin.state.level for origin in origins)
        fill = sum(origin.fill for origin in origins if origin.state.level == level)
        seen = sum(origin.state.count for origin in origins if self._counts_in(origin, number))
        if origins[0].state.how == "exact":
            here = [origin for origin in origins if self._is_here(origin, number)]
            came = [counts.get(count_field(origins[0].parts[0], n), 0) for n in range(level + 1)]
            fill = sum(origin.fill for origin in here if origin.state.level == level) + came[level]
            if self.change.splits_seen:
                seen = sum(origin.state.count for origin in here) + sum(came)
        return {"seen": seen, "seen_level": level, "seen_fill": fill}

    def _slices(
        self, number: int, origins: Sequence[Origin], counts: Mapping[str, int]
    ) -> dict[str, Any]:
        slices = [
            self._slice(number, origin, part, counts)
            for origin in origins
            for part in origin.parts
        ]  # fmt: skip
        slices.sort(key=lambda part: (part.closes, part.number), reverse=True)
        texts = [":".join(str(value) for value in vars(part).values()) for part in slices]
        return {
            "seen": sum(part.count for part in slices),
            "seen_slices": ";".join(texts),
            "seen_slice": max(origin.last_slice + origin.slices for origin in origins),
        }

    def _slice(
        self, number: int, origin: Origin, part: Slice, counts: Mapping[str, int]
    ) -> Slice:  # fmt: skip
        there, count, fill = origin.part_in(part), part.count, part.fill
        if self.change.splits_seen and origin.state.how == "exact":
            levels = range(part.base, part.level + 1)
            came = [counts.get(count_field(there, level), 0) for level in levels]
            here = self._is_here(origin, number)
            count, fill = part.count * here + sum(came), part.fill * here + came[-1]
        elif not self._counts_in(origin, number):
            count = 0
        # One that is said to be empty would be forgotten.
        return replace(there, count=max(0, count), fill=max(1, fill))

    def _is_here(self, origin: Origin, number: int) -> bool:
        """Whether an origin of a new partition is what that was before."""
        return origin.number == number and self.change.stays(number)

    def _counts_in(self, origin: Origin, number: int) -> bool:
        """Whether what is copied to several partitions is counted in this one."""
        return self.change.heirs(origin.number)[0] == number


def _origin(number: int, meta: Mapping[str, str], now: int) -> Origin:
    last_slice = int(meta.get("seen_slice") or 0)
    return Origin(number, read_state(dict(meta), now), int(meta.get("seen_fill") or 0), last_slice)


def _memory(origins: Sequence[Origin], share: float, most: int, bucket_fill: int) -> int:
    """Return the bytes of a *share* of some seen sets, which have *most* members in all."""
    members: Counter[tuple[int, int]] = Counter()
    total = 0.0
    for origin in origins:
        state = origin.state
        if state.how != "exact":
            bloom = Bloom(max(1, state.capacity), state.error_rate or 0.001)
            filters = bloom.memory(bloom.capacity * (2 ** (state.level + 1) - 1))
            total += 0 if origin.empty else filters
            continue
        for part in origin.parts:
            for level in range(part.base, part.level + 1):
                full = part.fill if level == part.level else buckets(level) * bucket_fill
                members[origin.part_in(part).number, level] += full
    share *= min(1.0, most / max(1, members.total()))
    for (_, level), count in members.items():
        mean = count * share / buckets(level)
        packed = mean * PACKED + min(mean, 1.0) * KEY
        total += buckets(level) * (packed if mean <= bucket_fill / FILL else mean * LOOSE)
    return round(total)


def buckets(level: int) -> int:
    """Return how many buckets a level has; see ``_seen.lua``."""
    return 4096 * int(16**level)
