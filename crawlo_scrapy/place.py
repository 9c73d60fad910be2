"""A worker's place in one partition: living there, and taking back from the dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.blocking import Heartbeat
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import CrawlLost, StoreRefused
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.partitions import UNDIVIDED, Layout
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.seen import PLAIN, SeenChoice, SeenChosen, choose
from crawlo_scrapy.store.workers import Workers

if TYPE_CHECKING:
    from crawlo_scrapy.membership import Registration

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """How a worker takes part. Times are in seconds.

    `named`: the crawl has an id of its own. `seeding` is ``once`` or ``every``. `persist`: keep
    the crawl when its last worker leaves it finished; `keep_queue`: keep what is queued when the
    last worker leaves, finished or not. `flush`: purge it before joining. `layout`: how the
    crawl is divided. `seen`: what kind of seen set it has.
    """

    heartbeat_interval: float
    timeout: float
    max_attempts: int
    named: bool
    seeding: str
    persist: bool
    keep_queue: bool
    flush: bool
    layout: Layout = UNDIVIDED
    seen: SeenChoice = PLAIN


class Heartbeats:
    """The heartbeats of one worker: a thread for each server that has partitions of its crawl."""

    def __init__(self, address: Address, node: str, terms: Terms) -> None:
        self._address = address
        self._node = node
        self._terms = terms
        self._threads: dict[str, Heartbeat] = {}

    def of(self, server: str) -> Heartbeat:
        """Return the heartbeat that speaks to *server*; it is running."""
        if server not in self._threads:
            self._threads[server] = Heartbeat(
                self._address,
                self._node,
                interval=self._terms.heartbeat_interval,
                timeout=self._terms.timeout,
            )
            self._threads[server].start()
        return self._threads[server]

    def stop(self) -> None:
        for thread in self._threads.values():
            thread.stop()
        self._threads.clear()


class Place:
    """One worker's registration in one partition: it lives there, and takes from the dead."""

    def __init__(
        self,
        client: Client,
        frontier: Frontier,
        heartbeats: Heartbeats,
        node: str,
        record: dict[str, str | int],
        terms: Terms,
        stats: Any,
    ) -> None:
        self.keys = frontier.keys
        self.node = node
        self.member = Membership(node, 0)
        self._client = client
        self._heartbeats = heartbeats
        self._frontier = frontier
        self._workers = Workers(client, frontier.keys)
        self._dead_letters = DeadLetters(client, frontier.keys)
        self._record = record
        self._terms = terms
        self._stats = stats
        self._lives = 0
        self._struck_off = False
        self._dead: list[str] = []
        #: What the seen set is; known once this worker has joined.
        self.seen: SeenChosen
        #: Called when there is something to do for `refresh`.
        self.on_beat: Callable[[], None] = lambda: None

    @property
    def heartbeat_interval(self) -> float:
        return self._terms.heartbeat_interval

    async def _join(self, before: Membership | None = None, process_age: float = 0.0) -> Any:
        if before is None:
            await self._choose_seen(write=False)
        status: str = "taken"
        while status == "taken":
            # By this worker's former life, by one that was killed, or by a namesake.
            worker_id = self.node if not self._lives else f"{self.node}~{self._lives + 1}"
            status, found = await self._register(worker_id, before, process_age)
            self._lives += status == "taken"
        if isinstance(found, Membership):
            self.member = found
            self._lives += 1
            self._struck_off = False
            if before is None:
                await self._choose_seen(write=True)
            await self._start_heartbeat()
        return status, found

    async def _choose_seen(self, *, write: bool) -> None:
        """Have the seen set of the settings, which a crawl that has begun need not allow."""
        terms = self._terms
        choice = terms.seen.share(terms.layout.count)
        try:
            self.seen = await choose(
                self._client, self.keys, choice, write=write, own=int(write), timeout=terms.timeout
            )
        except StoreRefused:
            if write:  # somebody else chose while this worker joined
                await self._workers.leave(self.member, "refused", keep_crawl=True)
            raise

    async def _register(
        self, worker_id: str, before: Membership | None, process_age: float
    ) -> tuple[str, Membership | str]:
        raise NotImplementedError

    async def _start_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        worker_id = self.member.worker_id

        def report(dead: list[str] | None) -> None:
            try:
                loop.call_soon_threadsafe(self._beaten, worker_id, dead)
            except RuntimeError:
                return  # the loop was closed meanwhile

        server = await self._client.server_of(self.keys.meta)
        self._heartbeats.of(server).beat_for(worker_id, self.keys, report)

    def _beaten(self, worker_id: str, dead: list[str] | None) -> None:
        if worker_id != self.member.worker_id:
            return
        if dead is None:
            self._struck_off = True
        else:
            self._dead = [other for other in dead if other != worker_id]
        if self._struck_off or self._dead:
            self.on_beat()

    async def refresh(self) -> bool:
        """Take back from the dead, and register anew if this worker was given up itself.

        Returns whether it was. Raises `CrawlLost` when there is nothing to come back to.
        """
        if self._struck_off:
            return await self.rejoin()
        while self._dead:
            await self._reclaim(self._dead[0])
            self._dead = self._dead[1:]
        return False

    async def _reclaim(self, worker_id: str) -> None:
        taken = await self._frontier.reclaim(
            worker_id, timeout=self._terms.timeout, max_attempts=self._terms.max_attempts
        )
        if taken is None:
            return
        requeued, buried = taken
        logger.warning(
            "Worker %s has been silent for %g seconds and counts as dead; %d of its requests "
            "are queued again%s",
            worker_id, self._terms.timeout, requeued,
            f", {buried} became dead letters" if buried else "",
        )  # fmt: skip
        self._stats.inc_value("crawlo/reclaimed", requeued)
        if buried:
            self._stats.inc_value("crawlo/dead_letters/attempts", buried)

    async def rejoin(self) -> bool:
        """Register anew. Always returns True, or raises `CrawlLost`."""
        status, _ = await self._join(self.member)
        if status == "joined":
            logger.warning(
                "This worker was silent for so long that others took over its requests; "
                "it goes on as %s",
                self.member.worker_id,
            )
            self._stats.inc_value("crawlo/rejoined")
            return True
        if status == "lost":
            await self._client.check_master(self.keys.meta)
        if status in ("lost", "purging"):
            raise CrawlLost(self._loss(), "crawl_lost")
        raise CrawlLost(f"The crawl {self.keys.name} was finished without this worker", "finished")

    def _loss(self) -> str:
        return (
            f"The crawl {self.keys.name} is no longer in Redis: it was purged, or Redis was "
            "emptied or restarted without persistence (appendonly). What was queued is "
            "gone; start the crawl again."
        )

    async def resume_numbering(self) -> int:
        """After a rollback, go on from the last batch that Redis knows, and return its number."""
        pushed = await self._client.call("hget", self.keys.worker(self.member.worker_id), "pushed")
        self.member.pushed = int(pushed or 0)
        return self.member.pushed

    async def held_leases(self) -> set[str] | None:
        """Return the leases that Redis has for this worker; None when it was struck off."""
        beat = await self._workers.beat(self.member, timeout=self._terms.timeout)
        if beat is None:
            self._struck_off = True
            return None
        return beat.leases

    async def bury(self, letter_id: str, reason: str, error: str, push: Push | None) -> None:
        """Make a dead letter of a lease, or of a request that never had one (*push*)."""
        if push is None:
            await self._dead_letters.bury_lease(self.member, letter_id, reason, error)
        else:
            letter_id = f"{letter_id}-{self.member.worker_id}"
            await self._dead_letters.bury_request(self.member, letter_id, push, reason, error)

    async def leave(self, reason: str) -> None:
        """Strike this worker off."""
        await self._workers.leave(self.member, reason, keep_crawl=True)


class Branch(Place):
    """A worker's registration in a partition that is not the crawl's home."""

    def __init__(self, home: Registration, frontier: Frontier) -> None:
        super().__init__(
            home._client, frontier, home._heartbeats, home.node, home._record, home._terms,
            home._stats,
        )  # fmt: skip
        self._home = home

    async def join(self) -> None:
        """Join the run that the home has joined. Raises `StoreRefused` if it cannot be."""
        server = await self._client.server_of(self.keys.meta)
        if server not in self._home.taught:
            await teach(self._client, self.keys.meta)
            self._home.taught.add(server)
        status, _ = await self._join()
        if status != "joined":
            raise StoreRefused(
                self._loss()
                if status == "lost"
                else f"The crawl {self.keys.name} ended, or is being purged, while this worker "
                "joined it. Start it again."
            )

    async def _register(
        self, worker_id: str, before: Membership | None, process_age: float
    ) -> tuple[str, Membership | str]:
        status = await partitions.open_partition(
            self._client,
            self._home.keys,
            self.keys,
            worker_id=worker_id,
            record=self._record,
            before=before is not None,
            bucket_fill=self._home.bucket_fill,
        )
        if status == "joined":
            home = self._home.member
            return status, Membership(worker_id, home.run, home.created)
        return status, ""

    def _loss(self) -> str:
        return partitions.lost_partition(self._home.keys, self.keys)
