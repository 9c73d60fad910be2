"""What the dashboard costs: how fast a page is there, and what of Redis's time an open page takes.

    python -m benchmarks.dashboard

A crawl of 50 nodes with 24 hours of history is written into a Redis of its own, and
``crawlo-scrapy dashboard`` serves it. Each page is fetched when all that was looked up before is
too old to be used, as the first viewer gets it. Then viewers do for some time what the page's
script does: the page every two seconds, the curves every ten.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import redis

from benchmarks.measure import RedisMeter, markdown
from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys

CRAWL = Keys("shop", "catalogue")
PAGES = {
    "all crawls": "/",
    "one crawl": f"/crawl/{CRAWL.name}",
    "its curves": f"/crawl/{CRAWL.name}/curves.json",
    "one node": f"/crawl/{CRAWL.name}/node?id=host-0-4000",
}
#: As in the page's script, in seconds.
PAGE_EVERY, CURVES_EVERY = 2.0, 10.0
#: Longer than anything that is looked up is held, in seconds.
ALL_IS_OLD = 16.0


async def simulate(url: str, nodes: int, hours: float) -> None:
    client = Client.connect(Address(url=url))
    try:
        await SimulatedCrawl(client, CRAWL, nodes=nodes, hours=hours).make(queued=20_000)
    finally:
        await client.close()


@contextmanager
def running_dashboard(redis_url: str) -> Iterator[str]:
    """Serve the crawls of a Redis from a process of its own; yields the address."""
    words = ["dashboard", "--port", "0", "--all", "--redis-url", redis_url]
    process = subprocess.Popen(
        [sys.executable, "-c", "from crawlo_scrapy.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        found = re.search(r"http://\S+(?=/ )", process.stdout.readline())
        if found is None:
            raise RuntimeError("the dashboard did not start")
        yield found[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def fetch(url: str) -> float:
    """Return how long the answer took, in milliseconds."""
    begun = time.perf_counter()
    with urlopen(Request(url, headers={"Accept-Encoding": "gzip"}), timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - begun) * 1000


def times(base: str, repeat: int, rest: float) -> dict[str, list[float]]:
    """Return how long each page took, each time when all that was held was too old."""
    found: dict[str, list[float]] = {name: [] for name in PAGES}
    for name in PAGES:
        fetch(base + PAGES[name])  # compiles templates, teaches scripts
    for _ in range(repeat):
        for name, path in PAGES.items():
            time.sleep(rest)
            found[name].append(fetch(base + path))
    return found


def load(base: str, client: redis.Redis, viewers: int, seconds: float) -> tuple[float, float]:
    """Return the shares of Redis's time while viewers watch: of commands, and of its process."""
    begun, meter = time.monotonic(), RedisMeter(client)
    turn = 0
    while time.monotonic() - begun < seconds:
        for _ in range(viewers):
            fetch(base + PAGES["one crawl"])
            if turn % round(CURVES_EVERY / PAGE_EVERY) == 0:
                fetch(base + PAGES["its curves"])
        turn += 1
        time.sleep(max(0.0, begun + turn * PAGE_EVERY - time.monotonic()))
    spent = (time.monotonic() - begun) * 1e6
    work = meter.read()
    return work.command_us / spent, work.cpu_us / spent


def idle(client: redis.Redis, seconds: float) -> tuple[float, float]:
    """Return what `load` does while nobody watches."""
    begun, meter = time.monotonic(), RedisMeter(client)
    time.sleep(seconds)
    spent = (time.monotonic() - begun) * 1e6
    work = meter.read()
    return work.command_us / spent, work.cpu_us / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rest", type=float, default=ALL_IS_OLD, help="before each page, seconds")
    parser.add_argument("--viewers", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long viewers watch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()

    with LocalRedis() as server, redis.Redis(port=server.port) as client:
        asyncio.run(simulate(server.url, options.nodes, options.hours))
        with running_dashboard(server.url) as base:
            taken = times(base, options.repeat, options.rest)
            shares = {"nobody": idle(client, options.seconds)}
            for viewers in options.viewers:
                shares[f"{viewers}"] = load(base, client, viewers, options.seconds)
    if options.json:
        options.json.write_text(json.dumps({"ms": taken, "shares": shares}, indent=1))
    rows = [
        [name, f"{statistics.median(values):.0f}", f"{max(values):.0f}"]
        for name, values in taken.items()
    ]
    print(markdown(["page", "ms, median", "ms, slowest"], rows))
    print()
    rows = [
        [name, f"{100 * commands:.2f} %", f"{100 * cpu:.2f} %"]
        for name, (commands, cpu) in shares.items()
    ]
    print(markdown(["viewers", "commands, of Redis's time", "CPU of Redis"], rows))


if __name__ == "__main__":
    main()
