"""A run of scrapy-redis's tests, in a process and on a Redis of its own: they empty it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from crawlo_scrapy.localserver import LocalRedis
from tests.scrapy_redis_suite.plugin import REPORT
from tests.servers import default_redis

HERE = Path(__file__).parent
UPSTREAM = HERE / "upstream"


class Result(NamedTuple):
    """Outcomes of one test, with all its parameters, and the lines that failed."""

    outcomes: set[str]
    lines: set[str]


def run_suite(folder: Path, *plugins: str) -> dict[str, Result]:
    """Return what became of each test of scrapy-redis."""
    report = folder / "report.json"
    command = [
        sys.executable, "-m", "pytest", "tests", "-c", UPSTREAM / "pytest.ini",
        "--confcutdir", UPSTREAM, "--reactor=asyncio", "-p", "no:asyncio", "-p", "no:cacheprovider",
        "-p", "tests.scrapy_redis_suite.plugin",
    ]  # fmt: skip
    for plugin in plugins:
        command += ["-p", plugin]
    with LocalRedis(binary=default_redis()) as server:
        place = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port), REPORT: str(report)}
        environment = {**os.environ, **place, "PYTHONPATH": str(HERE.parents[1])}
        done = subprocess.run(
            command, cwd=UPSTREAM, env=environment, capture_output=True, text=True, timeout=300
        )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, Result] = defaultdict(lambda: Result(set(), set()))
    for entry in json.loads(report.read_text("utf-8")):
        found[entry["test"]].outcomes.add(entry["outcome"])
        found[entry["test"]].lines.add(entry["line"])
    return dict(found)
