"""The seen set as it grows: bytes a URL, Redis's CPU time a look, and what a Bloom filter errs.

    python -m benchmarks.seen --json benchmarks/results/seen.json

Sets of 100 thousand, 1 million and 10 million URLs (minutes; ``--sizes`` takes others): exact; a
Bloom filter made for a million; one made for as many as there are. Bytes are what ``used_memory``
grew by. Microseconds are CPU time of Redis, all included: for the last URLs that were recorded, for
looks at those that were seen, and at others, 1,000 in one script.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import redis

from benchmarks.measure import markdown
from benchmarks.memory import batches, fingerprint, used_memory
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.seen import SeenChoice

#: How many looks, and how many last records, are measured.
SAMPLE = 50_000
#: URLs in one script.
BATCH = 1000
#: The numbers of URLs that nobody records begin here.
OTHERS = 10**12

BLOOM = SeenChoice("bloom", capacity=1_000_000, error_rate=0.001)
VARIANTS = {
    "exact": SeenChoice(),
    "Bloom filter for 1 million": BLOOM,
    "Bloom filter for all": BLOOM,
    "exact, REDIS_TTL": SeenChoice(ttl=24 * 3600.0),
}


class Crawl:
    """One crawl's seen set on a server of its own."""

    def __init__(self, client: Client, server: redis.Redis, number: int) -> None:
        self._client = client
        self._server = server
        self._keys = Keys("bench", f"seen-{number}")

    async def begin(self, choice: SeenChoice) -> None:
        """Choose the kind, and pay once for what a server keeps of each script."""
        await seen.choose(self._client, self._keys, choice)
        fill = await seen.bucket_fill(self._client)
        await self._client.call("hset", self._keys.meta, "bucket_fill", fill)
        await self.look(0, 1)

    async def record(self, start: int, stop: int) -> float:
        """Record the URLs of these numbers; return Redis's microseconds a URL."""
        before = self._cpu()
        for numbers in batches(start, stop, BATCH):
            await seen.add(self._client, self._keys, [fingerprint(n) for n in numbers])
        return (self._cpu() - before) / (stop - start)

    async def look(self, start: int, stop: int) -> tuple[float, float]:
        """Look at these numbers; return Redis's microseconds a URL, and the share of seen ones."""
        before, found = self._cpu(), 0
        for numbers in batches(start, stop, BATCH):
            bits = [part for n in numbers for part in seen.split(fingerprint(n))]
            names = [self._keys.meta, self._keys.seen_prefix]
            [answers] = await run(self._client, Call("items_seen", names, bits))
            found += sum(answers)
        return (self._cpu() - before) / (stop - start), found / (stop - start)

    def _cpu(self) -> float:
        """Return the CPU time that the server has used, in microseconds."""
        used = self._server.info("cpu")
        return 1e6 * (float(used["used_cpu_user"]) + float(used["used_cpu_sys"]))


async def measure(variant: str, size: int) -> dict[str, float]:
    """Return the figures of a fresh set of *size* URLs."""
    choice = VARIANTS[variant]
    if variant == "Bloom filter for all":
        choice = replace(choice, capacity=size)
    with LocalRedis() as server, redis.Redis(port=server.port) as admin:
        client = Client.connect(Address(url=server.url))
        warm = Crawl(client, admin, 0)
        await warm.begin(choice)
        await warm.record(0, 1)
        crawl = Crawl(client, admin, 1)
        await crawl.begin(choice)
        before = used_memory(admin)
        await crawl.record(0, size - SAMPLE)
        recorded = await crawl.record(size - SAMPLE, size)
        grown = used_memory(admin) - before
        known, share = await crawl.look(0, SAMPLE)
        if share != 1:
            raise SystemExit(f"{variant}: a URL that was seen is new")
        other, errors = await crawl.look(OTHERS, OTHERS + 4 * SAMPLE)
        await client.close()
    print(f"{variant}: {size:,} URLs", file=sys.stderr)
    return {
        "bytes a URL": grown / size,
        "us to record": recorded,
        "us a look, seen": known,
        "us a look, new": other,
        "false positives": errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    for size in options.sizes:
        for variant in options.variants:
            figures = asyncio.run(measure(variant, size))
            results.setdefault(variant, {})[f"{size:,}"] = figures
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n")
    rows = [
        [variant, size, *(f"{value:.5f}" if name == "false positives" else f"{value:.1f}"
                          for name, value in figures.items())]
        for variant, sizes in results.items()
        for size, figures in sizes.items()
    ]  # fmt: skip
    names = list(next(iter(next(iter(results.values())).values())))
    print(markdown(["", "URLs", *names], rows))


if __name__ == "__main__":
    main()
