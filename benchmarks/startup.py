"""Start-up time of ``scrapy crawl`` on an empty spider: plain Scrapy and with our add-on.

    python -m benchmarks.startup

Measured from the start of the process to the first line of the spider's ``start()``, and
to the end of the process. Runs are interleaved; medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from benchmarks.measure import markdown
from crawlo_scrapy.localserver import LocalRedis

_SPIDER = """
import os, time
import scrapy


class EmptySpider(scrapy.Spider):
    name = "empty"

    async def start(self):
        with open(os.environ["STARTED_FILE"], "w") as file:
            file.write(repr(time.time()))
        return
        yield
"""
_SETTINGS = """
BOT_NAME = "empty"
SPIDER_MODULES = ["empty.spiders"]
LOG_LEVEL = "WARNING"
"""
_ADDON = 'ADDONS = {"crawlo_scrapy.Addon": 500}\n'

VARIANTS = {"Scrapy": _SETTINGS, "with crawlo_scrapy": _SETTINGS + _ADDON}


def write_project(folder: Path, settings: str) -> None:
    """Make *folder* a Scrapy project with one spider that does nothing."""
    spiders = folder / "empty" / "spiders"
    spiders.mkdir(parents=True)
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = empty.settings\n")
    for package in (folder / "empty", spiders):
        (package / "__init__.py").touch()
    (folder / "empty" / "settings.py").write_text(settings)
    (spiders / "empty.py").write_text(_SPIDER)


def run(folder: Path, redis_url: str) -> tuple[float, float]:
    """Return the seconds until ``start()`` and until the process has ended."""
    started_file = folder / "started"
    started_file.unlink(missing_ok=True)
    begun = time.time()
    subprocess.run(
        [sys.executable, "-m", "scrapy", "crawl", "empty", "-s", f"REDIS_URL={redis_url}"],
        cwd=folder,
        env={**os.environ, "STARTED_FILE": str(started_file)},
        check=True,
        timeout=60,
    )
    ended = time.time()
    return float(started_file.read_text()) - begun, ended - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in options.variants}
    with tempfile.TemporaryDirectory() as temporary, LocalRedis() as server:
        folders = {name: Path(temporary) / str(n) for n, name in enumerate(options.variants)}
        for name, folder in folders.items():
            write_project(folder, VARIANTS[name])
            run(folder, server.url)  # compiles what is not compiled yet
        with redis.Redis(port=server.port) as client:
            for _ in range(options.repeat):
                for name, folder in folders.items():
                    client.flushall()  # our own server: each run is a new crawl
                    times[name].append(run(folder, server.url))
    if options.json:
        options.json.write_text(json.dumps(times, indent=1))
    print(table(times))


def table(times: dict[str, list[tuple[float, float]]]) -> str:
    """Return medians in milliseconds, and how far each is from the first row."""
    rows = []
    base: tuple[float, ...] | None = None
    for name, pairs in times.items():
        medians = tuple(1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        base = base or medians
        more = [median - first for median, first in zip(medians, base, strict=True)]
        rows.append([name, *(f"{m:.0f} ({d:+.0f})" for m, d in zip(medians, more, strict=True))])
    return markdown(["", "ms until start() runs", "ms until the process ends"], rows)


if __name__ == "__main__":
    main()
