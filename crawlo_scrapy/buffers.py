"""What a worker holds in memory, between Scrapy and Redis.

Scrapy's side (`offer`, `take`, `pending`) touches nothing else. The other side is for the
exchange alone: what to send, and what came of it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.inbox import Handout, Inbox, slot_of
from crawlo_scrapy.lane import Lane
from crawlo_scrapy.outbox import Outgoing
from crawlo_scrapy.store.frontier import PUSH_BATCH, Lease, Push
from crawlo_scrapy.store.partitions import UNDIVIDED, Layout

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine

#: An inbox with requests that wait for slow sites holds at most so many times the prefetch.
MOST_WAITING = 4
#: Pause while others may be starving for what this worker has in its outbox, in seconds.
STARVING_PAUSE = 0.01


class Buffers:
    """The requests of one worker, from the outbox to the ack. Nothing here waits for Redis.

    *prefetch*, *low_water* and *outbox_limit* are numbers of requests. There is a lane to each
    partition of the crawl. `offered` counts what was put into outboxes so far; `local` requests
    that only this worker knows.
    """

    def __init__(
        self,
        engine: Engine,
        stats: Any,
        *,
        prefetch: int,
        low_water: int,
        outbox_limit: int,
        layout: Layout = UNDIVIDED,
    ) -> None:
        self._engine = engine
        self._stats = stats
        self.prefetch = prefetch
        self.low_water = low_water
        self._outbox_limit = outbox_limit
        self._layout = layout
        self.lanes = [Lane(number) for number in range(layout.count)]
        self.inbox = Inbox(engine)
        self.handouts: list[Handout] = []
        self.offered = 0
        self.local = 0
        self._room = asyncio.Event()
        self._closed = self._paused = False

    # What Scrapy and the seeding call.

    def offer(self, push: Push, request: Request) -> None:
        """Put a request into the outbox of its partition."""
        self._append(Outgoing(push, request))

    def offer_local(self, push: Push | None, request: Request) -> None:
        """Keep a request that Redis cannot carry. *push* holds its fingerprint, if it is filtered.

        Whatever is in progress now may be its parent, and is not acked before it is through.
        """
        parents = tuple(h for h in self.handouts if self._engine.has(h.request))
        handout = Handout(request, None, local=True, record=push, guards=parents)
        for parent in parents:
            parent.waits_for += 1
        self.local += 1
        if push is None:
            self._wait_for_turn(handout)
        else:
            self._append(Outgoing(push._replace(mode="c"), request, handout))

    def bury(self, push: Push, reason: str, error: str) -> None:
        """Make a dead letter of a request that cannot be queued."""
        lane = self._lane_of(push)
        lane.burials.append((f"x{time.time_ns()}", reason, error, push))
        lane.wake.set()

    def take(self) -> Request | None:
        """Hand out the next request, or None."""
        if not self.inbox or self._closed or self._paused:
            return None
        if self.full:
            self._room.clear()  # so that the engine is woken once there is room
            self.wake()
            return None
        handout = self.inbox.pop()
        if self.inbox.late:
            self._release_late()
        if handout is None:
            return None
        self.handouts.append(handout)
        if handout.wait is not None:
            self._ask_for_next(handout)
        if len(self.inbox) < self.low_water:
            for lane in self.lanes:
                if lane.queued or lane.outbox:
                    lane.wake.set()
        return handout.request

    def _ask_for_next(self, handout: Handout) -> None:
        """Have the place of a limited slot's request filled by another one soon."""
        lane = handout.lane or self._lane_of_slot(handout)
        if lane.turns if handout.local else lane.queued and self.inbox.room > 0:
            lane.wake.set()

    def release_late(self) -> None:
        """Give back what could not be started at its time: others may have a place for it."""
        self.inbox.give_up_late()
        if self.inbox.late:
            self._release_late()

    def _release_late(self) -> None:
        self._stats.inc_value("crawlo/late", len(self.inbox.late))
        self._release(self.inbox.late)
        self.inbox.late.clear()
        self.wake()

    def _release(self, handouts: list[Handout]) -> None:
        for handout in handouts:
            if handout.local:
                self._lane_of_slot(handout).turns.put(handout)
            elif handout.lease and handout.lane:
                handout.lane.releases.append(handout.lease.id)

    def _wait_for_turn(self, handout: Handout) -> None:
        lane = self._lane_of_slot(handout)
        lane.turns.put(handout)
        lane.wake.set()

    def _lane_of_slot(self, handout: Handout) -> Lane:
        return self.lanes[self._layout.place(slot_of(handout.request), 0)]

    @property
    def pending(self) -> bool:
        """Whether this worker has, or Redis lately had, requests to hand out."""
        return bool(self.inbox) or any(
            lane.outbox or lane.suspects or lane.turns or lane.queued for lane in self.lanes
        )

    @property
    def waiting(self) -> int:
        """How many requests wait in outboxes."""
        return sum(len(lane.outbox) for lane in self.lanes)

    @property
    def full(self) -> bool:
        """Whether so many wait that whoever puts more in has to look."""
        return self.waiting >= self._outbox_limit

    @property
    def queued(self) -> int:
        """How many requests Redis lately had queued."""
        return sum(lane.queued for lane in self.lanes)

    @property
    def safe(self) -> int:
        """The number of the last request before which all that was offered is in Redis."""
        return min(self._safe(lane) for lane in self.lanes)

    def _safe(self, lane: Lane, pushing: int = 0) -> int:
        first = lane.outbox.first(pushing)
        return self.offered if first is None else first - 1

    def wake(self) -> None:
        """Have all partitions spoken to soon."""
        for lane in self.lanes:
            lane.wake.set()

    async def wait_for_room(self) -> None:
        """Return once the outboxes have room, or this worker closes."""
        while self.full and not self._closed:
            self._room.clear()
            self.wake()
            await self._room.wait()

    @property
    def closing(self) -> bool:
        """Whether this worker takes on nothing new."""
        return self._closed or self._engine.closing

    def pause(self, paused: bool) -> bool:
        """Hand out nothing while *paused*, and give back what is here; False if it was so."""
        if paused == self._paused:
            return False
        self._paused = paused
        if paused:
            self.give_back()
        self._engine.wake()
        return True

    def close(self) -> None:
        """Hand out nothing more, and let nobody wait for room."""
        self._closed = True
        self.wake()
        self._room.set()

    def _lane_of(self, push: Push) -> Lane:
        return self.lanes[self._layout.place(push.slot, push.member)]

    def _append(self, outgoing: Outgoing) -> None:
        lane = self._lane_of(outgoing.push)
        self.offered += 1
        outgoing.number = self.offered
        # What is in progress may be its parent; that is acked after it, in any partition.
        outgoing.orphan = not any(handout.lease for handout in self.handouts)
        lane.outbox.append(outgoing)
        if len(lane.outbox) >= PUSH_BATCH:
            lane.wake.set()
        elif len(lane.outbox) == 1 and not lane.queued:
            # Others, or this worker, may starve; the rest of the page's links are on their way.
            asyncio.get_running_loop().call_later(STARVING_PAUSE, lane.wake.set)

    # What the exchange sends.

    def collect_done(self) -> None:
        """Find what the engine is through with."""
        engine_has = self._engine.has
        going_on = []
        for handout in self.handouts:
            if handout.waits_for or engine_has(handout.request):
                going_on.append(handout)
            else:
                self._settle(handout)
        self.handouts = going_on

    def _settle(self, handout: Handout) -> None:
        if handout.local:
            self._drop_local(handout)
            if handout.record:
                self._append(Outgoing(handout.record._replace(mode="r"), handout.request))
        elif handout.lease is None or handout.lane is None:
            self._stats.inc_value("crawlo/done_without_lease")
        elif handout.tainted:
            handout.lane.releases.append(handout.lease.id)
        else:
            handout.lane.acks.append((self.offered, handout.lease.id))

    def _drop_local(self, handout: Handout) -> None:
        self.local -= 1
        for guard in handout.guards:
            guard.waits_for -= 1

    def give_back(self) -> None:
        """Give back what was not started: others need not wait until this worker is through."""
        for lane in self.lanes:
            self._release(self._drop_unstarted(lane))

    def share(self) -> None:
        """Give back half of what was not started: others have nothing to do."""
        self._release(self.inbox.rear_half())

    def give_back_slots(self, slots: set[str]) -> None:
        """Give back what was not started of *slots*, by their `clean` names."""
        self._release(self.inbox.keep(lambda h: slot_of(h.request) not in slots))

    def give_back_all(self) -> None:
        """Give back what is not through either; what only this worker knows is gone."""
        self._release([handout for handout in self.handouts if handout.lease])
        self.inbox.keep(lambda handout: False)
        self.handouts.clear()

    def due_acks(self, lane: Lane, pushing: int) -> list[str]:
        """Return the leases to ack together with a push of *pushing* requests to *lane*."""
        reach = self._safe(lane, pushing)
        reach = min([reach, *(self._safe(other) for other in self.lanes if other is not lane)])
        due = takewhile(lambda ack: ack[0] <= reach, islice(lane.acks, PUSH_BATCH))
        return [lease_id for _, lease_id in due]

    def wanted(self, lane: Lane | None = None) -> int:
        """How many requests to lease, or to lease from *lane*."""
        if self.closing or self._paused or self.full:
            return 0
        # What waits for a slow site must not keep other sites' requests out, within limits.
        here = self.inbox.startable() + sum(len(lane.suspects) for lane in self.lanes)
        most = min(self.prefetch - here, MOST_WAITING * self.prefetch - len(self.inbox))
        return self._share(lane, max(0, most))

    @property
    def starving(self) -> bool:
        """Whether the engine has places, and there is nothing here that it could start."""
        return bool(self._engine.free and not self.waiting and not self.inbox.startable())

    def room(self, lane: Lane) -> int:
        """How many requests of limited slots to lease from *lane*, besides."""
        shut = self.closing or self._paused or self.full
        return 0 if shut else self._share(lane, max(0, self.inbox.room))

    def _share(self, lane: Lane | None, number: int) -> int:
        """Divide *number* among the lanes that have something, or one with nothing and them."""
        others = sum(1 for other in self.lanes if other.queued and other is not lane)
        return number if lane is None else math.ceil(number / (others + 1))

    def turns_wanted(self, lane: Lane) -> dict[str, int]:
        """Return the slots that local requests wait for, one each, and how many of each run."""
        shut = self.closing or self._paused or self.full or self.inbox.stuck
        if shut or not lane.turns:
            return {}
        running = Counter(slot_of(h.request) for h in self.handouts if h.local)
        not_now = {*self.inbox.reserved(), *self.inbox.cooling()}
        return {slot: running[slot] for slot in lane.turns.slots() if slot not in not_now}

    def take_turns(self, lane: Lane, waits: Mapping[str, float | None], last: int) -> None:
        """Take up when slots' local requests, up to number *last*, may be started."""
        for slot, wait in waits.items():
            if wait is not None:
                for handout in lane.turns.take(slot, wait, last):
                    self.inbox.put(handout)

    def started(self, lane: Lane) -> list[str]:
        """Return the leases that the engine has, or is about to get once Redis knows."""
        return [h.lease.id for h in (*self.handouts, *lane.suspects) if h.lease and h.lane is lane]

    # What came of it.

    def confirm(self, lane: Lane, number: int, duplicates: set[int], acked: int) -> list[Request]:
        """Take out what Redis has now: the batch, as *number*, and the first *acked* acks.

        *duplicates* are places in the batch; returns the requests that are dropped with them.
        """
        for _ in range(acked):
            lane.acks.popleft()
        dropped = []
        for index, outgoing in enumerate(lane.outbox.confirm(number)):
            if index in duplicates:
                if outgoing.push.mode != "r" and outgoing.request is not None:
                    dropped.append(outgoing.request)
                if outgoing.local:
                    self._drop_local(outgoing.local)
            elif outgoing.local:
                self._wait_for_turn(outgoing.local)
            elif outgoing.orphan and outgoing.push.mode not in "cr":
                lane.orphans = True
        if not self.full and not self._room.is_set():
            self._room.set()
            self._engine.wake()
        # Redis knows now that these are about to be started.
        for suspect in lane.suspects:
            self.inbox.put(suspect)
        lane.suspects.clear()
        return dropped

    def receive(self, lane: Lane, lease: Lease, request: Request) -> None:
        """Take in a lease. A suspect one is not handed out before Redis knows of it."""
        handout = Handout(request, lease, lane, wait=lease.wait)
        if lease.suspect:
            lane.suspects.append(handout)
            lane.wake.set()
        else:
            self.inbox.put(handout)

    @property
    def idle(self) -> bool:
        """Whether nothing is here to push, to crawl or to ack."""
        busy = self.inbox or self.handouts or self.local
        return not busy and not any(lane.outbox or lane.acks for lane in self.lanes)

    # When Redis and this worker disagree.

    def leases(self, lane: Lane) -> list[str]:
        """Return the leases that *lane*'s partition should hold for this worker."""
        handouts = (*self.inbox, *self.handouts, *lane.suspects)
        ids = [h.lease.id for h in handouts if h.lease and h.lane is lane]
        ids += [lease_id for _, lease_id in lane.acks] + lane.releases
        ids += [letter_id for letter_id, _, _, push in lane.burials if push is None]
        return ids

    def reconcile(self, lane: Lane, held: set[str]) -> list[str]:
        """Forget the leases that Redis does not hold; return those that only Redis knows."""

        def stays(handout: Handout) -> bool:
            return handout.lease is None or handout.lane is not lane or handout.lease.id in held

        self.inbox.keep(stays)
        lane.suspects = [suspect for suspect in lane.suspects if stays(suspect)]
        for handout in self.handouts:
            if not stays(handout):
                handout.lease = None
        lane.acks = deque(ack for ack in lane.acks if ack[1] in held)
        return sorted(held.difference(self.leases(lane)))

    def roll_back(self, lane: Lane, known: int) -> None:
        """Send again what Redis has forgotten: what it had confirmed after batch *known*."""
        if not lane.outbox.roll_back(known):
            for handout in self.handouts:
                handout.tainted = True
            for other in self.lanes:
                other.releases += [lease_id for _, lease_id in other.acks]
                other.acks.clear()

    def start_over(self, lane: Lane) -> None:
        """Drop what was not started, after others have been given it; what was is done twice."""
        lane.outbox.start_over()
        for other in self.lanes:
            other.outbox.disown()
        self._drop_unstarted(lane)
        lane.acks.clear()
        lane.releases.clear()
        lane.burials = [burial for burial in lane.burials if burial[3]]
        for handout in self.handouts:
            if handout.lane is lane:
                handout.lease = None

    def _drop_unstarted(self, lane: Lane) -> list[Handout]:
        gone = self.inbox.keep(lambda h: h.lease is None or h.lane is not lane) + lane.suspects
        lane.suspects.clear()
        return gone
