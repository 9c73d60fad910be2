"""Dead letters: requests that nobody will try again by himself, kept where a person sees them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Membership, Push, queue_priority
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: How many dead letters are moved or removed in one step.
STEP = 100


@dataclass(frozen=True)
class DeadLetter:
    """A request that was given up. `time` is Redis's, in milliseconds since 1970.

    `reason` is one word: attempts (its workers died), failed (its downloads did), decode,
    callback, encode, fingerprint, entry (of a start URL key).
    """

    id: str
    reason: str
    error: str
    attempts: int
    worker: str
    time: int
    slot: str
    priority: int
    payload: bytes


class DeadLetters:
    """The dead letters of one crawl."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    async def count(self) -> int:
        return int(await self.client.call("hlen", self.keys.dead))

    async def bury_lease(self, member: Membership, lease_id: str, reason: str, error: str) -> bool:
        """Turn a lease into a dead letter; False when the lease is no longer held."""
        return await self._bury(member, lease_id, reason, error, ["", "", b""])

    async def bury_request(
        self, member: Membership, letter_id: str, push: Push, reason: str, error: str
    ) -> None:
        """Keep a request that never came into the queue. *letter_id* must be unique."""
        request = [push.slot, queue_priority(push.priority), push.payload]
        await self._bury(member, letter_id, reason, error, request)

    async def _bury(
        self, member: Membership, letter_id: str, reason: str, error: str, request: list[object]
    ) -> bool:
        leases = self.keys.leases(member.worker_id)
        keys = [self.keys.meta, leases, self.keys.dead, *self.keys.queues]
        message = error[:500].encode("utf-8", "replace")
        args = [letter_id, reason, message, member.worker_id, *request]
        return bool((await run(self.client, Call("frontier_bury", keys, args)))[0])

    async def list(self) -> AsyncIterator[DeadLetter]:
        """Yield all dead letters, in no order; scans in steps."""
        cursor = 0
        while True:
            cursor, page = await self.client.call("hscan", self.keys.dead, cursor, count=STEP)
            for letter_id, record in page.items():
                yield _parse(letter_id.decode(), record)
            if not int(cursor):
                return

    async def requeue(self, letter_ids: Sequence[str]) -> int:
        """Queue dead letters again, with all attempts before them. Returns how many."""
        keys, count = self.keys, 0
        for i in range(0, len(letter_ids), STEP):
            call = Call(
                "dead_requeue",
                [keys.meta, keys.dead, *keys.queues],
                letter_ids[i : i + STEP],
            )
            count += int((await run(self.client, call))[0])
        return count

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """Remove dead letters for good. Returns how many."""
        count = 0
        for i in range(0, len(letter_ids), STEP):
            step = letter_ids[i : i + STEP]
            count += int(await self.client.call("hdel", self.keys.dead, *step))
        return count


def _parse(letter_id: str, record: bytes) -> DeadLetter:
    head, slot, priority, element = record.split(b"\n", 3)
    letter = json.loads(head)
    return DeadLetter(
        id=letter_id,
        reason=letter["reason"],
        error=letter["error"],
        attempts=int(letter["attempts"]),
        worker=letter["worker"],
        time=int(letter["time"]),
        slot=slot.decode(),
        priority=int(priority),
        payload=element[1:],
    )
