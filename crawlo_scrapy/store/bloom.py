"""How the seen set's Bloom filters are cut; the filters themselves are ``lua/_seen_bloom.lua``.

A scalable Bloom filter (Almeida et al., 2007): the first filter is made for some number of
fingerprints. When it is full another one is opened, for twice as many and with half the error, and
all are looked into. So the share of false positives never exceeds the error rate, and memory grows
with what was seen.

A filter is made of blocks (Putze et al., 2007): all bits of a fingerprint are in one, so that one
command reads them. Some blocks hold more than others, for which a filter is a few percent larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

#: Bits of a block.
BLOCK = 1024
#: How many filters are planned: the last would be for 16 million times the first's capacity.
FILTERS = 24


@dataclass(frozen=True)
class Bloom:
    """Filters of which the first is for *capacity* fingerprints; together they err *error_rate*."""

    capacity: int
    error_rate: float

    def shape(self, level: int) -> tuple[int, int]:
        """Return blocks and bits a fingerprint of one filter; the first is number 0."""
        bits, hashes = _smallest(self.error_rate * 0.5 ** (level + 1))
        return math.ceil(self.capacity * 2**level * bits / BLOCK), hashes

    @property
    def shapes(self) -> str:
        """The shapes of all filters as ``_seen_bloom.lua`` reads them."""
        pairs = [self.shape(level) for level in range(FILTERS)]
        return ",".join(f"{blocks}:{hashes}" for blocks, hashes in pairs)

    def filters(self, count: int) -> int:
        """Return how many filters there are once *count* fingerprints were recorded."""
        return max(1, math.ceil(math.log2(count / self.capacity + 1)))

    def memory(self, count: int) -> int:
        """Return how many bytes these filters need."""
        return sum(self.shape(level)[0] for level in range(self.filters(count))) * BLOCK // 8


@cache
def _smallest(error: float) -> tuple[float, int]:
    """Return the fewest bits of memory a fingerprint, and its bits, that err less than *error*."""
    hashes = max(1, round(-math.log2(error)))
    bits = -math.log(error) / math.log(2) ** 2
    while _false_positives(bits, hashes) > error:
        bits *= 1.01
    return bits, hashes


def _false_positives(bits: float, hashes: int) -> float:
    """Return what a full filter errs: blocks hold numbers of a Poisson distribution."""
    mean = BLOCK / bits
    total, chance = 0.0, math.exp(-mean)
    for count in range(int(mean + 12 * math.sqrt(mean)) + 12):
        total += chance * (1 - (1 - 1 / BLOCK) ** (count * hashes)) ** hashes
        chance *= mean / (count + 1)
    return total
