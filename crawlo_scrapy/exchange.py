"""A worker's exchange with Redis: the one asyncio task that speaks to it while a spider runs.

It pushes the outbox, acks what is done, and leases enough to refill the inbox; see `Buffers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.buffers import STARVING_PAUSE, Buffers
from crawlo_scrapy.store.errors import CrawlLost, StoreError, StoreUnavailable
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Lease
from crawlo_scrapy.values import CannotDecode

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.membership import Registration
    from crawlo_scrapy.seeding import Seeding
    from crawlo_scrapy.serializer import RequestSerializer
    from crawlo_scrapy.steering import Steering
    from crawlo_scrapy.store.control import Control
    from crawlo_scrapy.store.slots import Answer, Slots, Throttle

logger = logging.getLogger(__name__)

#: Shortest and longest pause between two questions of an idle worker, in seconds.
IDLE_PAUSE = (0.01, 0.5)
#: First and longest pause while Redis is away, in seconds; each is shortened by a random part.
OUTAGE_PAUSE = (0.1, 5.0)
#: So many intervals ahead requests of limited slots are given their time.
HORIZON = 2
#: How long a worker that closes keeps trying to reach Redis, in seconds.
CLOSE_TIMEOUT = 10.0


class Exchange:
    """The task of one worker, which empties and fills its *buffers*.

    *interval* is in seconds. *on_duplicate* is called with a request that Redis found to be a
    duplicate, *on_rollback* when Redis may have forgotten what this worker knows, *on_lost* when
    the crawl cannot go on, *on_stop* with a reason when this worker is to leave (True: at once).
    """

    def __init__(
        self,
        frontier: Frontier,
        registration: Registration,
        seeding: Seeding,
        serializer: RequestSerializer,
        buffers: Buffers,
        engine: Engine,
        stats: Any,
        *,
        slots: Slots,
        control: Control,
        interval: float,
        on_duplicate: Callable[[Request], None],
        on_rollback: Callable[[], None],
        on_lost: Callable[[CrawlLost], None],
        on_stop: Callable[[str, bool], None],
    ) -> None:
        self.buffers = buffers
        self._frontier = frontier
        self._registration = registration
        self._seeding = seeding
        self._serializer = serializer
        self._engine = engine
        self._stats = stats
        self._slots = slots
        self._control = control
        self.interval = interval
        self._holds: dict[str, float] = {}
        #: How delays of slots are adapted, if they are, and what sites have answered since.
        self.throttle: Throttle | None = None
        self.answers: list[Answer] = []
        self._news = 0
        self._throttled = False
        self._on_duplicate = on_duplicate
        self._on_rollback = on_rollback
        self._on_lost = on_lost
        self._on_stop = on_stop
        #: Obeys what is wanted of this worker.
        self.steering: Steering | None = None

        self._idle_pause = IDLE_PAUSE[0]
        self._last_finish_test = 0.0
        self._outage_since: float | None = None
        self._outage_pause = OUTAGE_PAUSE[0]
        self._stop = asyncio.Event()
        self.finished = False
        self.lost = False
        self._quiet = False
        self._keeps_open = False
        self._task: asyncio.Task[None] | None = None

    @property
    def may_close(self) -> bool:
        """Whether nothing is left to do, unless this worker itself comes up with more."""
        return self.finished or (self._quiet and self._keeps_open)

    def keep_open(self, keeps: bool = True) -> None:
        """Say that this worker may come up with more: until it leaves, others stay too."""
        self._keeps_open = keeps
        self.buffers.wake.set()

    def hold(self, slot: str, seconds: float) -> None:
        """Have nothing more leased of *slot* (its `clean` name) for so long, by no worker."""
        self._holds[slot] = max(self._holds.get(slot, 0.0), time.monotonic() + seconds)
        self.buffers.wake.set()

    # The task.

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while not self._stop.is_set():
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
        event = self.buffers.wake if self._outage_since is None else self._stop
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), pause)
        self.buffers.wake.clear()

    def _pause(self) -> float:
        buffers = self.buffers
        if len(buffers.outbox) >= PUSH_BATCH:
            return 0.0
        if buffers.queued and (buffers.inbox or buffers.handouts or buffers.outbox):
            return self.interval
        if buffers.outbox:
            return STARVING_PAUSE
        self._idle_pause = min(self._idle_pause * 2, IDLE_PAUSE[1])
        return min(self.interval, self._idle_pause) if buffers.handouts else self._idle_pause

    async def _turn(self) -> None:
        """One round: registry, exchange, seeding, finish test."""
        await self._refresh()
        await self._tell_of_slots()
        await self._exchange()
        await self._bury_waiting()
        await self._seeding.step(self.buffers, self._registration)
        if self.buffers.idle:
            await self._test_finish()

    async def _refresh(self) -> None:
        if await self._registration.refresh():
            self._start_over()

    async def _exchange(self) -> None:
        buffers, member = self.buffers, self._registration.member
        buffers.collect_done()
        if buffers.closing:
            buffers.give_back()
        await self._release_waiting()
        await self._bury_waiting()  # children that cannot be queued come before parents too
        pushes = buffers.outbox.batch()
        acks = buffers.due_acks(len(pushes))
        behind = dict(buffers.inbox.behind)
        result = await self._frontier.exchange(
            member,
            pushes,
            acks,
            buffers.wanted,
            buffers.started(),
            buffers.local,
            self._keeps_open,
            room=buffers.room,
            horizon=HORIZON * self.interval,
            serves=buffers.inbox.serves(),
            behind=behind,
            unwanted=buffers.inbox.unwanted(),
        )
        self._stats.inc_value("crawlo/exchanges")
        if result.status != "ok":
            await self._resynchronise(result.status)
            return
        buffers.inbox.told(behind)
        if pushes:
            self._stats.inc_value("crawlo/pushed", len(pushes) - len(result.duplicates))
        if pushes or result.leases:
            self._idle_pause = IDLE_PAUSE[0]
        for request in buffers.confirm(member.pushed, set(result.duplicates), len(acks)):
            self._on_duplicate(request)
        self._receive(result.leases)
        self.finished = result.state == "finished"
        self._quiet = self._quiet and not (pushes or result.queued or result.leased)
        # A counter that has drifted must not keep a finished crawl's workers waiting.
        buffers.queued = 0 if self.finished else max(0, result.queued)
        self._seeding.observe(result.seeding, result.seeder, member.worker_id)
        if result.hungry and not result.queued:
            buffers.share()
        if result.news != self._news:
            await self._hear(result.state)
            self._news = result.news
        if result.held != len(buffers.leases()):
            await self._reconcile()

    def _receive(self, leases: list[Lease]) -> None:
        for lease in leases:
            try:
                request = self._serializer.decode(lease.payload)
            except CannotDecode as exc:
                logger.error(
                    "Request made a dead letter (%s): %s. Payload begins with %r. See "
                    "`crawlo-scrapy dead-letters list`.",
                    exc.reason, exc, lease.payload[:80],
                )  # fmt: skip
                self.buffers.burials.append((lease.id, exc.reason, str(exc), None))
            else:
                self.buffers.receive(lease, request)

    async def _bury_waiting(self) -> None:
        while self.buffers.burials:
            letter_id, reason, error, push = self.buffers.burials[0]
            await self._registration.bury(letter_id, reason, error, push)
            self.buffers.burials.pop(0)
            self._stats.inc_value(f"crawlo/dead_letters/{reason}")

    async def _release_waiting(self) -> None:
        if self.buffers.releases:
            # By the age of the leases, whoever gave them back first: each comes to the front.
            releases = sorted(self.buffers.releases)
            await self._frontier.release(self._registration.member, releases)
            self.buffers.releases.clear()

    async def _tell_of_slots(self) -> None:
        if self.throttle is not None and (self.answers or not self._throttled):
            answers, self.answers = self.answers, []
            await self._slots.adapt(self.throttle, answers)
            self._throttled = True
        for slot, until in list(self._holds.items()):
            await self._slots.hold(slot, until - time.monotonic())
            del self._holds[slot]

    async def _hear(self, state: str) -> None:
        """Take up what has changed for all workers since the last time."""
        self.buffers.give_back_slots(set(await self._slots.holds()))
        if self.steering is None or self.buffers.closing:
            return
        wanted = await self._control.read()
        leave = self.steering.obey(state, wanted)
        if leave == "drain":
            await self._control.drained(self._registration.node)
            self._on_stop("drained", False)
        elif leave:
            self._on_stop(wanted.get("stop_reason", "stopped"), leave == "now")

    async def _test_finish(self) -> None:
        now = time.monotonic()
        # The counters only say when it is worth asking; the script looks at the structures.
        due = now - self._last_finish_test > self._registration.heartbeat_interval
        if not self.finished and (not self.buffers.queued or due):
            self._last_finish_test = now
            status = await self._registration.finish()
            self.finished, self._quiet = status == "finished", status == "quiet"
        if self.may_close:
            self.buffers.queued = 0
            self._engine.wake()

    # When Redis and this worker disagree.

    async def _reconcile(self) -> None:
        """Give back leases that we do not know, forget those that Redis does not."""
        held = await self._registration.held_leases()
        if held is not None and (unknown := self.buffers.reconcile(held)):
            logger.info("Giving back %d requests whose lease got lost on the way", len(unknown))
            await self._frontier.release(self._registration.member, unknown)

    async def _resynchronise(self, status: str) -> None:
        if status == "rollback":
            logger.warning(
                "Redis has forgotten the last moments (restarted, or a replica took over). "
                "Requests in progress will be crawled again so that nothing is lost."
            )
            self._stats.inc_value("crawlo/rollbacks")
            self.buffers.roll_back(await self._registration.resume_numbering())
            self._on_rollback()
            await self._reconcile()
        elif await self._registration.rejoin():
            self._start_over()
        self.buffers.wake.set()

    def _start_over(self) -> None:
        self.buffers.start_over()
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
        self.buffers.close()
        self._stop.set()
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
            await self._refresh()
            await self._exchange()
            await self._bury_waiting()
            if not self.buffers.outbox and not self.buffers.acks:
                break
        self.buffers.give_back_all()
        await self._release_waiting()
        await self._seeding.step(self.buffers, self._registration)
