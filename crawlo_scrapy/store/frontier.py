"""The frontier: requests not yet done. Push, ack, lease, release, reclaim, purge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.purging import purge
from crawlo_scrapy.store.scripts import Call, run

#: How long a dead worker's record is kept for `crawlo-scrapy status`, in seconds.
WORKER_RECORD_TTL = 24 * 60 * 60

#: Requests that one push script handles at most; Redis does nothing else meanwhile.
PUSH_BATCH = 1000

#: Requests that one lease script gives at most.
LEASE_BATCH = 1000

#: Priorities beyond this, either way, are all one: a ZSET's score is no longer exact there.
MAX_PRIORITY = 2**53

#: The most attempts that an element's first byte can count.
MAX_ATTEMPTS = 100


def queue_priority(priority: int) -> int:
    """Return *priority* in the range that the queue can tell apart."""
    return max(-MAX_PRIORITY, min(MAX_PRIORITY, int(priority)))


class Push(NamedTuple):
    """A request on its way into the queue. Modes are those of ``frontier_push.lua``.

    `slot` is what `keys.clean` made of a name.
    """

    mode: str
    prefix: int
    member: int
    slot: str
    priority: int
    payload: bytes
    delay_ms: int = 0


def push_arguments(pushes: Sequence[Push]) -> list[Any]:
    """Return what the scripts that queue requests get of them."""
    flat: list[Any] = []
    for p in pushes:
        flat += (
            p.mode, p.prefix, p.member, p.slot, queue_priority(p.priority), p.delay_ms, p.payload,
        )  # fmt: skip
    return flat


class Lease(NamedTuple):
    """A request that belongs to this worker.

    `suspect`: an earlier worker died holding it, so Redis is told before it is started.
    `wait`: its slot has limits, and so many seconds from now is when it may be started; None
    for a slot that has none.
    """

    id: str
    attempts: int
    suspect: bool
    payload: bytes
    wait: float | None = None


@dataclass
class Membership:
    """A worker's place in a run of a crawl, which began at `created` (Redis's clock, in ms).

    `pushed` numbers its last confirmed batch.
    """

    worker_id: str
    run: int
    created: int = 0
    pushed: int = 0


@dataclass
class Exchanged:
    """What one exchange brought.

    `status` is ``ok``; ``unregistered`` when this worker was declared dead; ``rollback`` when
    Redis has forgotten what it had confirmed. Only with ``ok`` was anything done.
    """

    status: str
    duplicates: list[int] = field(default_factory=list)
    state: str = ""
    seeding: str = ""
    seeder: str = ""
    queued: int = 0
    leased: int = 0
    held: int = 0
    news: int = 0
    hungry: bool = False
    leases: list[Lease] = field(default_factory=list)


class Frontier:
    """The queue of one crawl.

    *order* is ``fifo`` or ``lifo``: which of two requests of equal slot and priority goes first.
    """

    def __init__(self, client: Client, keys: Keys, *, order: str = "fifo") -> None:
        self.client = client
        self.keys = keys
        self._order = order

    async def exchange(
        self,
        member: Membership,
        pushes: Sequence[Push] = (),
        acks: Sequence[str] = (),
        limit: int = 0,
        started: Iterable[str] = (),
        local: int = 0,
        keeps_open: bool = False,
        room: int = 0,
        horizon: float = 0.0,
        serves: Iterable[str] = (),
        behind: Mapping[str, float] = MappingProxyType({}),
        unwanted: Sequence[str] = (),
    ) -> Exchanged:
        """Push *pushes*, then ack *acks*, then lease at most *limit*: one round trip.

        Of slots with limits up to *room* more requests are leased, those that may be started
        within *horizon* seconds if this worker *serves* the slot, else those whose time has
        come. *behind* says by how many seconds it has been late with a slot. Nothing comes of the
        slots *unwanted*.

        An ack is refused while a push before it is not in Redis. *started* are the leases that
        the engine has; *local* counts requests that only this worker knows. With *keeps_open*
        the crawl does not finish while this worker is in it. One call pushes at most
        `PUSH_BATCH` requests and leases no more than `LEASE_BATCH`. May be repeated with the
        same arguments after a `StoreUnavailable`: what was pushed is not pushed again.
        """
        keys, calls = self.keys, []
        worker, leases = keys.worker(member.worker_id), keys.leases(member.worker_id)
        batch = member.pushed + 1 if pushes else member.pushed
        if pushes:
            args = [batch, self._order, *push_arguments(pushes)]
            calls.append(
                Call(
                    "frontier_push",
                    [
                        keys.meta, worker, keys.delayed, keys.seeds, keys.seen_prefix,
                        *keys.queues,
                    ],
                    args,
                )
            )  # fmt: skip
        if acks:
            calls.append(
                Call("frontier_ack", [keys.meta, worker, leases, *keys.queues], [batch, *acks])
            )
        calls.append(
            Call(
                "frontier_lease",
                [keys.meta, worker, leases, keys.delayed, keys.workers, *keys.queues],
                [
                    batch, min(limit, LEASE_BATCH), ",".join(started), local, int(keeps_open),
                    min(room, LEASE_BATCH), round(horizon * 1000),
                    ",".join(serves),
                    ",".join(f"{slot}={seconds * 1000:.0f}" for slot, seconds in behind.items()),
                    *unwanted,
                ],
            )
        )  # fmt: skip
        results = await run(self.client, *calls)
        push_reply = results[0] if pushes else [b"ok"]
        for reply in (push_reply, results[-1]):
            if reply[0] != b"ok":
                return Exchanged(reply[0].decode())
        member.pushed = batch
        return _exchanged(push_reply, results[-1])

    async def release(self, member: Membership, lease_ids: Sequence[str]) -> int:
        """Give unstarted leases back to the front of their queues; none loses an attempt.

        *lease_ids* come oldest first. Returns how many were still held.
        """
        if not lease_ids:
            return 0
        keys = self.keys
        call = Call(
            "frontier_release",
            [keys.meta, keys.leases(member.worker_id), *keys.queues],
            lease_ids,
        )
        return int((await run(self.client, call))[0])

    async def reclaim(
        self, worker_id: str, *, timeout: float, max_attempts: int
    ) -> tuple[int, int] | None:
        """Take back the leases of *worker_id* if it has been silent for *timeout* seconds.

        Returns how many were queued again and how many became dead letters, or None when the
        worker lives or was struck off before.
        """
        keys = self.keys
        call = Call(
            "frontier_reclaim",
            [
                keys.meta, keys.workers, keys.worker(worker_id), keys.leases(worker_id),
                keys.dead, *keys.queues,
            ],
            [
                worker_id, round(timeout * 1000), min(max_attempts, MAX_ATTEMPTS),
                WORKER_RECORD_TTL,
            ],
        )  # fmt: skip
        [[requeued, buried]] = await run(self.client, call)
        return None if requeued < 0 else (int(requeued), int(buried))

    async def purge(
        self, *, queue_only: bool = False, unless_alive: float | None = None, items: bool = False
    ) -> int:
        """Remove the keys of the whole crawl; see `purging.purge`."""
        return await purge(
            self.client, self.keys, queue_only=queue_only, unless_alive=unless_alive, items=items
        )


def _exchanged(push_reply: list[Any], lease_reply: list[Any]) -> Exchanged:
    _, state, seeding, seeder, queued, leased, held, news, hungry, *given = lease_reply
    return Exchanged(
        "ok",
        duplicates=[int(index) for index in push_reply[1:]],
        state=state.decode(errors="replace"),
        seeding=seeding.decode(errors="replace"),
        seeder=seeder.decode(errors="replace"),
        queued=int(queued),
        leased=int(leased),
        held=int(held),
        news=int(news),
        hungry=bool(hungry),
        leases=[
            Lease(
                given[i].decode(),
                element[0] >> 1,
                bool(element[0] & 1),
                element[1:],
                None if given[i + 1] < 0 else given[i + 1] / 1000,
            )
            for i in range(0, len(given), 3)
            for element in (given[i + 2],)
        ],
    )
