"""From one way of dividing a crawl to another: what of an old partition belongs into which new."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from crawlo_scrapy.store.partitions import Layout


@dataclass(frozen=True)
class Change:
    """From *old* to *new*."""

    old: Layout
    new: Layout

    @property
    def splits_seen(self) -> bool:
        """Whether each fingerprint tells its new partition; else all that may need it get it."""
        return self.new.count > 1 and self.new.by == "fingerprint"

    def stays(self, number: int) -> bool:
        """Whether an old partition is a new one, too: its keys are the same."""
        return number == 0 or (self.old.count == self.new.count and number < self.new.count)

    def place(self, slot: bytes, element: bytes) -> int:
        """Return where a queued request belongs. An element knows no fingerprint: any will do."""
        # Its first byte counts attempts.
        return self.new.place(slot.decode(errors="replace"), zlib.crc32(element[1:]))

    def places(self, slot: str) -> list[int]:
        """Return where the limits of a slot belong; those of all slots ("") belong everywhere."""
        if slot and not self.splits_seen:
            return [self.new.place(slot, 0)]
        return list(range(self.new.count))

    def heirs(self, number: int) -> list[int]:
        """Return which partitions may need what an old one has seen.

        A slot of partition p of m comes to one of n that leaves the same rest as p when it is
        divided by their greatest common divisor, for that divides the hash of the slot in both.
        """
        alike = self.old.by == self.new.by
        step = math.gcd(self.old.count, self.new.count) if alike else 1
        return list(range(number % step, self.new.count, step))

    def seen_by(self, number: int, member: int) -> list[int]:
        """Return which partitions get a fingerprint that an old one has seen."""
        if not self.splits_seen:
            return self.heirs(number)
        return [member % self.new.count]

    def is_own(self, number: int, member: int) -> bool:
        """Whether an old partition can have seen that itself, and not got it from another now."""
        return self.old.by == "slot" or member % self.old.count == number

    def origins(self, number: int) -> list[int]:
        """Return the old partitions whose seen sets a new one gets; its own comes first."""
        found = [old for old in range(self.old.count) if number in self.heirs(old)]
        return sorted(found, key=lambda old: (not (old == number and self.stays(old)), old))
