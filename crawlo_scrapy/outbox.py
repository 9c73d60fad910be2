"""A worker's outbox: requests on their way into Redis, and the last ones that are there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from crawlo_scrapy.store.frontier import PUSH_BATCH, Push

if TYPE_CHECKING:
    from scrapy import Request

    from crawlo_scrapy.inbox import Handout

#: The most bytes of payload in one push, unless a single request is larger.
PUSH_BYTES = 1 << 20
#: How many of its last pushes a worker remembers, to send again what Redis forgets. A server
#: with `appendfsync everysec` forgets two seconds at most.
REMEMBERED_PUSHES = 10_000


@dataclass(eq=False)
class Outgoing:
    """A request in the outbox. `local` is set when only this worker can crawl it.

    `number` counts what this worker has offered so far, to any partition. `orphan`: no lease of
    this worker speaks for it. `request` is None, and `number` 0, for a push that Redis had
    confirmed and has forgotten.
    """

    push: Push
    request: Request | None
    local: Handout | None = None
    number: int = 0
    orphan: bool = True


class Outbox:
    """Requests in the order in which they go to one partition, in numbered batches."""

    def __init__(self) -> None:
        self._waiting: deque[Outgoing] = deque()
        # Size of the batch that was sent and not confirmed: Redis may have it, so it must be
        # sent again as it was. What came since would be taken for a part of it, and lost.
        self._unconfirmed = 0
        # Confirmed pushes with the number of their batch, and the last number that is not here.
        self._sent: deque[tuple[int, Push]] = deque()
        self._sent_until = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, outgoing: Outgoing) -> None:
        self._waiting.append(outgoing)

    def first(self, after: int = 0) -> int | None:
        """Return the number of the first request that waits, or of the first but for so many."""
        return self._waiting[after].number if after < len(self._waiting) else None

    def batch(self) -> list[Push]:
        """Return the batch to send: the same one until it is confirmed, or known to be lost."""
        self._unconfirmed = self._unconfirmed or self._batch_size()
        return [outgoing.push for outgoing in islice(self._waiting, self._unconfirmed)]

    def _batch_size(self) -> int:
        """Return how many requests go into the next batch: by number, and by bytes."""
        size = total = 0
        for outgoing in islice(self._waiting, PUSH_BATCH):
            total += len(outgoing.push.payload)
            if size and total > PUSH_BYTES:
                break
            size += 1
        return size

    def confirm(self, number: int) -> list[Outgoing]:
        """Take out the batch and return it, now that Redis has it under *number*."""
        batch = [self._waiting.popleft() for _ in range(self._unconfirmed)]
        self._unconfirmed = 0
        self._sent.extend((number, out.push) for out in batch if out.push.mode != "c")
        while len(self._sent) > REMEMBERED_PUSHES:
            self._sent_until = self._sent.popleft()[0]
        return batch

    def roll_back(self, known: int) -> bool:
        """Send again what Redis had confirmed after batch *known*, the last that it remembers.

        Returns False if that is more than this worker remembers.
        """
        self._send_again([push for number, push in self._sent if number > known])
        self._sent = deque(sent for sent in self._sent if sent[0] <= known)
        return known >= self._sent_until

    def start_over(self) -> None:
        """Number batches anew, and send again what Redis may have forgotten."""
        # Where it has not forgotten them, these are duplicates.
        self._send_again([push for _, push in self._sent if push.mode != "n"])
        self._sent.clear()
        self._sent_until = 0

    def disown(self) -> None:
        """No lease speaks any more for what waits here."""
        for outgoing in self._waiting:
            outgoing.orphan = True

    def _send_again(self, pushes: list[Push]) -> None:
        """Put *pushes* before all else; whoever waits for the last one waits for these too."""
        self._unconfirmed = 0
        self._waiting.extendleft(Outgoing(push, None) for push in reversed(pushes))
