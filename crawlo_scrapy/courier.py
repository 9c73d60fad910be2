"""Couriers: each is the asyncio task that speaks to one partition of a crawl.

It pushes the lane's outbox, acks what is done, and leases enough to refill the inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from crawlo_scrapy.buffers import STARVING_PAUSE
from crawlo_scrapy.store.errors import CrawlLost, StoreError, StoreUnavailable
from crawlo_scrapy.store.frontier import PUSH_BATCH, Exchanged, Frontier, Lease
from crawlo_scrapy.values import CannotDecode

if TYPE_CHECKING:
    from crawlo_scrapy.exchange import Exchange
    from crawlo_scrapy.lane import Lane
    from crawlo_scrapy.membership import Registration
    from crawlo_scrapy.place import Place
    from crawlo_scrapy.store.control import Control
    from crawlo_scrapy.store.slots import Answer, Slots

logger = logging.getLogger(__name__)

#: Shortest and longest pause between two questions of an idle worker, in seconds.
IDLE_PAUSE = (0.01, 0.5)
#: First and longest pause while Redis is away, in seconds; each is shortened by a random part.
OUTAGE_PAUSE = (0.1, 5.0)
#: So many intervals ahead requests of limited slots are given their time.
HORIZON = 2


class Courier:
    """Goes between a worker's *lane* and its partition, where the worker has *place*."""

    def __init__(
        self, exchange: Exchange, lane: Lane, frontier: Frontier, place: Place, slots: Slots
    ) -> None:
        self.lane = lane
        self.slots = slots
        self.place = place
        self._exchange = exchange
        self._buffers = exchange.buffers
        self._stats = exchange.stats
        self._frontier = frontier
        self._holds: dict[str, float] = {}
        self.answers: list[Answer] = []
        self._news = 0
        self._throttled = False
        #: How many rounds have succeeded.
        self.rounds = 0
        self._idle_pause = IDLE_PAUSE[0]
        self._outage_since: float | None = None
        self._outage_pause = OUTAGE_PAUSE[0]
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        place.on_beat = lane.wake.set

    def hold(self, slot: str, seconds: float) -> None:
        """Have nothing more leased of *slot* (its `clean` name) for so long, by no worker."""
        self._holds[slot] = max(self._holds.get(slot, 0.0), time.monotonic() + seconds)
        self.lane.wake.set()

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Return when the task has ended; the worker speaks for itself from now on."""
        self._stop.set()
        self.lane.wake.set()
        if self._task is not None:
            await self._task

    # The task.

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                await self._turn()
                self._report_return()
                pause = self._pause()
            except CrawlLost as exc:
                self._exchange.lose(exc)
                return
            except StoreError as exc:
                pause = self.report_outage(exc)
            except Exception:
                # A bug of ours must not leave a worker that looks alive and does nothing.
                logger.exception("The exchange with Redis failed; trying again")
                pause = OUTAGE_PAUSE[1]
            await self._sleep(pause)

    async def _sleep(self, pause: float) -> None:
        # Nothing but the end shortens the pause between two tries to reach Redis.
        event = self.lane.wake if self._outage_since is None else self._stop
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), pause)
        self.lane.wake.clear()

    def _pause(self) -> float:
        lane, buffers = self.lane, self._buffers
        if len(lane.outbox) >= PUSH_BATCH:
            return 0.0
        if lane.queued and (buffers.inbox or buffers.handouts or lane.outbox):
            return self._exchange.interval
        if lane.outbox:
            return STARVING_PAUSE
        self._idle_pause = min(self._idle_pause * 2, IDLE_PAUSE[1])
        if buffers.handouts or lane.acks:
            return min(self._exchange.interval, self._idle_pause)
        return self._idle_pause

    async def _turn(self) -> None:
        """One round: registry, limits, exchange."""
        await self.flush()
        await self._ask_for_turns()
        self.rounds += 1

    async def flush(self) -> None:
        """Say what there is to say, and take what there is to take."""
        if await self.place.refresh():
            self._start_over()
        await self._tell_of_slots()
        await self._trade()
        await self._bury_waiting()
        if self.lane.orphans and self.lane.number:
            await self._exchange.note()
            self.lane.orphans = False

    async def _trade(self) -> None:
        buffers, lane, member = self._buffers, self.lane, self.place.member
        buffers.collect_done()
        buffers.release_late()
        if buffers.closing:
            buffers.give_back()
        await self.release_waiting()
        await self._bury_waiting()  # children that cannot be queued come before parents too
        at_home = not lane.number  # where the crawl's end is decided
        pushes = lane.outbox.batch()
        acks = buffers.due_acks(lane, len(pushes))
        behind = {slot: buffers.inbox.behind[slot] for slot in self._mine(buffers.inbox.behind)}
        result = await self._frontier.exchange(
            member,
            pushes,
            acks,
            buffers.wanted(lane),
            buffers.started(lane),
            buffers.local if at_home else 0,
            at_home and self._exchange.keeps_open,
            room=buffers.room(lane),
            horizon=self._horizon,
            serves=self._mine(buffers.inbox.serves()),
            behind=behind,
            unwanted=self._mine(buffers.inbox.unwanted()),
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
        for request in buffers.confirm(lane, member.pushed, set(result.duplicates), len(acks)):
            self._exchange.drop(request)
        self._receive(result.leases)
        # A counter that has drifted must not keep a finished crawl's workers waiting.
        lane.queued = 0 if self._exchange.finished else max(0, result.queued)
        await self._learn(result, bool(pushes))
        if result.held != len(buffers.leases(lane)):
            await self._reconcile()

    @property
    def _horizon(self) -> float:
        return HORIZON * self._exchange.interval

    def _mine(self, slots: Iterable[str]) -> list[str]:
        """Return those of *slots* (`clean` names) that may be in this partition."""
        layout = self._exchange.layout
        if layout.by != "slot":
            return list(slots)
        return [slot for slot in slots if layout.place(slot, 0) == self.lane.number]

    async def _learn(self, result: Exchanged, pushed: bool) -> None:
        """Take up what an exchange tells besides leases."""
        if result.hungry and not self._buffers.queued:
            self._buffers.share()
        if result.news != self._news:
            await self._hear(result.state)
            self._news = result.news

    async def _hear(self, state: str) -> None:
        """Take up what has changed for all workers since the last time."""
        self._buffers.give_back_slots(set(await self.slots.holds()))

    def _receive(self, leases: list[Lease]) -> None:
        for lease in leases:
            try:
                request = self._exchange.serializer.decode(lease.payload)
            except CannotDecode as exc:
                logger.error(
                    "Request made a dead letter (%s): %s. Payload begins with %r. See "
                    "`crawlo-scrapy dead-letters list`.",
                    exc.reason, exc, lease.payload[:80],
                )  # fmt: skip
                self.lane.burials.append((lease.id, exc.reason, str(exc), None))
            else:
                self._buffers.receive(self.lane, lease, request)

    async def _bury_waiting(self) -> None:
        while self.lane.burials:
            letter_id, reason, error, push = self.lane.burials[0]
            await self.place.bury(letter_id, reason, error, push)
            self.lane.burials.pop(0)
            self._stats.inc_value(f"crawlo/dead_letters/{reason}")

    async def release_waiting(self) -> None:
        """Give back what was taken out of the buffers unstarted."""
        if self.lane.releases:
            # By the age of the leases, whoever gave them back first: each comes to the front.
            await self._frontier.release(self.place.member, sorted(self.lane.releases))
            self.lane.releases.clear()

    async def _tell_of_slots(self) -> None:
        throttle = self._exchange.throttle
        if throttle is not None and (self.answers or not self._throttled):
            answers, self.answers = self.answers, []
            await self.slots.adapt(throttle, answers)
            self._throttled = True
        for slot, until in list(self._holds.items()):
            await self.slots.hold(slot, until - time.monotonic())
            del self._holds[slot]

    async def _ask_for_turns(self) -> None:
        await self._tell_of_slots()  # who is to be left alone has no turn
        if slots := self._buffers.turns_wanted(self.lane):
            last = self.lane.turns.last
            # Asked again only after a pause of an idle worker, perhaps.
            waits = await self.slots.turns(slots, max(self._horizon, IDLE_PAUSE[1]))
            self._buffers.take_turns(self.lane, dict(zip(slots, waits, strict=True)), last)

    # When Redis and this worker disagree.

    async def _reconcile(self) -> None:
        """Give back leases that we do not know, forget those that Redis does not."""
        held = await self.place.held_leases()
        if held is not None and (unknown := self._buffers.reconcile(self.lane, held)):
            logger.info("Giving back %d requests whose lease got lost on the way", len(unknown))
            await self._frontier.release(self.place.member, unknown)

    async def _resynchronise(self, status: str) -> None:
        if status == "rollback":
            logger.warning(
                "Redis has forgotten the last moments (restarted, or a replica took over). "
                "Requests in progress will be crawled again so that nothing is lost."
            )
            self._stats.inc_value("crawlo/rollbacks")
            self._buffers.roll_back(self.lane, await self.place.resume_numbering())
            self._exchange.on_rollback()
            await self._reconcile()
        elif await self.place.rejoin():
            self._start_over()
        self._buffers.wake()

    def _start_over(self) -> None:
        self._buffers.start_over(self.lane)
        self._exchange.on_rollback()

    # Outages.

    def report_outage(self, exc: StoreError) -> float:
        """Log that Redis is away, once; return for how long to wait, in seconds."""
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


class HomeCourier(Courier):
    """Goes to the crawl's home, where its state, its seeding and its end are."""

    place: Registration

    def __init__(
        self,
        exchange: Exchange,
        lane: Lane,
        frontier: Frontier,
        place: Registration,
        slots: Slots,
        control: Control,
    ) -> None:
        super().__init__(exchange, lane, frontier, place, slots)
        self._control = control
        self._seeding = exchange.seeding
        self._last_finish_test = 0.0
        #: Whether nothing but workers that keep the crawl open keeps it from being finished.
        self.quiet = False

    async def _turn(self) -> None:
        await super()._turn()
        await self._seeding.step(self._buffers, self.place)
        if self._buffers.idle:
            await self._test_finish()

    async def _learn(self, result: Exchanged, pushed: bool) -> None:
        self._exchange.see_finished(result.state == "finished")
        self.quiet = self.quiet and not (pushed or result.leased or self._buffers.queued)
        self._seeding.observe(result.seeding, result.seeder, self.place.member.worker_id)
        await super()._learn(result, pushed)

    async def _hear(self, state: str) -> None:
        await super()._hear(state)
        if self._exchange.steering is None or self._stop.is_set():
            return
        wanted = await self._control.read()
        leave = self._exchange.steering.obey(state, wanted)
        if self._buffers.closing and leave != "now":
            return  # it is leaving; only "at once" is more than that
        if leave == "drain":
            await self._control.drained(self.place.node)
            self._exchange.on_stop("drained", False)
        elif leave:
            self._exchange.on_stop(wanted.get("stop_reason", "stopped"), leave == "now")

    async def _test_finish(self) -> None:
        exchange, now = self._exchange, time.monotonic()
        # The counters only say when it is worth asking; the script looks at the structures.
        due = now - self._last_finish_test > self.place.heartbeat_interval
        if not exchange.finished and (not self._buffers.queued or due):
            self._last_finish_test = now
            status = await self.place.finish()
            exchange.see_finished(status == "finished")
            self.quiet = status == "quiet"
        if exchange.may_close:
            exchange.may_be_idle()
