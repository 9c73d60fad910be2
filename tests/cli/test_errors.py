"""What a user can get wrong: one line, a status that says so, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crawlo_scrapy.localserver import LocalRedis
from tests.cli.conftest import Command

AWAY = ["--redis-url", "redis://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "Did you mean status?"),
        (["run"], "Missing argument"),
        (["run", "shpo"], "Did you mean shop?"),
        (["run", "shop", "--concurency", "3"], "--concurrency"),
        (["run", "shop", "--concurrency", "0"], "--concurrency"),
        (["run", "shop", "-a", "x"], "NAME=VALUE"),
        (["run", "shop", "--config", "nowhere.py"], "there is no file nowhere.py"),
        (["run", "shop", "--output-format", "csv"], "--output-file"),
        (["status", "shop", *AWAY], "cannot be reached"),
        (["status", "shop", "--redis-url", "redis//x"], "a URL that starts with redis://"),
        (["status", "a:b:c:d", *AWAY], "PROJECT:SPIDER"),
        (["purge", "shop", "--yes", *AWAY], "cannot be reached"),
        (["dead-letters", "list", "shop", *AWAY], "cannot be reached"),
        (["dead-letters", "lits"], "lits"),
        (["demo", *AWAY], "cannot be reached"),
        (["startproject", "a-b"], "cannot be the name"),
        (["startproject", "json"], "already"),
        (["genspider", "shop", "x.test"], "there is a spider 'shop' already"),
    ],
)
def test_one_line(crawlo: Command, words: list[str], said: str) -> None:
    done = crawlo(*words)
    assert done.returncode not in (0, None)
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["run", "shop"], ["list"], ["genspider", "a", "b"], ["status"]])
def test_outside_a_project(crawlo: Command, tmp_path: Path, words: list[str]) -> None:
    done = crawlo(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "not inside a Scrapy project" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_value_that_cannot_be(crawlo: Command) -> None:
    done = crawlo("run", "shop", "-s", "REDIS_PORT=many")
    assert done.returncode == 1
    assert "REDIS_PORT (command line) is 'many'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_password_is_not_shown(crawlo: Command) -> None:
    with LocalRedis(password="right") as server:
        wrong = server.url.replace("right", "wr0ng")
        done = crawlo("status", "shop", "--redis-url", wrong)
        assert done.returncode == 1
        assert "refuses the login" in done.stderr
        assert "wr0ng" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_says_what_to_install_without_click() -> None:
    code = "import sys; sys.modules['click'] = None\nfrom crawlo_scrapy.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'crawlo_scrapy[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1
