"""Workers of a crawl: registry, heartbeat, seeding right, and the test for the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import WORKER_RECORD_TTL, Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.lenient import text, whole
from crawlo_scrapy.store.listing import enlist
from crawlo_scrapy.store.partitions import UNDIVIDED, Layout
from crawlo_scrapy.store.scripts import Call, run

#: Changes when what stands in Redis changes its form.
FORMAT = "1"


@dataclass(frozen=True)
class Beat:
    """Answer to a heartbeat: the crawl's state, dead workers, leases that Redis has for us."""

    state: str
    dead: list[str]
    leases: set[str]


class Workers:
    """The registry of one crawl. Times are judged by Redis's clock alone."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    async def join(
        self,
        worker_id: str,
        record: Mapping[str, str | int],
        *,
        bucket_fill: int,
        process_age: float = 0.0,
        named: bool = False,
        seeding: str = "once",
        before: Membership | None = None,
        layout: Layout = UNDIVIDED,
    ) -> tuple[str, Membership | str]:
        """Register a worker; create the crawl or its next run when there is none.

        *process_age* is how many seconds ago this process started: one that started before
        the crawl finished came too late for it and does not begin the next. *before* is the
        place that this worker lost. Returns a status (see ``crawl_join.lua``) and the place,
        or the run, format or layout that was found.
        """
        keys = self.keys
        args = [
            worker_id, FORMAT, bucket_fill, round(process_age * 1000), int(named), seeding,
            f"{before.run}:{before.created}" if before else "", str(layout),
        ]  # fmt: skip
        for name, value in record.items():
            args += (name, value)
        [[status, run_number, *created]] = await run(
            self.client,
            Call(
                "crawl_join",
                [keys.meta, keys.workers, keys.worker(worker_id), keys.seeds, keys.control],
                args,
            ),
        )
        status = status.decode()
        if status == "joined":
            await enlist(self.client, keys)
            return status, Membership(worker_id, whole(run_number), whole(created[0]))
        return status, run_number.decode() if isinstance(run_number, bytes) else str(run_number)

    async def beat(
        self, member: Membership, *, timeout: float, record: Mapping[str, str | int] | None = None
    ) -> Beat | None:
        """Say that *member* lives and see who does not; None when it was itself struck off."""
        args = [member.worker_id, round(timeout * 1000)]
        for name, value in (record or {}).items():
            args += (name, value)
        [reply] = await run(self.client, Call("worker_beat", self._own_keys(member), args))
        if not reply[0]:
            return None
        _, state, dead, leases = reply
        return Beat(text(state), [text(one) for one in dead], {text(lease) for lease in leases})

    async def leave(self, member: Membership, reason: str, *, keep_crawl: bool) -> tuple[str, int]:
        """Strike *member* off. Returns a status (see ``crawl_leave.lua``) and who is left."""
        args = [member.worker_id, reason, WORKER_RECORD_TTL, int(keep_crawl)]
        [[status, others]] = await run(
            self.client, Call("crawl_leave", self._own_keys(member), args)
        )
        return status.decode(), int(others)

    async def claim_due(self, member: Membership, due: int) -> bool:
        """Ask for the right to seed once more at *due*, in ms; True for one worker at most."""
        call = Call(
            "seed_due",
            [self.keys.meta, self.keys.workers, self.keys.seeds],
            [member.worker_id, due],
        )
        return bool((await run(self.client, call))[0])

    async def claim_seeding(self, member: Membership) -> str:
        """Ask for the right to seed: ``yours``, ``theirs`` or ``done``."""
        call = Call("seed_claim", [self.keys.meta, self.keys.workers], [member.worker_id])
        return str((await run(self.client, call))[0].decode())

    async def settle_seeding(self, member: Membership, outcome: str) -> bool:
        """End seeding as ``done`` or ``failed``, or with ``""`` leave the rest to others."""
        keys = [self.keys.meta, self.keys.worker(member.worker_id)]
        call = Call("seed_settle", keys, [member.worker_id, outcome])
        return bool((await run(self.client, call))[0])

    async def finish(self, layout: Layout = UNDIVIDED) -> str:
        """Declare the crawl finished if it is, and return how it stands.

        That is ``finished``, ``quiet`` when only workers that keep it open hinder it, or "".
        """
        keys, moment = self.keys, []
        if layout.count > 1:
            moment = [await partitions.quiet(self.client, layout.keys(keys))]
            if not moment[0]:
                return ""
        call = Call(
            "crawl_finish",
            [
                keys.meta, keys.workers, keys.slots, keys.timed, keys.delayed,
                keys.worker_prefix, keys.leases_prefix,
            ],
            moment,
        )  # fmt: skip
        return ("", "finished", "quiet")[(await run(self.client, call))[0]]

    async def living(self, timeout: float) -> list[str]:
        """Return the ids of those who have been heard of in the last *timeout* seconds."""
        seconds, micros = await self.client.call("time", near=self.keys.workers)
        oldest = int(seconds) * 1000 + int(micros) // 1000 - round(timeout * 1000)
        members = await self.client.call("zrangebyscore", self.keys.workers, oldest, "+inf")
        return [text(member) for member in members]

    async def alive(self) -> list[str]:
        """Return the ids in the registry, whoever may have died since."""
        members = await self.client.call("zrange", self.keys.workers, 0, -1)
        return [text(member) for member in members]

    def _own_keys(self, member: Membership) -> list[str]:
        keys = self.keys
        return [
            keys.meta, keys.workers, keys.worker(member.worker_id), keys.leases(member.worker_id),
        ]  # fmt: skip
