"""This worker's place in a crawl: joining, living, reclaiming from the dead, leaving."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.blocking import Heartbeat
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import CrawlLost, StoreRefused
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.workers import FORMAT, Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """How a worker takes part. Times are in seconds.

    `named`: the crawl has an id of its own. `seeding` is ``once`` or ``every``. `persist`: keep
    the crawl when its last worker leaves it finished; `keep_queue`: keep what is queued when the
    last worker leaves, finished or not. `flush`: purge it before joining.
    """

    heartbeat_interval: float
    timeout: float
    max_attempts: int
    named: bool
    seeding: str
    persist: bool
    keep_queue: bool
    flush: bool


class Registration:
    """Registers one worker, keeps it alive, and takes back what dead ones held."""

    def __init__(
        self,
        client: Client,
        address: Address,
        keys: Keys,
        frontier: Frontier,
        node: str,
        record: dict[str, str | int],
        terms: Terms,
        stats: Any,
    ) -> None:
        self.keys = keys
        self.node = node
        self.member = Membership(node, 0)
        self._client = client
        self._address = address
        self._frontier = frontier
        self._workers = Workers(client, keys)
        self._dead_letters = DeadLetters(client, keys)
        self._record = record
        self._terms = terms
        self._stats = stats
        self._lives = 0
        self._heartbeat: Heartbeat | None = None
        self._struck_off = False
        self._dead: list[str] = []
        self.on_beat: Any = None

    @property
    def heartbeat_interval(self) -> float:
        return self._terms.heartbeat_interval

    async def join(self, process_age: float) -> str:
        """Join the crawl, and return ``joined``; else ``finished`` or ``stopping``.

        With these this worker has no part in it. Raises `StoreRefused` when the crawl cannot
        be joined.
        """
        await teach(self._client, self.keys.meta)
        if self._terms.flush:
            await self._flush()
        self._bucket_fill = await seen.bucket_fill(self._client)
        status, found = await self._join(process_age)
        while status == "purging":
            # Its last worker is removing it, or died while it did: this worker takes over.
            await self._frontier.purge()
            status, found = await self._join(process_age)
        if status in ("finished", "stopping") and await self._sweep():
            # Somebody died after the end, and nobody was left to strike him off.
            status, found = await self._join(process_age)
        if status == "format":
            raise StoreRefused(
                f"The crawl {self.keys.name} was written in format {found} and this version of "
                f"crawlo_scrapy uses format {FORMAT}. Finish it with the version that began "
                "it, or purge it (`crawlo-scrapy purge`)."
            )
        return str(status)

    async def _flush(self) -> None:
        removed = await self._frontier.purge(unless_alive=self._terms.timeout)
        if removed < 0:
            alive = await self._workers.living(self._terms.timeout)
            raise StoreRefused(
                f"SCHEDULER_FLUSH_ON_START would purge the crawl {self.keys.name} while "
                f"{len(alive)} worker(s) live in it ({', '.join(alive[:3])}). Stop them first, "
                "or unset SCHEDULER_FLUSH_ON_START for all but the first worker."
            )
        if removed:
            logger.info("Purged the crawl %s: %d keys", self.keys.name, removed)

    async def _sweep(self) -> bool:
        """Strike off who has been silent for too long; return whether there was anybody."""
        living = await self._workers.living(self._terms.timeout)
        silent = set(await self._workers.alive()) - set(living)
        for worker_id in sorted(silent):
            await self._reclaim(worker_id)
        return bool(silent)

    async def _join(self, process_age: float, before: Membership | None = None) -> Any:
        status: str = "taken"
        while status == "taken":
            # By this worker's former life, by one that was killed, or by a namesake.
            worker_id = self.node if not self._lives else f"{self.node}~{self._lives + 1}"
            status, found = await self._workers.join(
                worker_id,
                self._record,
                bucket_fill=self._bucket_fill,
                process_age=process_age,
                named=self._terms.named,
                seeding=self._terms.seeding,
                before=before,
            )
            self._lives += status == "taken"
        if isinstance(found, Membership):
            self.member = found
            self._lives += 1
            self._struck_off = False
            self._start_heartbeat()
        return status, found

    def _start_heartbeat(self) -> None:
        self.stop_heartbeat()
        loop = asyncio.get_running_loop()
        worker_id = self.member.worker_id

        def report(dead: list[str] | None) -> None:
            try:
                loop.call_soon_threadsafe(self._beaten, worker_id, dead)
            except RuntimeError:
                return  # the loop was closed meanwhile

        self._heartbeat = Heartbeat(
            self._address,
            self.keys,
            worker_id,
            interval=self._terms.heartbeat_interval,
            timeout=self._terms.timeout,
            report=report,
        )
        self._heartbeat.start()

    def stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def _beaten(self, worker_id: str, dead: list[str] | None) -> None:
        if worker_id != self.member.worker_id:
            return
        if dead is None:
            self._struck_off = True
        else:
            self._dead = [other for other in dead if other != worker_id]
        if (self._struck_off or self._dead) and self.on_beat:
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
        before = self.member
        status, _ = await self._join(0.0, before)
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
            raise CrawlLost(
                f"The crawl {self.keys.name} is no longer in Redis: it was purged, or Redis was "
                "emptied or restarted without persistence (appendonly). What was queued is "
                "gone; start the crawl again.",
                "crawl_lost",
            )
        raise CrawlLost(f"The crawl {self.keys.name} was finished without this worker", "finished")

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

    async def claim_seeding(self) -> str:
        return await self._workers.claim_seeding(self.member)

    async def claim_due(self, due: int) -> bool:
        return await self._workers.claim_due(self.member, due)

    async def settle_seeding(self, outcome: str) -> bool:
        return await self._workers.settle_seeding(self.member, outcome)

    async def finish(self) -> str:
        return await self._workers.finish()

    async def leave(self, reason: str) -> None:
        """Strike this worker off; the last one of a finished crawl may purge it."""
        self.stop_heartbeat()
        if not self._terms.persist:
            await self._sweep()
        status, others = await self._workers.leave(
            self.member, reason, keep_crawl=self._terms.persist
        )
        if status == "purge":
            removed = await self._frontier.purge()
            logger.info(
                "Last worker of a finished crawl and SCHEDULER_PERSIST is False: purged %d keys",
                removed,
            )
        elif status == "left" and not others and not self._terms.keep_queue:
            await self._frontier.purge(queue_only=True, unless_alive=self._terms.timeout)
            logger.info("Last worker of the crawl and QUEUE_PERSISTENCE is False: queue removed")
        elif status == "left":
            logger.info("Left the crawl %s; %d other worker(s)", self.keys.name, others)
