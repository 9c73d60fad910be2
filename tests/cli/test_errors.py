"""What a user can get wrong: one line, a status that says so, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crawlo_scrapy.cli.startproject import write_project
from crawlo_scrapy.localserver import LocalRedis
from tests.cli.conftest import Command

AWAY = ["--redis-url", "redis://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "or status?"),
        (["run"], "Missing argument"),
        (["run", "shpo"], "Did you mean shop?"),
        (["run", "shop", "--concurency", "3"], "--concurrency"),
        (["run", "shop", "--concurrency", "0"], "--concurrency"),
        (["run", "shop", "-a", "x"], "NAME=VALUE"),
        (["run", "shop", "--config", "nowhere.py"], "there is no file nowhere.py"),
        (["run", "shop", "--output-format", "csv"], "--output-file"),
        (["run", "shop", "--log-file", "{host}.log"], "known are {node}, {project} and {spider}"),
        (["run", "shop", "--log-file", "/dev/null/x.log"], "cannot write to /dev/null/x.log"),
        (["run", "shop", "-o", "items.what"], "say --output-format"),
        (["run", "shop", "-o", "x", "--output-format", "what"], "is none of json, jsonlines"),
        (["run", "shop", "-o", "/dev/null/items.csv"], "cannot write to /dev/null/items.csv"),
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
        (["genspider", "-t", "nothing", "x", "x.test"], "Unable to find template: nothing"),
    ],
)
def test_one_line(crawlo: Command, words: list[str], said: str) -> None:
    done = crawlo(*words)
    assert done.returncode not in (0, None)
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["dead-letters"]])
def test_a_group_without_a_command_shows_its_help(crawlo: Command, words: list[str]) -> None:
    done = crawlo(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: crawlo-scrapy")


def test_strict_mode_is_one_message(crawlo: Command) -> None:
    done = crawlo("run", "shop", "-s", "CONCURENCY=3", CRAWLO_STRICT="1")
    assert done.returncode == 1
    assert "CONCURENCY (command line): did you mean CONCURRENCY?" in done.stderr
    assert done.stderr.startswith("Error: CRAWLO_STRICT is on") and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["run", "shop"], ["list"], ["genspider", "a", "b"], ["status"]])
def test_outside_a_project(crawlo: Command, tmp_path: Path, words: list[str]) -> None:
    done = crawlo(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "not inside a Scrapy project" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("file", ["settings.py", "spiders/bad.py"])
@pytest.mark.parametrize(
    ("code", "said"),
    [("x = = 1", "line 1: SyntaxError"), ("import re\nre.compile('(')", "line 2: ")],
)
@pytest.mark.parametrize("words", [["list"], ["run", "all"], ["check"], ["status"]])
def test_code_of_the_project_that_is_broken(
    crawlo: Command, tmp_path: Path, file: str, code: str, said: str, words: list[str]
) -> None:
    write_project(tmp_path / "broken_1", "broken_1", "minimal")
    path = tmp_path / "broken_1/broken_1" / file
    path.write_text(code)
    done = crawlo(*words, cwd=tmp_path / "broken_1", CRAWLO_REDIS_PORT="1")
    if (words, file) == (["status"], "spiders/bad.py"):
        return  # it needs no spider
    assert done.returncode == 1
    assert f"{path}, {said}" in done.stderr
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
