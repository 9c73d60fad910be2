"""A worker's exchange with Redis: the buffers that Scrapy sees, and the task that fills them.

Scrapy's side (`offer`, `take`, `pending`) touches memory only. One asyncio task speaks to
Redis: it pushes the outbox, acks what is done, and leases enough to refill the inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.store.errors import CrawlLost, StoreError, StoreUnavailable
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Lease, Membership, Push
from crawlo_scrapy.values import CannotDecode

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.membership import Registration
    from crawlo_scrapy.seeding import Seeding
    from crawlo_scrapy.serializer import RequestSerializer

logger = logging.getLogger(__name__)

#: The most bytes of payload in one push, unless a single request is larger.
PUSH_BYTES = 1 << 20
#: Shortest and longest pause between two questions of an idle worker, in seconds.
IDLE_PAUSE = (0.01, 0.5)
#: Pause while others may be starving for what this worker has in its outbox, in seconds.
STARVING_PAUSE = 0.01
#: First and longest pause while Redis is away, in seconds; each is shortened by a random part.
OUTAGE_PAUSE = (0.1, 5.0)
#: How many of its last pushes a worker remembers, to send again what Redis forgets. A server
#: with `appendfsync everysec` forgets two seconds at most.
REMEMBERED_PUSHES = 10_000
#: How long a worker that closes keeps trying to reach Redis, in seconds.
CLOSE_TIMEOUT = 10.0


@dataclass(eq=False)
class Handout:
    """A request that is ready for the engine, or that the engine has.

    `lease` is None when Redis could not carry it (`local`), or when others were given it while
    this worker was silent. `record` is what to record of a local one when it is through.
    `guards` are the handouts that may not be acked before this one is through; `waits_for`
    counts those that this one waits for. `tainted`: Redis may have lost a child of it.
    """

    request: Request
    lease: Lease | None
    local: bool = False
    record: Push | None = None
    guards: tuple[Handout, ...] = ()
    waits_for: int = 0
    tainted: bool = False


@dataclass(eq=False)
class Outgoing:
    """A request in the outbox. `local` is set when only this worker can crawl it.

    `request` is None for a push that Redis had confirmed and has forgotten.
    """

    push: Push
    request: Request | None
    local: Handout | None = None


class Exchange:
    """Buffers and loop of one worker.

    *prefetch* and *outbox_limit* are numbers of requests, *interval* is in seconds.
    *on_duplicate* is called with a request that Redis found to be a duplicate, *on_rollback* when
    Redis may have forgotten what this worker knows, *on_lost* when the crawl cannot go on.
    """

    def __init__(
        self,
        frontier: Frontier,
        registration: Registration,
        seeding: Seeding,
        serializer: RequestSerializer,
        engine: Engine,
        stats: Any,
        *,
        prefetch: int,
        low_water: int,
        outbox_limit: int,
        interval: float,
        on_duplicate: Callable[[Request], None],
        on_rollback: Callable[[], None],
        on_lost: Callable[[CrawlLost], None],
    ) -> None:
        self._frontier = frontier
        self._registration = registration
        self._seeding = seeding
        self._serializer = serializer
        self._engine = engine
        self._stats = stats
        self._prefetch = prefetch
        self._low_water = low_water
        self._outbox_limit = outbox_limit
        self._interval = interval
        self._on_duplicate = on_duplicate
        self._on_rollback = on_rollback
        self._on_lost = on_lost

        self._outbox: deque[Outgoing] = deque()
        self._inbox: list[tuple[int, int, Handout]] = []
        self._suspects: list[Handout] = []
        self._handouts: list[Handout] = []
        # Done leases, each with the number of requests that must be pushed before its ack.
        self._acks: deque[tuple[int, str]] = deque()
        self._releases: list[str] = []
        self._burials: list[tuple[str, str, str, Push | None]] = []
        self._local = 0
        self._offered = self._pushed = self._arrivals = 0
        # Size of the batch that was sent and not confirmed: Redis may have it, so it must be
        # sent again as it was. What came since would be taken for a part of it, and lost.
        self._unconfirmed = 0
        # Confirmed pushes with the number of their batch, and the last number that is not here.
        self._sent: deque[tuple[int, Push]] = deque()
        self._sent_until = 0

        self._queued = 0
        self._idle_pause = IDLE_PAUSE[0]
        self._last_finish_test = 0.0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._outage_since: float | None = None
        self._outage_pause = OUTAGE_PAUSE[0]
        self._stop = asyncio.Event()
        self.finished = False
        self.lost = False
        self._quiet = False
        self._keeps_open = False
        self._task: asyncio.Task[None] | None = None

    # What Scrapy calls: memory only.

    def offer(self, push: Push, request: Request) -> None:
        """Put a request into the outbox."""
        self._append(Outgoing(push, request))

    def offer_local(self, push: Push | None, request: Request) -> None:
        """Keep a request that Redis cannot carry. *push* holds its fingerprint, if it is filtered.

        Whatever is in progress now may be its parent, and is not acked before it is through.
        """
        parents = tuple(h for h in self._handouts if self._engine.has(h.request))
        handout = Handout(request, None, local=True, record=push, guards=parents)
        for guard in handout.guards:
            guard.waits_for += 1
        self._local += 1
        if push is None:
            self._put(handout)
        else:
            self._append(Outgoing(push._replace(mode="c"), request, handout))

    def bury(self, push: Push, reason: str, error: str) -> None:
        """Make a dead letter of a request that cannot be queued."""
        self._burials.append((f"x{time.time_ns()}", reason, error, push))
        self._wake.set()

    def take(self) -> Request | None:
        """Hand out the next request, or None."""
        if not self._inbox or self._closing:
            return None
        if self.outbox_full:
            self._room.clear()  # so that the engine is woken once there is room
            self._wake.set()
            return None
        handout = heappop(self._inbox)[2]
        self._handouts.append(handout)
        if len(self._inbox) < self._low_water and (self._queued or self._outbox):
            self._wake.set()
        return handout.request

    @property
    def pending(self) -> bool:
        """Whether this worker has, or Redis lately had, requests to hand out."""
        return bool(self._inbox or self._outbox or self._suspects or self._queued)

    @property
    def outbox_full(self) -> bool:
        return len(self._outbox) >= self._outbox_limit

    async def wait_for_room(self) -> None:
        """Return once the outbox has room."""
        while self.outbox_full and not self._closing:
            self._room.clear()
            self._wake.set()
            await self._room.wait()

    def wake(self) -> None:
        """Make the task go to Redis soon."""
        self._wake.set()

    @property
    def closing(self) -> bool:
        """Whether this worker takes on nothing new."""
        return self._closing or self._engine.closing

    @property
    def may_close(self) -> bool:
        """Whether nothing is left to do, unless this worker itself comes up with more."""
        return self.finished or (self._quiet and self._keeps_open)

    def keep_open(self) -> None:
        """Say that this worker may come up with more: until it leaves, others stay too."""
        self._keeps_open = True
        self._wake.set()

    @property
    def offered(self) -> int:
        """How many requests have been offered so far."""
        return self._offered

    @property
    def pushed(self) -> int:
        """How many of them are in Redis."""
        return self._pushed

    @property
    def local(self) -> int:
        """How many requests are left that only this worker knows."""
        return self._local

    # The task.

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._closing:
            try:
                await self._turn()
                self._report_return()
                pause = self._pause()
            except CrawlLost as exc:
                self.lost = True
                self._on_lost(exc)
                return
            except StoreError as exc:
                pause = self._report_outage(exc)
            except Exception:
                # A bug of ours must not leave a worker that looks alive and does nothing.
                logger.exception("The exchange with Redis failed; trying again")
                pause = OUTAGE_PAUSE[1]
            await self._sleep(pause)

    async def _sleep(self, pause: float) -> None:
        # Nothing but the end shortens the pause between two tries to reach Redis.
        event = self._wake if self._outage_since is None else self._stop
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), pause)
        self._wake.clear()

    def _pause(self) -> float:
        if len(self._outbox) >= PUSH_BATCH:
            return 0.0
        if self._queued and (self._inbox or self._handouts or self._outbox):
            return self._interval
        if self._outbox:
            return STARVING_PAUSE
        self._idle_pause = min(self._idle_pause * 2, IDLE_PAUSE[1])
        return min(self._interval, self._idle_pause) if self._handouts else self._idle_pause

    async def _turn(self) -> None:
        """One round: registry, seeding, exchange, finish test."""
        registration = self._registration
        if await registration.refresh():
            self._start_over()
        await self._exchange()
        await self._bury_waiting()
        await self._seeding.step(self, registration)
        if not (self._outbox or self._handouts or self._inbox or self._local or self._acks):
            await self._test_finish()

    async def _exchange(self) -> None:
        self._collect_done()
        if self.closing:
            self._give_back()
        member = self._registration.member
        await self._release_waiting(member)
        await self._bury_waiting()  # children that cannot be queued come before parents too
        size = self._unconfirmed or self._batch_size()
        batch = list(islice(self._outbox, size))
        reach = self._pushed + len(batch)
        acks: list[str] = []
        for needs, lease_id in self._acks:
            if needs > reach or len(acks) == PUSH_BATCH:
                break
            acks.append(lease_id)
        suspects = list(self._suspects)
        wanted = self._prefetch - len(self._inbox) - len(self._suspects)
        if self.closing or self.outbox_full:
            wanted = 0
        self._unconfirmed = size
        result = await self._frontier.exchange(
            member,
            [outgoing.push for outgoing in batch],
            acks,
            max(0, wanted),
            [h.lease.id for h in (*self._handouts, *suspects) if h.lease],
            self._local,
            self._keeps_open,
        )
        self._unconfirmed = 0
        self._stats.inc_value("crawlo/exchanges")
        if result.status != "ok":
            await self._resynchronise(result.status)
            return
        for _ in acks:
            self._acks.popleft()
        self._settle_pushes(batch, set(result.duplicates))
        for suspect in suspects:
            # Redis knows now that it is about to be started.
            self._suspects.remove(suspect)
            self._put(suspect)
        self._receive(result.leases)
        self.finished = result.state == "finished"
        self._quiet = self._quiet and not (batch or result.queued or result.leased)
        # A counter that has drifted must not keep a finished crawl's workers waiting.
        self._queued = 0 if self.finished else max(0, result.queued)
        self._seeding.observe(result.seeding, result.seeder)
        if result.held != self._expected_leases():
            await self._reconcile()

    def _batch_size(self) -> int:
        """Return how many requests go into the next push: by number, and by bytes."""
        size = total = 0
        for outgoing in islice(self._outbox, PUSH_BATCH):
            total += len(outgoing.push.payload)
            if size and total > PUSH_BYTES:
                break
            size += 1
        return size

    def _collect_done(self) -> None:
        """Find what the engine is through with."""
        engine_has = self._engine.has
        going_on = []
        for handout in self._handouts:
            if handout.waits_for or engine_has(handout.request):
                going_on.append(handout)
            else:
                self._settle(handout)
        self._handouts = going_on

    def _settle(self, handout: Handout) -> None:
        if handout.local:
            self._drop_local(handout)
            if handout.record:
                self._append(Outgoing(handout.record._replace(mode="r"), handout.request))
        elif handout.lease is None:
            self._stats.inc_value("crawlo/done_without_lease")
        elif handout.tainted:
            self._releases.append(handout.lease.id)
        else:
            self._acks.append((self._offered, handout.lease.id))

    def _settle_pushes(self, batch: list[Outgoing], duplicates: set[int]) -> None:
        number = self._registration.member.pushed
        for index, outgoing in enumerate(batch):
            self._outbox.popleft()
            self._pushed += 1
            if outgoing.push.mode != "c":
                self._sent.append((number, outgoing.push))
            if index in duplicates:
                if outgoing.push.mode != "r" and outgoing.request is not None:
                    self._on_duplicate(outgoing.request)
                if outgoing.local:
                    self._drop_local(outgoing.local)
            elif outgoing.local:
                self._put(outgoing.local)
        while len(self._sent) > REMEMBERED_PUSHES:
            self._sent_until = self._sent.popleft()[0]
        if batch:
            self._idle_pause = IDLE_PAUSE[0]
            self._stats.inc_value("crawlo/pushed", len(batch) - len(duplicates))
        if not self.outbox_full and not self._room.is_set():
            self._room.set()
            self._engine.wake()

    def _drop_local(self, handout: Handout) -> None:
        self._local -= 1
        for guard in handout.guards:
            guard.waits_for -= 1

    def _receive(self, leases: list[Lease]) -> None:
        for lease in leases:
            try:
                request = self._serializer.decode(lease.payload)
            except CannotDecode as exc:
                reason = exc.reason
                logger.error(
                    "Request made a dead letter (%s): %s. Payload begins with %r. See "
                    "`crawlo-scrapy dead-letters list`.",
                    reason, exc, lease.payload[:80],
                )  # fmt: skip
                self._burials.append((lease.id, reason, str(exc), None))
                continue
            handout = Handout(request, lease)
            if lease.suspect:
                self._suspects.append(handout)
                self._wake.set()
            else:
                self._put(handout)

    def _put(self, handout: Handout) -> None:
        self._idle_pause = IDLE_PAUSE[0]
        self._arrivals += 1
        heappush(self._inbox, (-handout.request.priority, self._arrivals, handout))
        if len(self._inbox) == 1:
            self._engine.wake()

    def _append(self, outgoing: Outgoing) -> None:
        self._outbox.append(outgoing)
        self._offered += 1
        if len(self._outbox) >= PUSH_BATCH:
            self._wake.set()
        elif len(self._outbox) == 1 and not self._queued:
            # Others, or this worker, may starve; the rest of the page's links are on their way.
            asyncio.get_running_loop().call_later(STARVING_PAUSE, self._wake.set)

    async def _bury_waiting(self) -> None:
        while self._burials:
            letter_id, reason, error, push = self._burials[0]
            await self._registration.bury(letter_id, reason, error, push)
            self._burials.pop(0)
            self._stats.inc_value(f"crawlo/dead_letters/{reason}")

    def _give_back(self) -> None:
        """Give back what was not started: others need not wait until this worker is through."""
        unstarted = [h for _, _, h in self._inbox if h.lease] + self._suspects
        self._releases += sorted(h.lease.id for h in unstarted if h.lease)
        self._inbox = [entry for entry in self._inbox if entry[2].lease is None]
        self._inbox.sort()
        self._suspects.clear()

    async def _release_waiting(self, member: Membership) -> None:
        if self._releases:
            await self._frontier.release(member, self._releases)
            self._releases.clear()

    async def _test_finish(self) -> None:
        now = time.monotonic()
        # The counters only say when it is worth asking; the script looks at the structures.
        due = now - self._last_finish_test > self._registration.heartbeat_interval
        if not self.finished and (not self._queued or due):
            self._last_finish_test = now
            status = await self._registration.finish()
            self.finished, self._quiet = status == "finished", status == "quiet"
        if self.may_close:
            self._queued = 0
            self._engine.wake()

    # When Redis and this worker disagree.

    def _expected_leases(self) -> int:
        return (
            sum(1 for _, _, h in self._inbox if h.lease)
            + sum(1 for h in self._handouts if h.lease)
            + len(self._suspects) + len(self._acks) + len(self._releases)
            + sum(1 for _, _, _, push in self._burials if push is None)
        )  # fmt: skip

    async def _reconcile(self) -> None:
        """Give back leases that we do not know, forget those that Redis does not."""
        member = self._registration.member
        held = await self._registration.held_leases()
        if held is None:
            return
        self._inbox = [entry for entry in self._inbox if _holds(entry[2], held)]
        self._inbox.sort()
        self._suspects = [h for h in self._suspects if _holds(h, held)]
        for handout in self._handouts:
            if not _holds(handout, held):
                handout.lease = None
        self._acks = deque(ack for ack in self._acks if ack[1] in held)
        ours = {h.lease.id for _, _, h in self._inbox if h.lease}
        ours |= {h.lease.id for h in (*self._handouts, *self._suspects) if h.lease}
        ours |= {lease_id for _, lease_id in self._acks} | set(self._releases)
        ours |= {letter_id for letter_id, _, _, _ in self._burials}
        if unknown := sorted(held - ours):
            logger.info("Giving back %d requests whose lease got lost on the way", len(unknown))
            await self._frontier.release(member, unknown)

    async def _resynchronise(self, status: str) -> None:
        if status == "rollback":
            logger.warning(
                "Redis has forgotten the last moments (restarted, or a replica took over). "
                "Requests in progress will be crawled again so that nothing is lost."
            )
            self._stats.inc_value("crawlo/rollbacks")
            known = await self._registration.resume_numbering()
            if known < self._sent_until:
                for handout in self._handouts:
                    handout.tainted = True
                self._releases += [lease_id for _, lease_id in self._acks]
                self._acks.clear()
            self._send_again([push for number, push in self._sent if number > known])
            self._sent = deque(sent for sent in self._sent if sent[0] <= known)
            self._on_rollback()
            await self._reconcile()
        elif await self._registration.rejoin():
            self._start_over()
        self._wake.set()

    def _send_again(self, pushes: list[Push]) -> None:
        """Put *pushes* before all else; whoever waits for the last one waits for these too."""
        self._outbox.extendleft(Outgoing(push, None) for push in reversed(pushes))
        self._pushed -= len(pushes)

    def _start_over(self) -> None:
        """Drop what was not started, after others have been given it; what was is done twice."""
        self._unconfirmed = self._sent_until = 0
        # Redis may have forgotten that we came. Where it has not, these are duplicates.
        self._send_again([push for _, push in self._sent if push.mode != "n"])
        self._sent.clear()
        self._inbox = [entry for entry in self._inbox if entry[2].lease is None]
        self._inbox.sort()
        self._suspects.clear()
        self._acks.clear()
        self._releases.clear()
        self._burials = [burial for burial in self._burials if burial[3]]
        for handout in self._handouts:
            handout.lease = None
        self._on_rollback()

    # Outages.

    def _report_outage(self, exc: StoreError) -> float:
        now = time.monotonic()
        if self._outage_since is None:
            self._outage_since = now
            self._outage_pause = OUTAGE_PAUSE[0]
            level = logging.WARNING if isinstance(exc, StoreUnavailable) else logging.ERROR
            logger.log(level, "%s Working on with what is here, and trying again.", exc)
            self._stats.inc_value("crawlo/outages")
        self._outage_pause = min(self._outage_pause * 2, OUTAGE_PAUSE[1])
        return self._outage_pause * (0.5 + random.random() / 2)

    def _report_return(self) -> None:
        if self._outage_since is not None:
            logger.info("Redis is back after %.1f seconds", time.monotonic() - self._outage_since)
            self._outage_since = None

    # The end.

    async def close(self) -> bool:
        """Flush, ack what is done, give back what was not started. False if Redis stayed away.

        Sets `lost` if there is no crawl any more to leave.
        """
        self._closing = True
        self._wake.set()
        self._stop.set()
        self._room.set()
        if self._task is not None:
            await self._task
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not self.lost:
            try:
                await self._close_turn()
                return True
            except CrawlLost:
                self.lost = True
            except StoreError as exc:
                pause = self._report_outage(exc)
                if time.monotonic() + pause > deadline:
                    return False
                await asyncio.sleep(pause)
        return False

    async def _close_turn(self) -> None:
        while True:
            if await self._registration.refresh():
                self._start_over()
            await self._exchange()
            await self._bury_waiting()
            if not self._outbox and not self._acks:
                break
        self._releases += [h.lease.id for h in self._handouts if h.lease]
        self._inbox.clear()
        self._handouts.clear()
        await self._release_waiting(self._registration.member)
        await self._seeding.step(self, self._registration)


def _holds(handout: Handout, held: set[str]) -> bool:
    return handout.lease is None or handout.lease.id in held
