"""Throughput of one worker: Scrapy's memory scheduler, scrapy-redis, crawlo_scrapy.

    python -m benchmarks.crawl

Each crawl is a fresh process against a fresh Redis; repetitions are interleaved, so that
what else the machine does hits all alike. Prints a Markdown table; ``--json FILE`` keeps
every single figure.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import (
    ROOT,
    RedisMeter,
    markdown,
    ping_ms,
    redis_at_distance,
    running_site,
)
from benchmarks.worker import VARIANTS
from crawlo_scrapy.localserver import LocalRedis

#: A crawl that takes longer than this has hung, in seconds.
CRAWL_TIMEOUT = 1800
#: scrapy-redis is not measured farther than this from its Redis unless ``--all`` is given: at
#: 10 ms one crawl of 5,000 pages takes ten minutes. In milliseconds of round trip.
PATIENCE_MS = 5


def crawl(
    variant: str, site_url: str, options: argparse.Namespace, redis_url: str
) -> dict[str, Any]:
    """Run one crawl in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "benchmarks.worker", variant, site_url]
    command += ["--redis", redis_url, "--concurrent-items", str(options.concurrent_items)]
    for pair in options.set:
        command += ["--set", pair]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, timeout=CRAWL_TIMEOUT, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["pages"] != options.pages:
        raise SystemExit(f"{variant} fetched {result['pages']} pages instead of {options.pages}")
    return result


def measure(
    variant: str, site_url: str, round_trip_ms: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the figures of one crawl with a Redis of its own at that distance."""
    row: dict[str, Any] = {"variant": variant, "round_trip_ms": round_trip_ms}
    if variant == "memory":
        row |= crawl(variant, site_url, options, "")
        return row
    with LocalRedis() as server, redis_at_distance(server.port, round_trip_ms) as port:
        row["ping_ms"] = ping_ms(port)
        with redis.Redis(port=server.port) as client:
            meter = RedisMeter(client)
            row |= crawl(variant, site_url, options, f"redis://127.0.0.1:{port}/0")
            row |= {"redis": asdict(meter.read())}
    return row


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every combination, once a repetition, and return one row a crawl."""
    plan = [
        (variant, distance)
        for distance in options.round_trips
        for variant in options.variants
        if belongs_in_plan(variant, distance, options)
    ]
    rows = []
    with running_site(options.pages) as site_url:
        for repetition in range(options.repeat):
            for variant, distance in plan:
                row = measure(variant, site_url, distance, options)
                row |= {"repetition": repetition, "pages_per_s": rate(row)}
                rows.append(row)
                print(
                    f"{repetition + 1}/{options.repeat} {variant} at {distance:g} ms: "
                    f"{row['pages_per_s']:.0f} pages/s",
                    file=sys.stderr,
                )
    return rows


def belongs_in_plan(variant: str, distance: float, options: argparse.Namespace) -> bool:
    """Tell whether a crawl would teach anything, in a time that one is ready to wait."""
    if variant == "memory":  # has no Redis to be far from
        return bool(distance == options.round_trips[0])
    if variant == "scrapy-redis" and distance > PATIENCE_MS:
        return bool(options.all)
    return True


def rate(row: dict[str, Any]) -> float:
    """Pages a second from the opening of the spider to the last page."""
    return float(row["pages"] / row["crawl_seconds"])


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians over the repetitions, one row for each scheduler and distance."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["variant"], row["round_trip_ms"]), []).append(row)
    summary = []
    for (variant, distance), group in groups.items():
        pages = group[0]["pages"]
        line: dict[str, Any] = {
            "variant": variant,
            "round_trip_ms": distance,
            "pages_per_s": statistics.median(row["pages_per_s"] for row in group),
            "slowest": min(row["pages_per_s"] for row in group),
            "fastest": max(row["pages_per_s"] for row in group),
            "closing_s": statistics.median(row["closing_seconds"] for row in group),
        }
        if "redis" in group[0]:
            line["ping_ms"] = statistics.median(row["ping_ms"] for row in group)
            for name in ("commands", "command_us", "cpu_us", "round_trips"):
                line[name] = statistics.median(row["redis"][name] for row in group) / pages
            line["commands_in_scripts"] = group[0]["redis"]["commands_in_scripts"]
        if group[0]["exchanges"] is not None:
            line["exchanges"] = statistics.median(row["exchanges"] for row in group) / pages
        summary.append(line)
    add_ratios(summary)
    return summary


def add_ratios(summary: list[dict[str, Any]]) -> None:
    """Add each line's speed relative to memory, and to scrapy-redis at the same distance."""
    speeds = {(line["variant"], line["round_trip_ms"]): line["pages_per_s"] for line in summary}
    memory = next((speed for (name, _), speed in speeds.items() if name == "memory"), None)
    for line in summary:
        peer = speeds.get(("scrapy-redis", line["round_trip_ms"]))
        if memory:
            line["of_memory"] = line["pages_per_s"] / memory
        if peer and line["variant"] != "memory":
            line["of_scrapy_redis"] = line["pages_per_s"] / peer


def table(summary: list[dict[str, Any]]) -> str:
    """Return the summary as a Markdown table."""
    columns = [
        ("pages/s", "pages_per_s", "{:.0f}"),
        ("× memory", "of_memory", "{:.2f}"),
        ("× scrapy-redis", "of_scrapy_redis", "{:.2f}"),
        ("round trips a page", "round_trips", "{:.3f}"),
        ("commands a page", "commands", "{:.1f}"),
        ("command µs a page", "command_us", "{:.1f}"),
        ("Redis CPU µs a page", "cpu_us", "{:.0f}"),
        ("closing s", "closing_s", "{:.2f}"),
    ]
    rows = []
    for line in summary:
        distance = f"{line['round_trip_ms']:g} ms" if line["round_trip_ms"] else "loopback"
        where = "–" if line["variant"] == "memory" else distance
        cells = [form.format(line[key]) if key in line else "–" for _, key, form in columns]
        rows.append([line["variant"], where, *cells])
    return markdown(["scheduler", "Redis at", *(title for title, _, _ in columns)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        "--round-trips", nargs="+", type=float, default=[0, 1.5, 10], metavar="MS",
        help="distances of Redis in milliseconds; 0 is loopback",
    )  # fmt: skip
    parser.add_argument("--concurrent-items", type=int, default=100, help="CONCURRENT_ITEMS")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for all"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"scrapy-redis beyond {PATIENCE_MS} ms, too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    # Let a SIGTERM unwind as Ctrl-C does, so that no crawl, site or Redis is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rows = run(options)
    summary = summarise(rows)
    if options.json:
        options.json.write_text(json.dumps({"summary": summary, "crawls": rows}, indent=1))
    print(table(summary))


if __name__ == "__main__":
    main()
