"""What a queue of ten million requests costs Redis: push, lease, status, and its purge.

    python -m benchmarks.bigqueue

A queue grows to 10 thousand, 100 thousand, 1 million and 10 million requests, each with a URL
in the seen set. At each size, and on top of it, requests are pushed, leased and acked, and the
crawl is looked at. In the end it is purged while another process sends one PING after another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import RedisMeter, markdown
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Membership, Push
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.slots import SlotLimit, Slots
from crawlo_scrapy.store.workers import Workers

#: Bytes of a payload: a URL of 60, the depth, and a callback's name.
PAYLOAD = 90
#: Requests of one push, and of one lease, while it is measured: those of a worker's exchange.
BATCH = 64
#: Each measurement is made in so many parts, of which the cheapest counts: others may use the
#: machine, and nothing but them makes a part dearer.
PARTS = 10


@dataclass(frozen=True)
class Case:
    """So many slots, and whether they have limits."""

    name: str
    slots: int
    limited: bool


CASES = {
    "one": Case("one slot", 1, False),
    "many": Case("1,000 slots", 1000, False),
    "limited": Case("1,000 slots with limits", 1000, True),
}


class BigQueue:
    """A crawl whose queue grows."""

    def __init__(self, client: Client, case: Case) -> None:
        self.keys = Keys("bench", "big")
        self.queued = 0
        self._client = client
        self._case = case
        self._frontier = Frontier(client, self.keys)
        self._chance = random.Random(1)

    async def join(self) -> None:
        await teach(self._client, self.keys.meta)
        _, member = await Workers(self._client, self.keys).join("w", {}, bucket_fill=400)
        assert isinstance(member, Membership)
        self._member = member
        if self._case.limited:
            # Not so tight that anything has to wait: what is measured is the work of Redis.
            limits = {"": SlotLimit(delay=0.001, concurrency=1_000_000)}
            await Slots(self._client, self.keys).configure(limits)

    async def push(self, count: int, batch: int, *, seen: bool = False) -> None:
        """Push *count* requests, which go to the slots in turn; of new URLs, or of a *seen* one.

        The latter are queued in any case.
        """
        mode = "n" if seen else "f"
        bits = (lambda _: 0) if seen else self._chance.getrandbits
        for first in range(self.queued, self.queued + count, batch):
            last = min(first + batch, self.queued + count)
            pushes = [
                Push(
                    mode, bits(32), bits(63), f"site-{n % self._case.slots}.test", 0,
                    b"%0*d" % (PAYLOAD, n),
                )
                for n in range(first, last)
            ]  # fmt: skip
            result = await self._frontier.exchange(self._member, pushes)
            assert result.status == "ok", result
        self.queued += count

    async def lease(self, count: int) -> None:
        """Lease and ack *count* requests."""
        acks: list[str] = []
        given = 0
        while given < count:
            most = min(BATCH, count - given)
            want = {"room": most, "horizon": 60.0} if self._case.limited else {"limit": most}
            result = await self._frontier.exchange(self._member, acks=acks, **want)
            acks = [lease.id for lease in result.leases]
            given += len(acks)
        await self._frontier.exchange(self._member, acks=acks)
        self.queued -= given

    async def look(self, times: int) -> None:
        """Look at the crawl as `crawlo-scrapy status` does."""
        for _ in range(times):
            state = await inspect(self._client, self.keys)
            assert state.queued == self.queued, (state.queued, self.queued)

    async def purge(self) -> int:
        return await self._frontier.purge()


class Pings:
    """A process that sends one PING after another, and notes how long each answer took."""

    def __init__(self, port: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_ping, args=(port, theirs), daemon=True)
        self._process.start()
        self._pipe.recv()  # it has begun

    def stop(self) -> list[float]:
        """Return the times, in milliseconds, in order of size."""
        self._pipe.send("stop")
        times: list[float] = self._pipe.recv()
        self._process.join()
        return sorted(times)


def _ping(port: int, pipe: Connection) -> None:
    with redis.Redis(port=port) as client:
        client.ping()
        pipe.send("begun")
        times = []
        while not pipe.poll():
            begin = time.perf_counter()
            client.ping()
            times.append((time.perf_counter() - begin) * 1000)
            time.sleep(0.0005)
        pipe.send(times)


async def cheapest(plain: redis.Redis, work: Callable[[int], Awaitable[None]], count: int) -> float:
    """Let *work* be done with *count* requests in parts; return the least µs of scripts for one."""
    part = count // PARTS
    found = []
    for _ in range(PARTS):
        meter = RedisMeter(plain)
        await work(part)
        found.append(meter.read().command_us / part)
    return min(found)


async def measure_size(crawl: BigQueue, plain: redis.Redis, sample: int) -> dict[str, float]:
    """Push, lease and look at the crawl as it is; return what each cost Redis."""
    return {
        "queued": crawl.queued,
        "push_us": await cheapest(plain, lambda count: crawl.push(count, BATCH), sample),
        "push_seen_us": await cheapest(
            plain, lambda count: crawl.push(count, BATCH, seen=True), sample
        ),
        "lease_us": await cheapest(plain, crawl.lease, 2 * sample),
        "status_ms": await cheapest(plain, crawl.look, PARTS) / 1000,
    }


async def measure_purge(crawl: BigQueue, plain: redis.Redis) -> dict[str, Any]:
    """Purge the crawl; return how long Redis was busy with one command at most."""
    before = Pings(plain.connection_pool.connection_kwargs["port"])
    await asyncio.sleep(2)
    idle = before.stop()
    plain.config_set("slowlog-log-slower-than", 1000)
    plain.slowlog_reset()
    used = plain.info("memory")["used_memory"]
    pings = Pings(plain.connection_pool.connection_kwargs["port"])
    begin = time.perf_counter()
    keys = await crawl.purge()
    seconds = time.perf_counter() - begin
    _wait_until_freed(plain)
    freed = time.perf_counter() - begin
    times = pings.stop()
    slow = plain.slowlog_get(128)
    return {
        "keys": keys,
        "seconds": seconds,
        "freed_seconds": freed,
        "freed_mb": (used - plain.info("memory")["used_memory"]) / 2**20,
        "longest_command_ms": max([entry["duration"] / 1000 for entry in slow], default=0.0),
        "slow_commands": len(slow),
        "pings": len(times),
        "ping_ms": {"median": statistics.median(times), "max": times[-1]},
        "idle_ping_ms": {"median": statistics.median(idle), "max": idle[-1]},
    }


def _wait_until_freed(plain: redis.Redis) -> None:
    while plain.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.05)


async def measure(case: Case, server: LocalRedis, sizes: list[int], sample: int) -> dict[str, Any]:
    client = Client.connect(Address(url=server.url))
    rows = []
    try:
        crawl = BigQueue(client, case)
        with redis.Redis(port=server.port) as plain:
            await crawl.join()
            for size in sizes:
                await crawl.push(size - crawl.queued, PUSH_BATCH)
                rows.append(await measure_size(crawl, plain, sample))
                print(f"{case.name}: {size:,} queued", file=sys.stderr)
            used = int(plain.info("memory")["used_memory"])
            purge = await measure_purge(crawl, plain)
    finally:
        await client.close()
    return {"case": case.name, "sizes": rows, "used_mb": used / 2**20, "purge": purge}


def tables(results: list[dict[str, Any]]) -> str:
    head = ["queue", "queued", "push, URL looked up once", "push, new URL", "lease and ack",
            "status, ms"]  # fmt: skip
    rows = [
        [result["case"], f"{row['queued']:,}", f"{row['push_seen_us']:.1f}",
         f"{row['push_us']:.1f}", f"{row['lease_us']:.1f}", f"{row['status_ms']:.2f}"]
        for result in results
        for row in result["sizes"]
    ]  # fmt: skip
    costs = markdown(head, rows)
    head = ["purge of", "MB", "seconds", "longest command, ms", "longest PING, ms",
            "without a purge, ms"]  # fmt: skip
    rows = [
        [f"{result['sizes'][-1]['queued']:,}, {result['case']}", f"{result['used_mb']:,.0f}",
         f"{purge['seconds']:.1f}", f"{purge['longest_command_ms']:.1f}",
         f"{purge['ping_ms']['max']:.1f}", f"{purge['idle_ping_ms']['max']:.1f}"]
        for result in results
        for purge in [result["purge"]]
    ]  # fmt: skip
    return f"{costs}\n\n{markdown(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    parser.add_argument("--sizes", nargs="+", type=int, default=sizes)
    parser.add_argument("--sample", type=int, default=20_000, help="requests that are measured")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    results = []
    for name in options.cases:
        with LocalRedis() as server:
            results.append(
                asyncio.run(measure(CASES[name], server, sorted(options.sizes), options.sample))
            )
    print(tables(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
