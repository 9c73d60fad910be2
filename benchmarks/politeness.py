"""Many workers on a site of three hosts with delays: what the site's access log says.

    python -m benchmarks.politeness

Hosts are addresses of this machine (127.0.0.1, .2, .3), so Linux only. The log is written by a
process of its own, which does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from benchmarks.site import SiteProtocol
from crawlo_scrapy.localserver import LocalRedis

#: Delay of each host in seconds, and how many requests go to it.
HOSTS = ((0.5, 40), (0.1, 200), (0.0, 4000))

SPIDER = """
import scrapy

class Polite(scrapy.Spider):
    name = "polite"

    async def start(self):
        for host, (_, count) in enumerate({hosts}, 1):
            for page in range(count):
                yield scrapy.Request(f"http://127.0.0.{{host}}:{port}/{{page}}")

    def parse(self, response):
        pass
"""


def serve(pipe: Connection) -> None:
    """Answer until something comes through *pipe*; then send back when which host was asked."""
    arrivals: dict[str, list[float]] = defaultdict(list)
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\npage"

    class Protocol(SiteProtocol):
        def data_received(self, data: bytes) -> None:
            self.buffer += data
            while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
                self.buffer = self.buffer[end + 4 :]
                arrivals[self.transport.get_extra_info("sockname")[0]].append(time.monotonic())
                self.transport.write(page)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Protocol({}), "0.0.0.0", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.recv)
        server.close()

    asyncio.run(run())
    pipe.send(dict(arrivals))


def crawl(workers: int, disturb: bool) -> dict[str, list[float]]:
    """Crawl with *workers* processes; with *disturb* one dies every three seconds."""
    ours, theirs = multiprocessing.Pipe()
    site = multiprocessing.Process(target=serve, args=[theirs])
    site.start()
    with tempfile.TemporaryDirectory() as folder, LocalRedis() as redis:
        spider = Path(folder) / "polite.py"
        spider.write_text(SPIDER.format(hosts=HOSTS, port=ours.recv()))
        slots = {f"127.0.0.{host}": {"delay": delay} for host, (delay, _) in enumerate(HOSTS, 1)}
        settings = {
            "ADDONS": json.dumps({"crawlo_scrapy.Addon": 500}),
            "REDIS_URL": redis.url,
            "CRAWLO_SLOTS": json.dumps(slots),
            # What a dead worker held comes back after that; it would be the last of the crawl.
            "CRAWLO_HEARTBEAT_INTERVAL": "0.5",
            "CRAWLO_WORKER_TIMEOUT": "2",
            "TELNETCONSOLE_ENABLED": "False",
            "LOG_LEVEL": "ERROR",
        }
        command = [sys.executable, "-m", "scrapy", "runspider", str(spider)]
        for item in settings.items():
            command += ["-s", "=".join(item)]
        fleet = [subprocess.Popen(command, cwd=ROOT) for _ in range(workers)]
        while any(worker.poll() is None for worker in fleet):
            time.sleep(3)
            if disturb and len(fleet) < workers + 4:
                fleet[len(fleet) - workers].kill()
                fleet.append(subprocess.Popen(command, cwd=ROOT))
        ours.send("over")
        arrivals: dict[str, list[float]] = ours.recv()
    site.join()
    return arrivals


def rows(arrivals: dict[str, list[float]], case: str) -> list[dict[str, Any]]:
    """Return what the access log says of each host."""
    found = []
    for host, (delay, _) in enumerate(HOSTS, 1):
        times = sorted(arrivals[f"127.0.0.{host}"])
        gaps = [later - earlier for earlier, later in pairwise(times)]
        row = {"case": case, "delay": delay, "requests": len(times)}
        if delay:
            row["shortest"] = round(min(gaps), 4)
            row["close"] = sum(gap < delay - 0.02 for gap in gaps)
            row["use"] = round(delay * len(gaps) / (times[-1] - times[0]), 3)
        else:
            row["per_second"] = round(len(gaps) / (times[-1] - times[0]))
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    found = rows(crawl(options.workers, False), "quiet")
    found += rows(crawl(options.workers, True), "a worker dies every 3 s, four times")
    print("| | delay | requests | shortest distance | closer by 20 ms or more | use of the rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in found:
        rest = (
            f"{row['shortest']:.3f} s | {row['close']} | {row['use']:.0%}"
            if row["delay"]
            else f"– | – | {row['per_second']} a second"
        )
        print(f"| {row['case']} | {row['delay']:g} s | {row['requests']} | {rest} |")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
