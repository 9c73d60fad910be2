"""Log files of several processes in one folder."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crawlo_scrapy.extensions.logfile import RotatingLog, claim
from tests.extensions.noisy_spider import LINES, PAGES

ROOT = Path(__file__).parents[2]
WORKERS = 4
#: For machines that others use too, in seconds.
PATIENCE = 120
SETTINGS = """
ADDONS = {{"crawlo_scrapy.Addon": 500}}
SPIDER_MODULES = ["tests.extensions.noisy_spider"]
REDIS_URL = {redis_url!r}
BOT_NAME = {project!r}
LOG_MAX_BYTES = 2000
LOG_BACKUP_COUNT = 1000
LOG_INCLUDE_NODE_ID = True
"""
RECORD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(?P<node>[^]]+)\] \[[\w.]+\] [A-Z]+: ")
NOISE = re.compile(r"page (\d+) line (\d+) x* end$")


@dataclass
class Written:
    """What one worker's log files hold, the oldest first."""

    files: list[Path] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)


def read(folder: Path, parse: Callable[[str], tuple[str, str] | None]) -> dict[str, Written]:
    """Read the files of all workers, by the name of the newest; *parse* is given line by line."""
    found: dict[str, Written] = defaultdict(Written)
    for file in folder.iterdir():
        if not file.name.startswith("."):
            found[re.sub(r"\.log\.\d+$", ".log", file.name)].files.append(file)
    for written in found.values():
        written.files.sort(key=lambda file: -int(file.suffix[1:]) if file.suffix != ".log" else 0)
        for file in written.files:
            text = file.read_text()
            assert text.endswith("\n")
            for record in filter(None, map(parse, text.splitlines())):
                written.nodes.add(record[0])
                written.messages.append(record[1])
    return found


def parse_text(line: str) -> tuple[str, str] | None:
    """Return node and message; None for the further lines of a message."""
    match = RECORD.match(line)
    if match is None:
        assert "page " not in line  # the end of a torn one
        return None
    return match["node"], line[match.end() :]


def parse_json(line: str) -> tuple[str, str]:
    record = json.loads(line)
    return record["node"], record["message"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one name", "{node}"])
def test_four_workers_in_one_folder(tmp_path: Path, redis_url: str, project: str, way: str) -> None:
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = noisy_settings\n")
    (tmp_path / "noisy_settings.py").write_text(
        SETTINGS.format(redis_url=redis_url, project=project)
    )
    if way == "one name":
        words = ["-m", "scrapy", "crawl", "noisy", "-s", "LOG_FILE=logs/crawl.log"]
        parse = parse_text
    else:
        words = ["-c", "from crawlo_scrapy.cli import main; main()", "run", "noisy"]
        words += ["--log-file", "logs/{spider}-{node}.log", "-s", "LOG_JSON=1"]
        parse = parse_json
    workers = [
        subprocess.Popen(
            [sys.executable, *words, "-a", f"workers={WORKERS}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        )
        for _ in range(WORKERS)
    ]
    try:
        assert [worker.wait(PATIENCE) for worker in workers] == [0] * WORKERS
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    found = read(tmp_path / "logs", parse)
    lines: Counter[tuple[str, str]] = Counter()
    for written in found.values():
        assert len(written.nodes) == 1
        assert len(written.files) >= 3
        assert "Scrapy" in written.messages[0] and "started" in written.messages[0]
        for message in written.messages:
            if message.startswith("page "):
                match = NOISE.match(message)
                assert match
                lines[match[1], match[2]] += 1
    assert len(lines) == PAGES * LINES
    assert set(lines.values()) == {1}

    nodes = {next(iter(written.nodes)) for written in found.values()}
    pids = {str(worker.pid) for worker in workers}
    assert {node.rsplit("-", 2)[1] for node in nodes} == pids
    if way == "one name":
        first = next(iter(found.pop("crawl.log").nodes))
        assert set(found) == {f"crawl-{node}.log" for node in nodes - {first}}
        for written in found.values():
            assert any("is another worker's log" in m for m in written.messages)
    else:
        assert set(found) == {f"noisy-{node}.log" for node in nodes}


HOLD = """
import sys
from crawlo_scrapy.extensions.logfile import claim
print(claim(*sys.argv[1:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[Callable[[Path, str], tuple[str, subprocess.Popen[str]]]]:
    """Starts processes that claim a log file and live; says which name they got."""
    started = []

    def hold(path: Path, node: str) -> tuple[str, subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), node],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        started.append(process)
        assert process.stdout is not None
        return Path(process.stdout.readline().strip()).name, process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_name_is_one_processs_until_it_dies(tmp_path: Path, holder) -> None:
    path = tmp_path / "x.log"
    name, first = holder(path, "a")
    assert name == "x.log"
    assert holder(path, "b/c")[0] == "x-b_c.log"
    assert holder(path, "b/c")[0] == "x-b_c~2.log"
    first.kill()
    first.wait()
    assert claim(str(path), "d") == str(path)
    assert claim(str(path), "d") == str(path)
    assert holder(path, "e")[0] == "x-e.log"


def test_where_nothing_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert claim(str(tmp_path / "x.log"), "a") == str(tmp_path / "x-a.log")


def test_fresh_means_once(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old")
    assert claim(str(path), "a", fresh=True) == str(path)
    assert path.read_text() == ""
    path.write_text("new")
    assert claim(str(path), "a", fresh=True) == str(path)
    assert path.read_text() == "new"


def test_forked_child_does_not_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    assert claim(str(path), "a") == str(path)
    handler = RotatingLog(path, maxBytes=10, backupCount=3)
    handler.stream.write("x" * 20)
    record = logging.makeLogRecord({"msg": "a line"})
    assert handler.shouldRollover(record)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not handler.shouldRollover(record)
    # Nor does it have its parent's claim.
    assert claim(str(path), "child") == str(tmp_path / "x-child.log")
    handler.close()
