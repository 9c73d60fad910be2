"""This worker's place in a crawl: joining, seeding, ending, leaving."""

from __future__ import annotations

import logging

from crawlo_scrapy.place import Place
from crawlo_scrapy.store import partitions, seen
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.workers import FORMAT

logger = logging.getLogger(__name__)


class Registration(Place):
    """A worker's registration in the home of a crawl, by which it is in the crawl."""

    bucket_fill = 0
    #: The servers that know the scripts.
    taught: set[str]

    async def join(self, process_age: float) -> str:
        """Join the crawl, and return ``joined``; else ``finished`` or ``stopping``.

        With these this worker has no part in it. Raises `StoreRefused` when the crawl cannot
        be joined.
        """
        await teach(self._client, self.keys.meta)
        self.taught = {await self._client.server_of(self.keys.meta)}
        if self._terms.flush:
            await self._flush()
        self.bucket_fill = await seen.bucket_fill(self._client)
        status, found = await self._join(None, process_age)
        while status == "purging":
            # Its last worker is removing it, or died while it did: this worker takes over.
            await self._frontier.purge()
            status, found = await self._join(None, process_age)
        if status in ("finished", "stopping") and await self._sweep():
            # Somebody died after the end, and nobody was left to strike him off.
            status, found = await self._join(None, process_age)
        if status == "layout":
            raise partitions.check_layout(self.keys, found, self._terms.layout)
        if status == "format":
            raise StoreRefused(
                f"The crawl {self.keys.name} was written in format {found} and this version of "
                f"crawlo_scrapy uses format {FORMAT}. Finish it with the version that began "
                "it, or purge it (`crawlo-scrapy purge`)."
            )
        if status == "joined":
            choice = self._terms.seen.share(self._terms.layout.count)
            for note in self.seen.notes(choice):
                logger.warning("%s", note)
        return str(status)

    async def _register(
        self, worker_id: str, before: Membership | None, process_age: float
    ) -> tuple[str, Membership | str]:
        return await self._workers.join(
            worker_id,
            self._record,
            bucket_fill=self.bucket_fill,
            process_age=process_age,
            named=self._terms.named,
            seeding=self._terms.seeding,
            before=before,
            layout=self._terms.layout,
        )

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

    def stop_heartbeat(self) -> None:
        """Beat no longer, in no partition."""
        self._heartbeats.stop()

    async def claim_seeding(self) -> str:
        answer = await self._workers.claim_seeding(self.member)
        if answer == "yours":
            await self._begin_seeding()
        return answer

    async def claim_due(self, due: int) -> bool:
        yours = await self._workers.claim_due(self.member, due)
        if yours:
            await self._begin_seeding()
        return yours

    async def _begin_seeding(self) -> None:
        if self._terms.layout.count > 1:
            parts = self._terms.layout.keys(self.keys)
            await partitions.begin_seeding(self._client, self.keys, parts)

    async def settle_seeding(self, outcome: str) -> bool:
        return await self._workers.settle_seeding(self.member, outcome)

    async def finish(self) -> str:
        return await self._workers.finish(self._terms.layout)

    async def note(self) -> None:
        """Say that requests came into another partition that no lease speaks for."""
        await partitions.note(self._client, self.keys)

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
