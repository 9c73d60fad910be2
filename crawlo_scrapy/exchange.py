"""A worker's exchange with Redis: the tasks that speak to it while a spider runs.

There is one, a `Courier`, for each partition of the crawl; most crawls have one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.buffers import Buffers
from crawlo_scrapy.courier import Courier, HomeCourier
from crawlo_scrapy.place import Branch
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.errors import CrawlLost, StoreError
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.slots import Slots

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.membership import Registration
    from crawlo_scrapy.seeding import Seeding
    from crawlo_scrapy.serializer import RequestSerializer
    from crawlo_scrapy.steering import Steering
    from crawlo_scrapy.store.partitions import Layout
    from crawlo_scrapy.store.slots import Answer, SlotLimit, Throttle

#: How long a worker that closes keeps trying to reach Redis, in seconds.
CLOSE_TIMEOUT = 10.0


class Exchange:
    """The tasks of one worker, which empty and fill its *buffers*.

    *frontiers* are those of the crawl's partitions, its home first, where *registration* is the
    worker's place. *interval* is in seconds. *on_duplicate* is called with a request that Redis
    found to be a duplicate, *on_rollback* when Redis may have forgotten what this worker knows,
    *on_lost* when the crawl cannot go on, *on_stop* with a reason when this worker is to leave
    (True: at once).
    """

    def __init__(
        self,
        frontiers: list[Frontier],
        registration: Registration,
        seeding: Seeding,
        serializer: RequestSerializer,
        buffers: Buffers,
        engine: Engine,
        stats: Any,
        *,
        layout: Layout,
        interval: float,
        on_duplicate: Callable[[Request], None],
        on_rollback: Callable[[], None],
        on_lost: Callable[[CrawlLost], None],
        on_stop: Callable[[str, bool], None],
    ) -> None:
        self.buffers = buffers
        self.seeding = seeding
        self.serializer = serializer
        self.stats = stats
        self.layout = layout
        self.interval = interval
        self.drop = on_duplicate
        self.on_rollback = on_rollback
        self.on_stop = on_stop
        self._registration = registration
        self._engine = engine
        self._on_lost = on_lost
        #: How delays of slots are adapted, if they are.
        self.throttle: Throttle | None = None
        #: Obeys what is wanted of this worker.
        self.steering: Steering | None = None
        self.keeps_open = False
        self.lost = False
        # How many rounds each courier has to have gone, once the crawl was seen finished.
        self._finished_after: list[int] | None = None
        slots = [Slots(frontier.client, frontier.keys) for frontier in frontiers]
        home = frontiers[0]
        self._home = HomeCourier(
            self, buffers.lanes[0], home, registration, slots[0], Control(home.client, home.keys)
        )
        self._branches = [Branch(registration, frontier) for frontier in frontiers[1:]]
        self._couriers: list[Courier] = [self._home]
        for number, branch in enumerate(self._branches, 1):
            lane, frontier = buffers.lanes[number], frontiers[number]
            self._couriers.append(Courier(self, lane, frontier, branch, slots[number]))

    async def join(self, limits: dict[str, SlotLimit], *, adapted: bool, learned: bool) -> None:
        """Join the partitions besides the home, and make *limits* those of the crawl.

        *adapted*, *learned*: see `Slots.configure`.
        """
        for branch in self._branches:
            await branch.join()
        for courier in self._couriers:
            await courier.slots.configure(limits, adapted=adapted, learned=learned)

    def start(self) -> None:
        for courier in self._couriers:
            courier.start()

    # How the crawl stands.

    @property
    def finished(self) -> bool:
        """Whether the crawl is finished, and no partition knows better."""
        if self._finished_after is None:
            return False
        if not self._branches:
            return True
        rounds = [courier.rounds for courier in self._couriers[1:]]
        gone = all(map(int.__gt__, rounds, self._finished_after))
        return gone and not self.buffers.waiting

    def see_finished(self, finished: bool) -> None:
        """Take up whether the home says that the crawl is finished."""
        if not finished:
            self._finished_after = None
        elif self._finished_after is None:
            self._finished_after = [courier.rounds for courier in self._couriers[1:]]
            self.buffers.wake()
        if self.finished:
            self._nothing_queued()

    @property
    def may_close(self) -> bool:
        """Whether nothing is left to do, unless this worker itself comes up with more."""
        return self.finished or (self._home.quiet and self.keeps_open)

    def may_be_idle(self) -> None:
        """Let the engine find that it has nothing to do."""
        self._nothing_queued()
        self._engine.wake()

    def _nothing_queued(self) -> None:
        for lane in self.buffers.lanes:
            lane.queued = 0

    def lose(self, exc: CrawlLost) -> None:
        """The crawl cannot go on."""
        if not self.lost:
            self.lost = True
            self._on_lost(exc)

    async def note(self) -> None:
        """Say in the home that another partition has work that no lease speaks for."""
        await self._registration.note()

    # What this worker says.

    def keep_open(self, keeps: bool = True) -> None:
        """Say that this worker may come up with more: until it leaves, others stay too."""
        self.keeps_open = keeps
        self.buffers.wake()

    def hold(self, slot: str, seconds: float) -> None:
        """Have nothing more leased of *slot* (its `clean` name) for so long, by no worker."""
        for courier in self._couriers_of(slot):
            courier.hold(slot, seconds)

    def answered(self, answer: Answer) -> None:
        """Tell what a site has answered, for `throttle`."""
        for courier in self._couriers_of(answer.slot):
            courier.answers.append(answer)

    async def learn_delay(self, slot: str, seconds: float) -> None:
        """Keep the delay that the robots.txt of *slot* asks for; 0: none. Raises `StoreError`."""
        for courier in self._couriers_of(slot):
            await courier.slots.learn(slot, seconds)

    def _couriers_of(self, slot: str) -> list[Courier]:
        if self.layout.by == "slot":
            return [self._couriers[self.layout.place(slot, 0)]]
        return self._couriers

    # The end.

    async def close(self) -> bool:
        """Flush, ack what is done, give back what was not started. False if Redis stayed away.

        Sets `lost` if there is no crawl any more to leave.
        """
        self.buffers.close()
        for courier in self._couriers:
            await courier.stop()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not self.lost:
            try:
                await self._close_turn()
                return True
            except CrawlLost:
                self.lost = True
            except StoreError as exc:
                pause = self._home.report_outage(exc)
                if time.monotonic() + pause > deadline:
                    return False
                await asyncio.sleep(pause)
        return False

    async def _close_turn(self) -> None:
        while True:
            for courier in self._couriers:
                await courier.flush()
            if not any(lane.outbox or lane.acks for lane in self.buffers.lanes):
                break
        self.buffers.give_back_all()
        for courier in self._couriers:
            await courier.release_waiting()
        await self.seeding.step(self.buffers, self._registration)

    async def leave(self, reason: str) -> None:
        """Strike this worker off in all partitions; the home comes last. Raises `StoreError`."""
        for branch in self._branches:
            await branch.leave(reason)
        await self._registration.leave(reason)
