"""What is on its way between a worker and one partition of its crawl."""

from __future__ import annotations

import asyncio
from collections import deque

from crawlo_scrapy.inbox import Handout
from crawlo_scrapy.outbox import Outbox
from crawlo_scrapy.store.frontier import Push
from crawlo_scrapy.turns import Turns


class Lane:
    """The outbox, and what has become of leases, of partition *number*; 0 is the crawl's home.

    `acks` are done leases, each with the number of the last request that must be pushed before
    its ack. `releases` and `burials` are emptied by the exchange. `suspects` are leases that are
    handed out once Redis knows, `turns` local requests of the partition's slots that wait for
    their time. `queued` is how many Redis lately had queued. `wake` is set when Redis should be
    spoken to soon; `orphans` when something was pushed that no lease speaks for.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.outbox = Outbox()
        self.acks: deque[tuple[int, str]] = deque()
        self.releases: list[str] = []
        self.burials: list[tuple[str, str, str, Push | None]] = []
        self.suspects: list[Handout] = []
        self.turns = Turns()
        self.queued = 0
        self.orphans = False
        self.wake = asyncio.Event()
