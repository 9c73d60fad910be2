"""What Redis did during a crawl, and small tools that the benchmarks share."""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.delayproxy import DelayProxy

ROOT = Path(__file__).parent.parent

#: Commands whose own time holds that of the commands that they call.
SCRIPTS = {"eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"}


@dataclass
class RedisWork:
    """What one crawl cost Redis. `round_trips` are reads from client sockets: a pipeline that
    arrives in one piece is one. Bytes are those of the sockets."""

    commands: int
    commands_in_scripts: bool
    command_us: float
    cpu_us: float
    round_trips: int
    bytes_in: int
    bytes_out: int


class RedisMeter:
    """Reads Redis's own counters. Make one before the crawl, call `read` after it."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        client.config_resetstat()
        self._cpu = self._read_cpu()
        self._reads = self._read_stats()["total_reads_processed"]

    def _read_cpu(self) -> float:
        info: dict[str, Any] = self.client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def _read_stats(self) -> dict[str, int]:
        stats: dict[str, int] = self.client.info("stats")
        return stats

    def read(self) -> RedisWork:
        """Return what happened since this meter was made, without the meter's own commands."""
        traffic = self._read_stats()
        cpu = self._read_cpu() - self._cpu
        stats: dict[str, Any] = self.client.info("commandstats")
        rows = {
            name.removeprefix("cmdstat_"): row
            for name, row in stats.items()
            # EXEC's time is that of the commands in the transaction, which stand here as well.
            if not name.startswith(("cmdstat_info", "cmdstat_config", "cmdstat_exec"))
        }
        scripts = {name for name in rows if name in SCRIPTS}
        # A command inside a script is counted twice, by itself and in the script's time.
        # Beside its scripts a crawl sends next to nothing, so the scripts' time is the whole.
        timed = scripts or rows
        return RedisWork(
            commands=sum(row["calls"] for name, row in rows.items() if name not in scripts),
            commands_in_scripts=bool(scripts),
            command_us=float(sum(rows[name]["usec"] for name in timed)),
            cpu_us=cpu * 1e6,
            round_trips=traffic["total_reads_processed"] - self._reads - 1,
            bytes_in=traffic["total_net_input_bytes"],
            bytes_out=traffic["total_net_output_bytes"],
        )


@contextlib.contextmanager
def running_site(pages: int) -> Iterator[str]:
    """Serve the benchmark site from a process of its own; yields the first page's URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.site", "--pages", str(pages)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip()
        if not re.match(r"http://", url):
            raise RuntimeError(f"the site did not start: {url!r}")
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def ping_ms(port: int, count: int = 50) -> float:
    """Return the median round trip of a PING to the Redis on *port*, in milliseconds."""
    times = []
    with contextlib.closing(redis.Redis(port=port)) as client:
        client.ping()
        for _ in range(count):
            begun = time.perf_counter()
            client.ping()
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


@contextlib.contextmanager
def redis_at_distance(port: int, round_trip_ms: float) -> Iterator[int]:
    """Yield a port at which the Redis on *port* is *round_trip_ms* away; 0: the port itself.

    What the proxy itself takes is measured, and the delay shortened by it.
    """
    if not round_trip_ms:
        yield port
        return
    with DelayProxy(port, delay=round_trip_ms / 2000) as proxy:
        for _ in range(3):
            excess = ping_ms(proxy.port) - round_trip_ms
            proxy.delay = max(0.0, proxy.delay - excess / 2000)
        yield proxy.port


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
