"""Who tells what about a crawl, so that each thing is told once, whoever notices it."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: The right to look at the crawl, and what the last look is remembered by; no rule is called so.
_TURN = ":turn"
_MEMORY = ":memory"


class Claim(NamedTuple):
    """The right to do something once for the crawl, until a time in ms.

    `raised` is when the alert was raised last, this time included; `memory` what the last who
    looked at the crawl wants the next to know.
    """

    name: str
    holds: bool
    until: int
    raised: int
    memory: bytes


class Alerts:
    """The alerts of one run of a crawl. All methods raise `StoreError` when Redis cannot serve.

    What is claimed belongs to one worker for *lease* seconds; if it has not settled by then, it
    may have died, and another gets the right.
    """

    def __init__(self, client: Client, keys: Keys, number: int, created: int) -> None:
        self._client = client
        self._keys = [keys.meta, keys.alerts]
        self._worker_key = keys.worker
        self._run = f"{number}:{created}"

    async def take_turn(self, interval: float) -> Claim | None:
        """Claim the right to look at the crawl; one worker gets it every *interval* seconds."""
        return await self.claim(_TURN, True, lease=interval)

    async def claim(
        self, name: str, holds: bool, *, lease: float, quiet: float = 0.0
    ) -> Claim | None:
        """Claim the right to tell that the alert *name* is raised, or over if it does not *hold*.

        None when that was told last, when another is telling it, when the run is over, or when
        it was raised less than *quiet* seconds ago.
        """
        taken = round(lease * 1000)
        args = [self._run, name, int(holds), round(quiet * 1000), taken]
        [reply] = await run(self._client, Call("alert_claim", self._keys, args))
        if not reply:
            return None
        until, raised, memory = int(reply[0]), int(reply[1]), reply[2]
        return Claim(name, holds, until, until - taken if holds else raised, memory)

    async def settle(self, claim: Claim) -> None:
        """Note that it was told."""
        await self._note(claim, claim.name, f"{int(claim.holds)} {claim.raised} 0".encode())

    async def remember(self, turn: Claim, memory: bytes) -> None:
        """Keep what the next who looks is to know."""
        await self._note(turn, _MEMORY, memory)

    async def _note(self, claim: Claim, field: str, value: bytes) -> None:
        args = [self._run, claim.name, claim.until, field, value]
        await run(self._client, Call("alert_note", self._keys, args))

    async def dead(self, worker_ids: Collection[str]) -> set[str]:
        """Return those of *worker_ids* that were struck off because they were silent."""
        reasons = {
            worker_id: await self._client.call("hget", self._worker_key(worker_id), "reason")
            for worker_id in worker_ids
        }
        return {worker_id for worker_id, reason in reasons.items() if reason == b"dead"}
