"""Dead letters: requests that nobody will try again by himself, kept where a person sees them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from crawlo_scrapy.store import partitions
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
    callback, scheme, size, fingerprint, entry (of a start URL key), unreadable (the letter is).
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
    """The dead letters of one crawl.

    Those of a divided crawl are buried in the partition of *keys*, and read, requeued and purged
    in all of them: then *keys* are those of its home.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    async def count(self) -> int:
        found = [await self.client.call("hlen", part.dead) for part in await self._all_keys()]
        return sum(map(int, found))

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
        for number, part in enumerate(await self._all_keys()):
            cursor = None
            while cursor != 0:
                found = await self.client.call("hscan", part.dead, cursor or 0, count=STEP)
                cursor = int(found[0])
                for letter_id, record in found[1].items():
                    yield _parse(_full_id(number, letter_id.decode(errors="replace")), record)

    async def requeue(self, letter_ids: Sequence[str]) -> int:
        """Queue dead letters again, with all attempts before them. Returns how many."""
        count = 0
        async for part, step in self._steps(letter_ids):
            names = [part.meta, part.dead, *part.queues]
            count += int((await run(self.client, Call("dead_requeue", names, step)))[0])
            if part is not self.keys:
                await partitions.note(self.client, self.keys)
        return count

    async def purge(self, letter_ids: Sequence[str]) -> int:
        """Remove dead letters for good. Returns how many."""
        count = 0
        async for part, step in self._steps(letter_ids):
            count += int(await self.client.call("hdel", part.dead, *step))
        return count

    async def _all_keys(self) -> Sequence[Keys]:
        return await partitions.all_keys(self.client, self.keys)

    async def _steps(self, letter_ids: Sequence[str]) -> AsyncIterator[tuple[Keys, Sequence[str]]]:
        ids: dict[int, list[str]] = {}
        for letter_id in letter_ids:
            prefix, _, rest = letter_id.partition("/")
            inside = (int(prefix), rest) if prefix.isdigit() and rest else (0, letter_id)
            ids.setdefault(inside[0], []).append(inside[1])
        for number, part in enumerate(await self._all_keys()):
            of_part = ids.get(number, [])
            for i in range(0, len(of_part), STEP):
                yield part, of_part[i : i + STEP]


def _full_id(number: int, letter_id: str) -> str:
    """Return the id of a letter of a partition: two of them may have given out the same.

    No letter's own id begins with digits and a slash.
    """
    return f"{number}/{letter_id}" if number else letter_id


def _parse(letter_id: str, record: bytes) -> DeadLetter:
    try:
        head, slot, priority, element = record.split(b"\n", 3)
        letter = json.loads(head)
        return DeadLetter(
            id=letter_id,
            reason=str(letter["reason"]),
            error=str(letter["error"]),
            attempts=int(letter["attempts"]),
            worker=str(letter["worker"]),
            time=int(letter["time"]),
            slot=slot.decode(),
            priority=int(priority),
            payload=element[1:],
        )
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        # Not written by us, and yet to be seen, and removed.
        error = "it has not the form of a dead letter"
        return DeadLetter(letter_id, "unreadable", error, 0, "", 0, "", 0, record)
