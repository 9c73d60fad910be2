"""Workers of a crawl without Scrapy and without a network: they lease, find links, push and ack."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate
from multiprocessing.synchronize import Event

from crawlo_scrapy.dupefilter import RecentSet
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Lease, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout, open_partition
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.workers import Workers

#: Of the pages that a site has, the n-th best known is linked to 1 / n^0.9 times as often as the
#: best: that is the distribution of links in the web, whose in-degrees have the exponent 2.1
#: (Broder and others, Graph structure in the Web, 2000).
ZIPF = 0.9
#: So many links of each page are the menu of its site: about half of a page is its template
#: (Gibson, Punera and Tomkins, The Volume and Evolution of Web Page Templates, 2005).
MENU = 5
#: CRAWLO_HEARTBEAT_INTERVAL and CONCURRENT_REQUESTS.
HEARTBEAT, CONCURRENCY = 3.0, 16


@dataclass(frozen=True)
class Plan:
    """What is simulated. `known` URLs are seen before; `rate` is pages a second a worker.

    `cache`, `interval` and `prefetch` are CRAWLO_LOCAL_CACHE_SIZE, CRAWLO_EXCHANGE_INTERVAL and
    CRAWLO_PREFETCH. A number of hosts that a multiple of the leases divides would give each worker
    the same hosts again and again.

    Redis is measured in so many `windows` of so many `seconds`, and the cheapest counts: others
    may use the machine, and nothing but them makes a window dearer.
    """

    workers: int = 100
    rate: float = 100.0
    links: int = 10
    menu: int = MENU
    hosts: int = 1009
    known: int = 1_000_000
    queued: int = 100_000
    cache: int = 100_000
    interval: float = 0.2
    prefetch: int = 64
    limited: bool = False
    processes: int = 2
    seconds: float = 4.0
    windows: int = 5
    warm_up: float = 3.0
    masters: int = 1
    partitions: int = 1
    cluster: bool = False
    aof: bool = False


class Sites:
    """The pages of all hosts. A page's number is that of its host, and of itself in the host."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self._hosts = plan.hosts
        self._ranks = range(plan.known // plan.hosts)
        self._weights = list(accumulate((rank + 1) ** -ZIPF for rank in self._ranks))
        self._menu = plan.menu
        self._others = plan.links - 1 - plan.menu
        self._chance = random.Random(seed)
        # Nobody else has found these.
        self._new = plan.known + seed * 2**32

    def host(self, page: int) -> int:
        return page % self._hosts

    def links(self, page: int) -> list[int]:
        """Return the links of *page*: one to a page that nobody has met, the others to known ones.

        All are of the same host. So it is over a whole crawl: each page is found once.
        """
        host = page % self._hosts
        self._new += self._hosts
        ranks = self._chance.choices(self._ranks, cum_weights=self._weights, k=self._others)
        return [
            self._new - self._new % self._hosts + host,
            *(rank * self._hosts + host for rank in (*range(self._menu), *ranks)),
        ]

    def fill(self, cache: RecentSet, pages: int) -> None:
        """Put into *cache* what a worker remembers that has crawled so many *pages*."""
        for _ in range(pages):
            for page in self.links(self._chance.randrange(self._hosts))[1:]:
                if page not in cache:
                    cache.add(page)


def payload(page: int) -> bytes:
    """Return a request of 88 bytes with a URL of 60."""
    url = b"https://site-%06d.test/catalogue/page-%020d" % (page % 1_000_000, page)
    return b"\x83\xa1u\xc4\x3c" + url + b"\xa1c\xaaparse_item\xa1m\x81\xa5depth\x03"


def page_of(request: bytes) -> int:
    return int(request[45:65])


def push_of(page: int, sites: Sites, mode: str = "f") -> Push:
    host = sites.host(page)
    bits = seen.split(page.to_bytes(12, "big"))
    return Push(mode, *bits, f"site-{host:06d}.test", 0, payload(page))


@dataclass
class Partition:
    """A worker's place in one partition, and what it has of it."""

    frontier: Frontier
    member: Membership
    outbox: deque[Push] = field(default_factory=deque)
    inbox: deque[Lease] = field(default_factory=deque)
    acks: list[str] = field(default_factory=list)
    #: Acks that wait until the pushes before them are in Redis, in whatever partition.
    done: list[str] = field(default_factory=list)


class Counters:
    """What the workers of a process have done so far; the parent reads it."""

    def __init__(self) -> None:
        self._values = multiprocessing.Array("q", 3, lock=False)

    def add(self, pages: int, pushed: int, exchanges: int) -> None:
        for place, value in enumerate((pages, pushed, exchanges)):
            self._values[place] += value

    def read(self) -> list[int]:
        return list(self._values)


class SimulatedWorker:
    """One worker of a crawl over *parts*."""

    def __init__(self, plan: Plan, sites: Sites, parts: list[Partition], cache: RecentSet) -> None:
        self._plan = plan
        self._layout = Layout(plan.partitions)
        self._sites = sites
        self._parts = parts
        self._cache = cache
        self.latencies: list[float] = []

    async def run(self, counters: Counters, measuring: Event, stop: Event) -> None:
        """Crawl at the plan's rate until *stop*."""
        # It wakes when its inbox runs low, or else by its interval.
        pause = min(self._plan.interval, (self._plan.prefetch - CONCURRENCY) / self._plan.rate)
        due = time.monotonic() + random.random() * pause
        owed = 0.0
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due + pause, time.monotonic())
            owed = min(owed + pause * self._plan.rate, self._plan.prefetch)
            pages, pushed = self._crawl(int(owed))
            owed -= pages
            begin = time.perf_counter()
            await asyncio.gather(*(self._exchange(part) for part in self._parts))
            if measuring.is_set():
                self.latencies.append((time.perf_counter() - begin) * 1000)
            counters.add(pages, pushed, len(self._parts))

    def _crawl(self, most: int) -> tuple[int, int]:
        """Take up to *most* pages from the inboxes; return how many, and how many links to push."""
        pages = pushed = 0
        for number, part in enumerate(self._parts):
            part.acks, part.done = part.done, []
            share = (most - pages) // (len(self._parts) - number)
            for _ in range(min(share, len(part.inbox))):
                lease = part.inbox.popleft()
                pushed += self._follow(page_of(lease.payload))
                part.done.append(lease.id)
                pages += 1
            if len(self._parts) == 1:  # pushes and acks of one exchange keep their order
                part.acks, part.done = part.done, []
        return pages, pushed

    def _follow(self, page: int) -> int:
        count = 0
        for link in self._sites.links(page):
            if link not in self._cache:
                self._cache.add(link)
                push = push_of(link, self._sites)
                self._parts[self._layout.place(push.slot, push.member)].outbox.append(push)
                count += 1
        return count

    async def _exchange(self, part: Partition) -> None:
        pushes = [part.outbox.popleft() for _ in range(min(len(part.outbox), PUSH_BATCH))]
        started = [lease.id for lease in part.inbox][: CONCURRENCY // len(self._parts)]
        wanted = self._plan.prefetch // len(self._parts) - len(part.inbox)
        result = await part.frontier.exchange(
            part.member, pushes, part.acks, 0 if self._plan.limited else wanted, started,
            room=wanted if self._plan.limited else 0, horizon=2 * self._plan.interval,
        )  # fmt: skip
        assert result.status == "ok", result
        part.inbox.extend(result.leases)

    async def live(self, stop: Event) -> None:
        """Say again and again that it lives."""
        await asyncio.sleep(random.random() * HEARTBEAT)
        while not stop.is_set():
            for part in self._parts:
                workers = Workers(part.frontier.client, part.frontier.keys)
                await workers.beat(part.member, timeout=1e6)
            await asyncio.sleep(HEARTBEAT)


async def join(client: Client, plan: Plan, name: str) -> list[Partition]:
    """Register a worker in all partitions."""
    layout, home = Layout(plan.partitions), Keys("bench", "scale")
    status, member = await Workers(client, home).join(
        name, {"host": "h"}, bucket_fill=400, layout=layout
    )
    assert isinstance(member, Membership), status
    parts = []
    for keys in layout.keys(home):
        await teach(client, keys.meta)
        if keys is not home:
            status = await open_partition(client, home, keys, worker_id=name, record={"host": "h"})
            assert status == "joined", status
        own = Membership(name, member.run, member.created)
        parts.append(Partition(Frontier(client, keys), own))
    return parts
