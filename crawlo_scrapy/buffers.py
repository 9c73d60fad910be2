"""What a worker holds in memory, between Scrapy and Redis.

Scrapy's side (`offer`, `take`, `pending`) touches nothing else. The other side is for the
exchange alone: what to send, and what came of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.inbox import Handout, Inbox, slot_of
from crawlo_scrapy.outbox import Outbox, Outgoing
from crawlo_scrapy.store.frontier import PUSH_BATCH, Lease, Push

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine

#: An inbox with requests that wait for slow sites holds at most so many times the prefetch.
MOST_WAITING = 4
#: Pause while others may be starving for what this worker has in its outbox, in seconds.
STARVING_PAUSE = 0.01


class Buffers:
    """The requests of one worker, from the outbox to the ack. Nothing here waits for Redis.

    *prefetch*, *low_water* and *outbox_limit* are numbers of requests. `wake` is set when Redis
    should be spoken to soon. `local` counts requests that only this worker knows; `queued` is
    how many Redis lately had queued. `releases` and `burials` are emptied by the exchange.
    """

    def __init__(
        self, engine: Engine, stats: Any, *, prefetch: int, low_water: int, outbox_limit: int
    ) -> None:
        self._engine = engine
        self._stats = stats
        self.prefetch = prefetch
        self._low_water = low_water
        self.outbox = Outbox(outbox_limit)
        self.inbox = Inbox(engine)
        self._suspects: list[Handout] = []
        self.handouts: list[Handout] = []
        # Done leases, each with the number of requests that must be pushed before its ack.
        self.acks: deque[tuple[int, str]] = deque()
        self.releases: list[str] = []
        self.burials: list[tuple[str, str, str, Push | None]] = []
        self.local = 0
        self.queued = 0
        self.wake = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = self._paused = False

    # What Scrapy and the seeding call.

    def offer(self, push: Push, request: Request) -> None:
        """Put a request into the outbox."""
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
            self.inbox.put(handout)
        else:
            self._append(Outgoing(push._replace(mode="c"), request, handout))

    def bury(self, push: Push, reason: str, error: str) -> None:
        """Make a dead letter of a request that cannot be queued."""
        self.burials.append((f"x{time.time_ns()}", reason, error, push))
        self.wake.set()

    def take(self) -> Request | None:
        """Hand out the next request, or None."""
        if not self.inbox or self._closed or self._paused:
            return None
        if self.outbox.full:
            self._room.clear()  # so that the engine is woken once there is room
            self.wake.set()
            return None
        handout = self.inbox.pop()
        if self.inbox.late:
            self._release_late()
        if handout is None:
            return None
        self.handouts.append(handout)
        if len(self.inbox) < self._low_water and (self.queued or self.outbox):
            self.wake.set()
        return handout.request

    def _release_late(self) -> None:
        self._stats.inc_value("crawlo/late", len(self.inbox.late))
        self._release(self.inbox.late)
        self.inbox.late.clear()
        self.wake.set()

    def _release(self, handouts: list[Handout]) -> None:
        self.releases += [h.lease.id for h in handouts if h.lease]

    @property
    def pending(self) -> bool:
        """Whether this worker has, or Redis lately had, requests to hand out."""
        return bool(self.inbox or self.outbox or self._suspects or self.queued)

    async def wait_for_room(self) -> None:
        """Return once the outbox has room, or this worker closes."""
        while self.outbox.full and not self._closed:
            self._room.clear()
            self.wake.set()
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

    def scale(self, concurrency: int) -> None:
        """Keep as much ready as suits so many requests at the same time."""
        self.prefetch = round(self.prefetch * concurrency / self._low_water)
        self._low_water = concurrency

    def close(self) -> None:
        """Hand out nothing more, and let nobody wait for room."""
        self._closed = True
        self.wake.set()
        self._room.set()

    def _append(self, outgoing: Outgoing) -> None:
        self.outbox.append(outgoing)
        if len(self.outbox) >= PUSH_BATCH:
            self.wake.set()
        elif len(self.outbox) == 1 and not self.queued:
            # Others, or this worker, may starve; the rest of the page's links are on their way.
            asyncio.get_running_loop().call_later(STARVING_PAUSE, self.wake.set)

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
        elif handout.lease is None:
            self._stats.inc_value("crawlo/done_without_lease")
        elif handout.tainted:
            self.releases.append(handout.lease.id)
        else:
            self.acks.append((self.outbox.offered, handout.lease.id))

    def _drop_local(self, handout: Handout) -> None:
        self.local -= 1
        for guard in handout.guards:
            guard.waits_for -= 1

    def give_back(self) -> None:
        """Give back what was not started: others need not wait until this worker is through."""
        self._release(self._drop_unstarted())

    def share(self) -> None:
        """Give back half of what was not started: others have nothing to do."""
        self._release(self.inbox.rear_half())

    def give_back_slots(self, slots: set[str]) -> None:
        """Give back what was not started of *slots*, by their `clean` names."""
        self._release(self.inbox.keep(lambda h: h.lease is None or slot_of(h.request) not in slots))

    def give_back_all(self) -> None:
        """Give back what is not through either; what only this worker knows is gone."""
        self._release(self.handouts)
        self.inbox.keep(lambda handout: False)
        self.handouts.clear()

    def due_acks(self, pushing: int) -> list[str]:
        """Return the leases to ack together with a push of *pushing* requests."""
        reach = self.outbox.pushed + pushing
        due = takewhile(lambda ack: ack[0] <= reach, islice(self.acks, PUSH_BATCH))
        return [lease_id for _, lease_id in due]

    @property
    def wanted(self) -> int:
        """How many requests to lease."""
        if self.closing or self._paused or self.outbox.full:
            return 0
        # What waits for a slow site must not keep other sites' requests out, within limits.
        here = self.inbox.startable() + len(self._suspects)
        return max(0, min(self.prefetch - here, MOST_WAITING * self.prefetch - len(self.inbox)))

    @property
    def room(self) -> int:
        """How many requests of limited slots to lease, besides."""
        shut = self.closing or self._paused or self.outbox.full
        return 0 if shut else max(0, self.inbox.room)

    def started(self) -> list[str]:
        """Return the leases that the engine has, or is about to get once Redis knows."""
        return [h.lease.id for h in (*self.handouts, *self._suspects) if h.lease]

    # What came of it.

    def confirm(self, number: int, duplicates: set[int], acked: int) -> list[Request]:
        """Take out what Redis has now: the batch, as *number*, and the first *acked* acks.

        *duplicates* are places in the batch; returns the requests that are dropped with them.
        """
        for _ in range(acked):
            self.acks.popleft()
        dropped = []
        for index, outgoing in enumerate(self.outbox.confirm(number)):
            if index in duplicates:
                if outgoing.push.mode != "r" and outgoing.request is not None:
                    dropped.append(outgoing.request)
                if outgoing.local:
                    self._drop_local(outgoing.local)
            elif outgoing.local:
                self.inbox.put(outgoing.local)
        if not self.outbox.full and not self._room.is_set():
            self._room.set()
            self._engine.wake()
        # Redis knows now that these are about to be started.
        for suspect in self._suspects:
            self.inbox.put(suspect)
        self._suspects.clear()
        return dropped

    def receive(self, lease: Lease, request: Request) -> None:
        """Take in a lease. A suspect one is not handed out before Redis knows of it."""
        handout = Handout(request, lease)
        if lease.suspect:
            self._suspects.append(handout)
            self.wake.set()
        else:
            self.inbox.put(handout)

    @property
    def idle(self) -> bool:
        """Whether nothing is here to push, to crawl or to ack."""
        return not (self.outbox or self.inbox or self.handouts or self.local or self.acks)

    # When Redis and this worker disagree.

    def leases(self) -> list[str]:
        """Return the leases that Redis should hold for this worker."""
        handouts = (*self.inbox, *self.handouts, *self._suspects)
        ids = [h.lease.id for h in handouts if h.lease]
        ids += [lease_id for _, lease_id in self.acks] + self.releases
        ids += [letter_id for letter_id, _, _, push in self.burials if push is None]
        return ids

    def reconcile(self, held: set[str]) -> list[str]:
        """Forget the leases that Redis does not hold; return those that only Redis knows."""

        def stays(handout: Handout) -> bool:
            return handout.lease is None or handout.lease.id in held

        self.inbox.keep(stays)
        self._suspects = [suspect for suspect in self._suspects if stays(suspect)]
        for handout in self.handouts:
            if not stays(handout):
                handout.lease = None
        self.acks = deque(ack for ack in self.acks if ack[1] in held)
        return sorted(held.difference(self.leases()))

    def roll_back(self, known: int) -> None:
        """Send again what Redis has forgotten: what it had confirmed after batch *known*."""
        if not self.outbox.roll_back(known):
            for handout in self.handouts:
                handout.tainted = True
            self.releases += [lease_id for _, lease_id in self.acks]
            self.acks.clear()

    def start_over(self) -> None:
        """Drop what was not started, after others have been given it; what was is done twice."""
        self.outbox.start_over()
        self._drop_unstarted()
        self.acks.clear()
        self.releases.clear()
        self.burials = [burial for burial in self.burials if burial[3]]
        for handout in self.handouts:
            handout.lease = None

    def _drop_unstarted(self) -> list[Handout]:
        gone = self.inbox.keep(lambda handout: handout.lease is None) + self._suspects
        self._suspects.clear()
        return gone
