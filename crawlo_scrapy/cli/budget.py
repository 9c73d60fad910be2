"""How many more URLs a Redis has memory for, and how much of it a crawl needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crawlo_scrapy.cli.finding import Finding
from crawlo_scrapy.cli.output import size
from crawlo_scrapy.store.bloom import Bloom
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.inspect import keys_of
from crawlo_scrapy.store.partitions import all_keys
from crawlo_scrapy.store.seen import SeenChoice

#: Bytes of a URL in the exact seen set: 9 to 13, by how full its newest level is
#: (benchmarks/memory.py).
SEEN_BYTES = 13
#: Bytes of a URL that is kept besides (CRAWLO_SEEN_URLS): one of 60 in a stream.
KEPT_BYTES = 90
#: Bytes of a request that waits: a URL of 60, its depth and callback (benchmarks/bigqueue.py).
QUEUED_BYTES = 100
#: Of a crawl's URLs so many wait when its queue is longest.
WAITING = 0.5
#: A request that waits brings so many new ones while a crawl grows: all the links of its page.
GROWTH = 10
#: Of a host's memory; the rest is for its system, and for what Redis copies while it rewrites its
#: files.
USABLE = 0.7
#: A master with more takes long to fork, to rewrite its files and to fill a replica.
LARGE_MASTER = 16 * 2**30


def limit_of(info: Mapping[str, Any]) -> int:
    """Return how many bytes this Redis may use, by its INFO; 0: unknown."""
    return int(info.get("maxmemory", 0)) or int(int(info.get("total_system_memory", 0)) * USABLE)


def seen_bytes(choice: SeenChoice, urls: int) -> int:
    """Return the bytes that *urls* take once they are crawled."""
    if choice.kind == "bloom":
        return Bloom(choice.capacity, choice.filter_error).memory(urls)
    return urls * (SEEN_BYTES + (KEPT_BYTES if choice.urls else 0))


@dataclass(frozen=True)
class Budget:
    """What fits into *free* bytes of a server on which *queued* requests wait."""

    free: int
    queued: int
    choice: SeenChoice

    @property
    def crawled(self) -> int:
        """How many more URLs fit once they are crawled."""
        million = seen_bytes(self.choice, 1_000_000)
        return self.free * 1_000_000 // million

    @property
    def waiting(self) -> int:
        """How many more URLs fit while all of them wait."""
        million = seen_bytes(self.choice, 1_000_000) + 1_000_000 * QUEUED_BYTES
        return self.free * 1_000_000 // million

    def finding(self) -> Finding:
        """Return a warning if what waits may bring more than there is room for."""
        text = (
            f"about {self.waiting:,} more URLs while they wait, {self.crawled:,} once crawled; "
            f"{self.queued:,} wait now"
        )
        if self.waiting >= GROWTH * self.queued:
            return Finding("ok", "room", text)
        return Finding(
            "warning", "room", text,
            f"Each that waits may bring {GROWTH} new ones: raise maxmemory, or see DEPTH_LIMIT "
            "and CRAWLO_SEEN.",
        )  # fmt: skip


def expected(urls: int, choice: SeenChoice, rooms: Sequence[int]) -> Finding:
    """Return whether a crawl of *urls* fits into masters with so many bytes free each."""
    need = needed(choice, urls)
    text = (
        f"{urls:,} URLs need {size(need)}: {size(seen_bytes(choice, urls))} for the seen set, the "
        f"rest for a queue of {round(urls * WAITING):,}"
    )
    if need <= min(rooms) * len(rooms):
        return Finding("ok", "expected", text)
    count = masters(need)
    advice = f"Give Redis {size(need)} more than it uses."
    if count > 1:
        advice = (
            f"Use a cluster of {count} masters with {size(math.ceil(need / count))} each, and "
            f"CRAWLO_PARTITIONS = {2 * count}."
        )
    return Finding("warning", "expected", text, advice)


def needed(choice: SeenChoice, urls: int) -> int:
    """Return the bytes that a crawl of so many URLs needs when its queue is longest."""
    return seen_bytes(choice, urls) + round(urls * WAITING * QUEUED_BYTES)


def masters(need: int) -> int:
    """Return how many masters of advisable size hold *need* bytes."""
    return max(1, math.ceil(need / LARGE_MASTER))


async def queued_by_server(client: Client, names: Iterable[str]) -> dict[str, int]:
    """Return how many requests of the crawls *names* wait on each server; raises `StoreError`.

    Servers are named as `Client.server_of` names them.
    """
    found: dict[str, int] = {}
    for name in names:
        for keys in await all_keys(client, keys_of(name)):
            server = await client.server_of(keys.meta)
            queued = int(await client.call("hget", keys.meta, "queued") or 0)
            found[server] = found.get(server, 0) + queued
    return found
