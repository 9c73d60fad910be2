"""A stats-heavy crawl: Scrapy's collector in memory, scrapy-redis's, and crawlo_scrapy's.

    python -m benchmarks.stats

The scheduler is Scrapy's for all, the pages are `data:` URLs, and the callback counts: what
differs is the collector. Each crawl is a fresh process against a fresh Redis; repetitions are
interleaved. Prints a Markdown table; ``--json FILE`` keeps every single figure.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import ScrapyDeprecationWarning

from benchmarks.measure import ROOT, RedisMeter, markdown, redis_at_distance
from benchmarks.worker import COMMON, Clock
from crawlo_scrapy.localserver import LocalRedis

COLLECTORS = {
    "MemoryStatsCollector": "scrapy.statscollectors.MemoryStatsCollector",
    "scrapy-redis": "scrapy_redis.stats.RedisStatsCollector",
    "crawlo_scrapy": "crawlo_scrapy.statscollector.RedisStatsCollector",
}
#: A crawl that takes longer than this has hung, in seconds.
CRAWL_TIMEOUT = 1800


class CountingSpider(scrapy.Spider):
    """Counts `calls` times a page, under 100 names."""

    name = "counting"

    async def start(self):
        for number in range(int(self.pages)):
            yield scrapy.Request(f"data:,{number}", dont_filter=True)

    def parse(self, response):
        inc_value = self.crawler.stats.inc_value
        for number in range(int(self.calls)):
            inc_value(f"benchmark/{number % 100}")


def work(collector: str, redis_url: str, pages: int, calls: int) -> None:
    """Crawl in this process and print what was measured as JSON."""
    # scrapy-redis 0.9.1 calls Scrapy as it was two years ago.
    warnings.filterwarnings("ignore", category=ScrapyDeprecationWarning)
    settings = {
        **COMMON,
        "CONCURRENT_ITEMS": 8,
        "STATS_CLASS": COLLECTORS[collector],
        "REDIS_URL": redis_url,
        # scrapy-redis's collector cannot read back a time, and clears what it has at the end.
        "LOGSTATS_INTERVAL": 0,
        "SCHEDULER_PERSIST": True,
    }
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(CountingSpider)
    clock = Clock(crawler)
    process.crawl(crawler, pages=pages, calls=calls)
    before = time.process_time()
    process.start()
    result = {
        "seconds": clock.last_page - clock.opened,
        "cpu_seconds": time.process_time() - before,
        "counted": int(crawler.stats.get_value("benchmark/0") or 0) if crawler.stats else 0,
    }
    json.dump(result, sys.stdout)


def measure(collector: str, distance: float, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one crawl with a Redis of its own, *distance* ms away."""
    with (
        LocalRedis() as server,
        redis_at_distance(server.port, distance) as port,
        redis.Redis(port=server.port) as client,
    ):
        meter = RedisMeter(client)
        command = [sys.executable, "-m", "benchmarks.stats", "--work", collector]
        command += ["--redis", f"redis://127.0.0.1:{port}/0"]
        command += ["--pages", str(options.pages), "--calls", str(options.calls)]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, timeout=CRAWL_TIMEOUT, check=True
        )
        row: dict[str, Any] = json.loads(done.stdout)
        work_done = asdict(meter.read())
    expected = options.pages * -(-options.calls // 100)
    if row["counted"] != expected:
        raise SystemExit(f"{collector} counted {row['counted']} instead of {expected}")
    return {"collector": collector, "round_trip_ms": distance, **row, "redis": work_done}


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Return medians as a Markdown table."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["collector"], row["round_trip_ms"]), []).append(row)
    memory = _rates(groups[next(iter(groups))], options)
    lines = []
    for (collector, distance), group in groups.items():
        speed, cpu = _rates(group, options)
        commands = statistics.median(row["redis"]["commands"] for row in group) / options.pages
        where = f"{distance:g} ms" if distance else "loopback"
        uses_redis = collector != "MemoryStatsCollector"
        lines.append(
            [
                collector, where if uses_redis else "–", f"{speed:,.0f}",
                f"{speed / memory[0]:.2f}", f"{cpu:,.0f}", f"{cpu / memory[1]:.2f}",
                f"{commands:.2f}" if uses_redis else "–",
            ]
        )  # fmt: skip
    head = ["collector", "Redis at", "pages/s", "× memory", "CPU µs a page", "× memory",
            "Redis commands a page"]  # fmt: skip
    return markdown(head, lines)


def _rates(group: list[dict[str, Any]], options: argparse.Namespace) -> tuple[float, float]:
    """Pages a second, and the worker's microseconds of CPU a page."""
    seconds = statistics.median(row["seconds"] for row in group)
    cpu = statistics.median(row["cpu_seconds"] for row in group)
    return options.pages / seconds, cpu * 1e6 / options.pages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=3000)
    parser.add_argument("--calls", type=int, default=100, help="counts of the callback a page")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--collectors", nargs="+", choices=COLLECTORS, default=list(COLLECTORS))
    parser.add_argument(
        "--round-trips", nargs="+", type=float, default=[0], metavar="MS",
        help="distances of Redis in milliseconds; 0 is loopback",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--work", choices=COLLECTORS, help=argparse.SUPPRESS)
    parser.add_argument("--redis", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.redis, options.pages, options.calls)
        return
    rows = [
        measure(collector, distance, options)
        for _ in range(options.repeat)
        for distance in options.round_trips
        for collector in options.collectors
    ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows, options))


if __name__ == "__main__":
    main()
