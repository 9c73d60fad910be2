"""Memory of Redis: bytes a seen URL and bytes a queued request, scrapy-redis and ours.

    python -m benchmarks.memory

The seen sets grow to 100 thousand, 1 million and 10 million URLs (about 2 GB and some
minutes; ``--seen`` takes other sizes). A queued request has a URL of 60 bytes and ``depth`` in
meta. Bytes are what ``used_memory`` grew by, divided by the number.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

import redis
from scrapy import Request, Spider
from scrapy_redis.dupefilter import RFPDupeFilter
from scrapy_redis.queue import PriorityQueue

from benchmarks.measure import markdown
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers

#: Fingerprints that go to scrapy-redis's SET together. Has no influence on the memory.
PEER_BATCH = 10_000


def url_of(number: int) -> str:
    """Return the *number*-th URL; each has 60 bytes."""
    return f"https://www.example.com/catalogue/products/item-{number:07d}.html"


def fingerprint(number: int) -> bytes:
    """Return 20 bytes that are as evenly spread as Scrapy's fingerprints, and faster made."""
    return hashlib.sha1(number.to_bytes(8, "big")).digest()


def requests(count: int) -> Iterator[Request]:
    """Yield what a crawl would queue."""
    for number in range(count):
        yield Request(url_of(number), meta={"depth": 3})


def batches(start: int, stop: int, size: int) -> Iterator[range]:
    for first in range(start, stop, size):
        yield range(first, min(first + size, stop))


def fill_peer_seen(client: redis.Redis, start: int, stop: int) -> None:
    """Record the fingerprints as `scrapy_redis.dupefilter` does: hex digits in a SET."""
    key = RFPDupeFilter(client, "pages:dupefilter").key
    for numbers in batches(start, stop, PEER_BATCH):
        client.sadd(key, *(fingerprint(number).hex() for number in numbers))


def fill_peer_queue(client: redis.Redis, count: int) -> None:
    """Queue the requests through scrapy-redis's own `PriorityQueue`."""
    spider = Spider("pages")
    queue = PriorityQueue(client, spider, "%(spider)s:requests")
    for request in requests(count):
        queue.push(request)


@contextlib.asynccontextmanager
async def our_crawl(redis_url: str) -> AsyncIterator[tuple[Client, Keys, Membership]]:
    """Join a crawl as a worker does; what is needed to fill it."""
    client, keys = Client.connect(Address(url=redis_url)), Keys("bench", "pages")
    try:
        fill = await seen.bucket_fill(client)
        _, member = await Workers(client, keys).join(f"bench-{uuid4()}", {}, bucket_fill=fill)
        if not isinstance(member, Membership):
            raise SystemExit(f"cannot join the crawl: {member}")
        yield client, keys, member
    finally:
        await client.close()


async def fill_ours_seen(redis_url: str, start: int, stop: int) -> None:
    """Record the fingerprints in our seen set."""
    async with our_crawl(redis_url) as (client, keys, _):
        for numbers in batches(start, stop, PUSH_BATCH):
            await seen.add(client, keys, [fingerprint(number) for number in numbers])


async def fill_ours_queue(redis_url: str, count: int) -> None:
    """Queue the requests through our serializer and frontier.

    Pushing records the fingerprints too: with `fill_ours_seen` before, that adds nothing.
    """
    serializer = RequestSerializer(Spider("pages"))
    async with our_crawl(redis_url) as (client, keys, member):
        frontier = Frontier(client, keys)
        numbered = enumerate(requests(count))
        while batch := list(islice(numbered, PUSH_BATCH)):
            pushes = [
                Push(
                    "n", *seen.split(fingerprint(number)), "www.example.com", request.priority,
                    serializer.encode(request),
                )
                for number, request in batch
            ]  # fmt: skip
            await frontier.exchange(member, pushes)


def used_memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def fill_seen(variant: str, server: LocalRedis, client: redis.Redis, numbers: range) -> None:
    if variant == "crawlo_scrapy":
        asyncio.run(fill_ours_seen(server.url, numbers.start, numbers.stop))
    else:
        fill_peer_seen(client, numbers.start, numbers.stop)


def fill_queue(variant: str, server: LocalRedis, client: redis.Redis, count: int) -> None:
    if variant == "crawlo_scrapy":
        asyncio.run(fill_ours_queue(server.url, count))
    else:
        fill_peer_queue(client, count)


def measure_seen(variant: str, sizes: list[int]) -> dict[str, float]:
    """Return bytes a URL for each size; one set grows through all of them."""
    result = {}
    with LocalRedis() as server, redis.Redis(port=server.port) as client:
        # The first use of a command or script costs a server some 300 KB, once and for all.
        fill_seen(variant, server, client, range(1))
        before, filled = used_memory(client), 1
        for size in sorted(sizes):
            fill_seen(variant, server, client, range(filled, size))
            filled = size
            result[f"seen {size:,}"] = (used_memory(client) - before) / (size - 1)
            print(f"{variant}: {size:,} URLs seen", file=sys.stderr)
    return result


def measure_queue(variant: str, count: int) -> dict[str, float]:
    """Return bytes a queued request, without its entry in the seen set."""
    with LocalRedis() as server, redis.Redis(port=server.port) as client:
        if variant == "crawlo_scrapy":
            asyncio.run(fill_ours_seen(server.url, 0, count))
        fill_queue(variant, server, client, 1)
        before = used_memory(client)
        fill_queue(variant, server, client, count)
        gc.collect()  # closes connections, whose buffers count as well
        return {f"queued {count:,}": (used_memory(client) - before) / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seen", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--queued", type=int, default=100_000)
    variants = ["scrapy-redis", "crawlo_scrapy"]
    parser.add_argument("--variants", nargs="+", choices=variants, default=variants)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    results = {
        variant: measure_seen(variant, options.seen) | measure_queue(variant, options.queued)
        for variant in options.variants
    }
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    names = list(next(iter(results.values())))
    rows = [
        [variant, *(f"{figures[name]:.1f}" for name in names)]
        for variant, figures in results.items()
    ]
    print(markdown(["bytes each", *names], rows))


if __name__ == "__main__":
    main()
