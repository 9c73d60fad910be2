"""Requests that only this worker knows, until their slots let them go."""

from __future__ import annotations

from crawlo_scrapy.inbox import Handout, slot_of
from crawlo_scrapy.store.slots import AT_ONCE


class Turns:
    """Local requests by slot (its `clean` name).

    Redis has none of them, and so never leases one: it is asked for a time of the slot instead.
    `last` numbers what was put in last.
    """

    def __init__(self) -> None:
        self._slots: dict[str, list[tuple[int, int, Handout]]] = {}
        self.last = 0

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def put(self, handout: Handout) -> None:
        self.last += 1
        entry = (-handout.request.priority, self.last, handout)
        self._slots.setdefault(slot_of(handout.request), []).append(entry)

    def slots(self) -> list[str]:
        """Return the slots that have requests here."""
        return list(self._slots)

    def take(self, slot: str, wait: float, last: int) -> list[Handout]:
        """Take out what is to be started in *wait* seconds: one, or all where that is `AT_ONCE`.

        Only those up to the number *last* were here when Redis was asked: the slot may have been
        put on hold since.
        """
        entries = sorted(self._slots[slot])
        taken = [entry for entry in entries if entry[1] <= last]
        taken = taken if wait == AT_ONCE else taken[:1]
        numbers = {number for _, number, _ in taken}
        left = [entry for entry in entries if entry[1] not in numbers]
        if left:
            self._slots[slot] = left
        else:
            del self._slots[slot]
        for _, _, handout in taken:
            handout.wait = None if wait == AT_ONCE else wait
        return [handout for _, _, handout in taken]
