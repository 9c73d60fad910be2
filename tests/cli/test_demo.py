"""The demo, as a whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from tests.cli.conftest import Command
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_loses_a_worker_and_no_page(crawlo: Command, redis_url: str, tmp_path: Path) -> None:
    client = redis.Redis.from_url(redis_url)
    before = set(client.keys())
    done = crawlo("demo", "--redis-url", redis_url, "--items", "items", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in done.stdout
    for words in (r"expected +2,000", r"crawled +2,000", r"lost +0\b", r"taken up +after"):
        assert re.search(words, done.stdout), words
    assert os.listdir(tmp_path) == ["items"]
    assert set(client.keys()) == before
    client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-c", "from crawlo_scrapy.cli import main; main()", "demo"]
    with subprocess.Popen(
        [*words, "--items", "items"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL
    ) as demo:
        items = tmp_path / "items"
        wait_until(lambda: items.is_dir() and any(items.iterdir()), "first item")
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        assert demo.wait(60) == 130
    assert len(started) > 5
    assert not [process for process in started if process.is_running()]
    assert os.listdir(tmp_path / "tmp") == []
