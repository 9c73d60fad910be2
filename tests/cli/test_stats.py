"""stats, nodes, top."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import Any

import pytest

from crawlo_scrapy.cli.top import curve
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.stats import NEWEST, SUM, ErrorLine, Sample
from crawlo_scrapy.store.statswriter import Origin, Retention, StatsWriter
from crawlo_scrapy.values import Codec
from tests.cli.conftest import EXAMPLE, TIMEOUT, Command, SomeCrawl, do, push

PAGES, ERRORS = "response_received_count", "log_count/ERROR"
NOON = datetime(2026, 2, 1, 12, tzinfo=timezone.utc)


async def write(
    crawl: SomeCrawl, member: Membership, pages: int, *, closing: bool = False, **more: Any
) -> None:
    """Let a node write what it has counted."""
    async with crawl.client() as client:
        writer = StatsWriter(client, crawl.keys, Codec(), Retention(interval=0.001))
        origin = Origin(f"{member.worker_id}+1", member.worker_id, member.run, member.created)
        values = {PAGES: (SUM, pages), "crawlo/memory": (NEWEST, 50 * 2**20), **more}
        encoded = {key: writer.encode(*value) for key, value in values.items()}
        lines = [ErrorLine(NOON.timestamp(), member.worker_id, "log", "ERROR", "it broke")]
        await writer.write(origin, encoded, lines=lines, closing=closing)


@pytest.fixture
def counted(some_crawl: SomeCrawl) -> SomeCrawl:
    """A crawl with one worker at work, and one that has left."""
    pushes = [push(f"https://a.test/{n}", number=n, priority=n) for n in range(3)]
    w1, w2 = do(some_crawl.add("w1", pushes, lease=1)), do(some_crawl.add("w2", []))
    do(write(some_crawl, w1, 1000, finish_time=(NEWEST, NOON)))
    do(write(some_crawl, w2, 500, finish_reason=(NEWEST, "shutdown"), closing=True))
    do(some_crawl.leave(w2))
    return some_crawl


def test_stats(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("stats", *counted.words)  # the only spider of the project
    assert done.returncode == 0, done.stderr
    assert f"Crawl {counted.keys.name}, run 1, begun " in done.stdout
    assert "2 nodes" in done.stdout
    assert any(line.split() == [PAGES, "1,500"] for line in done.stdout.splitlines())


def test_stats_by_node(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("stats", "shop", "--nodes", *counted.words)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["all", "w1+1", "w2+1"] in lines
    assert [PAGES, "1,500", "1,000", "500"] in lines
    done = crawlo("stats", "shop", "--node", "w2", *counted.words)
    assert [PAGES, "500"] in [line.split() for line in done.stdout.splitlines()]
    done = crawlo("stats", "shop", "--node", "w3", *counted.words)
    assert (done.returncode, done.stderr) == (
        1,
        "Error: no node of run 1 has an id that begins so: w3\n",
    )


def test_stats_as_json(crawlo: Command, counted: SomeCrawl) -> None:
    found = json.loads(crawlo("stats", "shop", "--json", "--nodes", *counted.words).stdout)
    assert (found["crawl"], found["run"]) == (counted.keys.name, 1)
    assert found["stats"][PAGES] == 1500
    assert found["stats"]["finish_time"] == "2026-02-01 12:00:00+00:00"
    assert found["nodes"]["w2+1"]["left"] is True
    assert found["nodes"]["w2+1"]["stats"][PAGES] == 500


def test_history(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("stats", "shop", "--history", *counted.words)
    row = done.stdout.splitlines()[1].split()
    assert row[0] == "1"
    assert row[3:] == ["2026-02-01", "12:00:00", "shutdown", "2", "1,500", "0", "0"]
    [run] = json.loads(crawlo("stats", "shop", "--history", "--json", *counted.words).stdout)
    assert (run["number"], run["stats"][PAGES]) == (1, 1500)


def test_a_run_that_is_not_there(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("stats", "shop", "--run", "7", *counted.words)
    assert done.stderr == "Error: there are no stats of run 7; there are of: 1.\n"


def test_a_crawl_without_stats(crawlo: Command, some_crawl: SomeCrawl) -> None:
    done = crawlo("stats", "shop", *some_crawl.words)
    assert (done.returncode, "there are no stats of" in done.stderr) == (1, True)
    done = crawlo("stats", "shop", "--history", *some_crawl.words)
    assert done.stdout.startswith("There are no stats of")
    assert crawlo("nodes", "shop", *some_crawl.words).stdout.startswith("No nodes in")
    assert crawlo("top", "shop", "--once", *some_crawl.words).stdout.startswith("There is no crawl")


def test_options_that_do_not_go_together(crawlo: Command, some_crawl: SomeCrawl) -> None:
    done = crawlo("stats", "shop", "--history", "--follow", *some_crawl.words)
    assert done.returncode == 2


def test_follow(counted: SomeCrawl) -> None:
    code = "from crawlo_scrapy.cli import main; main()"
    words = ["stats", "shop", "--follow", "--json", "--interval", "0.1", *counted.words]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=EXAMPLE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.terminate()
    assert [look["stats"][PAGES] for look in looks] == [1500, 1500]


def test_nodes(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("nodes", "shop", *counted.words)
    [_, row] = [line.split() for line in done.stdout.splitlines()]
    assert row[:4] == ["w1", "h", "7", "auto"]
    assert "1,000" in row
    assert "50" in row
    nodes = json.loads(crawlo("nodes", "shop", "--all", "--json", *counted.words).stdout)
    assert [(node["worker_id"], node["state"], node["pages"]) for node in nodes] == [
        ("w1", "running", 1000),
        ("w2", "left", 500),
    ]


def test_top_once(crawlo: Command, counted: SomeCrawl) -> None:
    done = crawlo("top", "shop", "--once", *counted.words)
    assert done.returncode == 0, done.stderr
    assert f"Crawl {counted.keys.name}: running, run 1" in done.stdout
    for words in ("1,500", "a.test", "w1", "it broke", "priority"):
        assert words in done.stdout
    assert "w2 " not in done.stdout.split("Latest errors")[0]


def test_top_in_a_terminal_until_q(counted: SomeCrawl) -> None:
    ours, theirs = pty.openpty()
    code = "from crawlo_scrapy.cli import main; main()"
    words = ["top", "shop", "--interval", "0.1", *counted.words]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=EXAMPLE,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + TIMEOUT
    try:
        while seen.count(b"1,500") < 3:
            assert select.select([ours], [], [], deadline - time.monotonic())[0], seen
            seen += os.read(ours, 65536)
        os.write(ours, b"q")
        while process.poll() is None:
            assert time.monotonic() < deadline
            if select.select([ours], [], [], 0.1)[0]:
                _drain(ours)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _drain(terminal: int) -> None:
    try:
        os.read(terminal, 65536)
    except OSError:  # Linux says so when nobody holds the other end any more
        time.sleep(0.05)


def test_curve() -> None:
    samples = [Sample(time=t, pages=p) for t, p in [(0, 0), (1, 10), (2, 10), (3, 15), (3, 15)]]
    assert curve(samples, "pages") == "█▁▅"
    assert curve(samples[:1], "pages") == ""
    assert curve(samples, "items") == "▁▁▁"
