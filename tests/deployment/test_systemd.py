"""The systemd unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from crawlo_scrapy.exchange import CLOSE_TIMEOUT


@pytest.fixture
def unit(deployed: Path) -> Path:
    return deployed / "systemd/My_shop-worker@.service"


@pytest.fixture
def service(unit: Path) -> dict[str, str]:
    parser = RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(unit)
    return dict(parser["Service"])


def test_systemd_takes_it(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt install systemd")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_runs_the_part_before_the_colon(service: dict[str, str]) -> None:
    [line] = re.findall(r"^/bin/sh -c '(.*)'$", service["ExecStart"])
    # As systemd reads it.
    script = line.replace("%i", "ex:2").replace("%%", "%").replace("$$", "$")
    script = script.replace("exec /opt/My_shop/venv/bin/crawlo-scrapy", "echo")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "run ex --config worker_settings.py\n"


def test_a_worker_gets_sigterm_and_time(service: dict[str, str]) -> None:
    assert service["KillSignal"] == "SIGTERM"
    # sh has become the worker: the main process gets the signal, and no other.
    assert service["KillMode"] == "mixed" and "; exec " in service["ExecStart"]
    assert int(service["TimeoutStopSec"]) >= 30 + CLOSE_TIMEOUT + 10
    # A finished crawl is left alone, a crash is not.
    assert service["Restart"] == "on-failure"
