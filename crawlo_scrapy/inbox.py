"""A worker's inbox: requests that it has leased and that the engine does not have yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from scrapy.utils.httpobj import urlparse_cached

from crawlo_scrapy.store.keys import clean

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.lane import Lane
    from crawlo_scrapy.store.frontier import Lease, Push

#: A request of a limited slot may be started so many seconds after its time. Where it takes
#: longer, the next ones are put off; longer than `LATE`, and it is left to another worker.
TOLERANCE = 0.015
LATE = 0.25
#: Who has started a request of a limited slot is given further ones ahead for so many seconds.
SERVES = 5.0
#: After so many requests of limited slots in a row it is another one's turn, if there is one.
IN_A_ROW = 3
#: For so many seconds before the time of such a request, its place in the engine is kept free.
KEPT_FREE = 0.1


@dataclass(eq=False)
class Handout:
    """A request that is ready for the engine, or that the engine has.

    `lease` is None when Redis could not carry it (`local`), or when others were given it while
    this worker was silent. `record` is what to record of a local one when it is through.
    `guards` are the handouts that may not be acked before this one is through; `waits_for`
    counts those that this one waits for. `tainted`: Redis may have lost a child of it. `lane` is
    that of the lease's partition. `wait` is `Lease.wait`, or the same for a local one.
    """

    request: Request
    lease: Lease | None
    lane: Lane | None = None
    local: bool = False
    record: Push | None = None
    guards: tuple[Handout, ...] = ()
    waits_for: int = 0
    wait: float | None = None
    tainted: bool = False


def slot_key(request: Request) -> str:
    """Return the slot that politeness counts *request* by: as Scrapy's downloader does."""
    slot = request.meta.get("download_slot")
    return str(slot) if slot else urlparse_cached(request).hostname or ""


def slot_of(request: Request) -> str:
    """Return the slot of *request* by the name that Redis has for it."""
    return clean(slot_key(request))


class Inbox:
    """Handouts by slot, and those of limited slots by the time that they were given.

    What cannot be started in its time goes to `late`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots: dict[str, list[tuple[int, int, Handout]]] = {}
        self._timed: list[tuple[float, int, str, Handout]] = []
        # When this worker may start the next request of a limited slot, by its own delay.
        self._cooling: dict[str, float] = {}
        # Limited slots that this worker serves, until when if nothing more comes.
        self._serves: dict[str, float] = {}
        # Whether it had no place for one of them in time, and has started nothing since.
        self._stuck = False
        # How many of them were handed out since the last of another slot.
        self._in_a_row = 0
        #: By how many seconds this worker was late with limited slots, as Redis does not know yet.
        self.behind: dict[str, float] = {}
        self._arrivals = 0
        self.late: list[Handout] = []

    def __len__(self) -> int:
        return sum(map(len, self._slots.values())) + len(self._timed)

    def __iter__(self) -> Iterator[Handout]:
        for heap in self._slots.values():
            for entry in heap:
                yield entry[-1]
        for timed in self._timed:
            yield timed[-1]

    def put(self, handout: Handout) -> None:
        """Take in a handout; the engine is woken when it is its turn."""
        self._arrivals += 1
        slot = slot_key(handout.request)
        if (wait := handout.wait) is not None:
            wait += self.behind.get(clean(slot), 0.0)
            heappush(self._timed, (time.monotonic() + wait, self._arrivals, slot, handout))
            # A moment later, lest the timer goes off a moment too early.
            asyncio.get_running_loop().call_later(wait + 0.001, self._engine.wake)
            return
        heap = self._slots.setdefault(slot, [])
        heappush(heap, (-handout.request.priority, self._arrivals, handout))
        if len(heap) == 1:
            self._engine.wake()

    def pop(self) -> Handout | None:
        """Take out what the engine is to start now; None when nothing is."""
        if self._in_a_row >= IN_A_ROW and (best := self._next_slot()) is not None:
            return self._take(best)
        now = time.monotonic()
        while self._timed and self._timed[0][0] <= now:
            due, _, slot, handout = heappop(self._timed)
            if now - due > LATE or self._cooling.get(slot, 0.0) > now:
                self.late.append(handout)
                continue
            self._start(slot, now, now - due)
            self._in_a_row += 1
            self._stuck = False
            return handout
        if not self._slots:
            return None
        if self._timed:
            kept = min(self._soon(now), max(1, self._engine.concurrency // 2))
            if kept and self._engine.free <= kept:
                return None
        best = self._next_slot()
        return self._take(best) if best is not None else None

    def give_up_late(self) -> None:
        """See what the full engine, which asks for nothing, had no place for at its time."""
        if self._engine.free:
            return  # it is about to ask
        now = time.monotonic()
        while self._timed and now - self._timed[0][0] > LATE:
            self.late.append(heappop(self._timed)[-1])
            self._stuck = True

    def _start(self, slot: str, now: float, late: float) -> None:
        """Keep the distance to the next request of a slot whose last one is *late*."""
        if own := self._engine.delay_of(slot):
            self._cooling[slot] = now + own
        self._serves[slot] = now + SERVES
        if late <= TOLERANCE:
            return
        late -= TOLERANCE
        name = clean(slot)
        self.behind[name] = self.behind.get(name, 0.0) + late
        self._timed = [
            (due + late if other == slot else due, number, other, handout)
            for due, number, other, handout in self._timed
        ]
        heapify(self._timed)

    def told(self, behind: Mapping[str, float]) -> None:
        """Redis knows now of this worker's being *behind*; what it leases allows for it."""
        for slot in self.behind.keys() & behind.keys():
            self.behind[slot] -= behind[slot]
            if self.behind[slot] <= 0:
                del self.behind[slot]

    def _next_slot(self) -> str | None:
        """Choose by priority, then by how busy a slot is: a slow site must not take it all."""
        if len(self._slots) == 1:
            [slot] = self._slots
            return slot if not self._engine.is_full(slot) else None
        open_slots = [slot for slot in self._slots if not self._engine.is_full(slot)]
        return min(open_slots, key=self._rank, default=None)

    def _rank(self, slot: str) -> tuple[int, int, int]:
        priority, arrival, _ = self._slots[slot][0]
        return priority, self._engine.busy(slot), arrival

    def _take(self, slot: str) -> Handout:
        self._in_a_row = 0
        self._stuck = False
        heap = self._slots[slot]
        handout = heappop(heap)[-1]
        if not heap:
            del self._slots[slot]
        return handout

    @property
    def stuck(self) -> bool:
        """Whether it lately had no place for a request at its time, and has none yet."""
        return self._stuck and not self._engine.free

    @property
    def room(self) -> int:
        """How many more requests of limited slots this worker can start at their time."""
        places, free = self._engine.concurrency, self._engine.free
        soon_free = free if self._stuck else max(free, places // 2)
        return min(soon_free - self._soon(time.monotonic()), places - len(self._timed))

    def _soon(self, now: float) -> int:
        """Return how many requests of limited slots need a place about now."""
        return sum(1 for entry in self._timed if entry[0] <= now + KEPT_FREE)

    def serves(self) -> list[str]:
        """Return the limited slots that this worker serves, by their `clean` names."""
        now = time.monotonic()
        self._serves = {slot: until for slot, until in self._serves.items() if until > now}
        return [clean(slot) for slot in self._serves if slot not in self._cooling]

    def startable(self) -> int:
        """Return how many requests there are of slots that can start one now."""
        return sum(
            len(heap) for slot, heap in self._slots.items() if not self._engine.is_full(slot)
        )

    def unwanted(self) -> list[str]:
        """Return the slots, by their `clean` names, of which no more should come now."""
        full = [clean(slot) for slot in self._slots if self._engine.is_full(slot)]
        return full + self.cooling()

    def cooling(self) -> list[str]:
        """Return the limited slots that wait for this worker's own delay (`clean` names)."""
        now = time.monotonic()
        self._cooling = {slot: until for slot, until in self._cooling.items() if until > now}
        return [clean(slot) for slot in self._cooling]

    def reserved(self) -> list[str]:
        """Return the slots (`clean` names) whose next time is that of a local request here."""
        return [clean(slot) for _, _, slot, handout in self._timed if handout.local]

    def rear_half(self) -> list[Handout]:
        """Take out the half of what has no time of its own that would be handed out last."""
        entries = sorted(entry for heap in self._slots.values() for entry in heap)
        rear = {id(entry[-1]) for entry in entries[(len(entries) + 1) // 2 :] if entry[-1].lease}
        return self.keep(lambda handout: id(handout) not in rear)

    def keep(self, stays: Callable[[Handout], bool]) -> list[Handout]:
        """Take out and return those for which *stays* is false."""
        gone = [handout for handout in self if not stays(handout)]
        if gone:
            for slot, heap in list(self._slots.items()):
                self._slots[slot] = [entry for entry in heap if stays(entry[-1])]
                heapify(self._slots[slot])
                if not self._slots[slot]:
                    del self._slots[slot]
            self._timed = [entry for entry in self._timed if stays(entry[-1])]
            heapify(self._timed)
        return gone
