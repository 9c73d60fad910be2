"""pause, resume, stop, drain, scale, delay, set, audit."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Command, SomeCrawl, do, push


@pytest.mark.parametrize(
    ("words", "said", "field", "value"),
    [
        (["pause", "shop"], "paused.", "", ""),
        (["pause", "shop", "--node", "w1"], "node w1 pauses.", "pause:w1", "1"),
        (["resume", "shop"], "goes on.", "", ""),
        (["stop", "shop"], "all workers are told to leave.", "stop", "through"),
        (["stop", "shop", "--now"], "all workers are told to leave.", "stop", "now"),
        (["drain", "shop", "w1"], "node w1 is told to leave.", "drain:w1", "1"),
        (["scale", "shop", "--concurrency", "4"], "each worker has 4", "concurrency", "4"),
        (["scale", "shop", "--concurrency", "4", "--node", "w1"], "w1 has", "concurrency:w1", "4"),
        (["set", "shop", "LOG_LEVEL", "debug"], "LOG_LEVEL is debug.", "set:LOG_LEVEL", "debug"),
        (["delay", "shop", "a.test", "2.5"], "delay of a.test is 2.5 s.", "", ""),
        (["delay", "shop", "a.test", "default"], "delay of a.test is default.", "", ""),
    ],
)
def test_commands(
    crawlo: Command, some_crawl: SomeCrawl, words: list[str], said: str, field: str, value: str
) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1")]))
    done = crawlo(*words, *some_crawl.words)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    if field:
        control = do(some_crawl.call("hgetall", some_crawl.keys.control))
        assert control[field.encode()] == value.encode()
    [note] = json.loads(crawlo("audit", "shop", "--json", *some_crawl.words).stdout)
    assert note["what"] == " ".join(word for word in words if word != "shop")
    assert "@" in note["who"]
    assert note["what"] in crawlo("audit", "shop", *some_crawl.words).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "shop", "LOG_LEVLE", "x"], "Did you mean LOG_LEVEL?"),
        (["set", "shop", "LOG_LEVEL", "loud"], "must be CRITICAL, ERROR"),
        (["delay", "shop", "a.test", "soon"], "SECONDS is 'soon'"),
        (["delay", "shop", "a.test", "nan"], "SECONDS is 'nan'"),
        (["scale", "shop", "--concurrency", "0"], "--concurrency"),
    ],
)
def test_mistakes(crawlo: Command, some_crawl: SomeCrawl, words: list[str], said: str) -> None:
    done = crawlo(*words, *some_crawl.words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_crawl_that_is_not_there(crawlo: Command, some_crawl: SomeCrawl) -> None:
    done = crawlo("pause", "shop", *some_crawl.words)
    assert done.returncode == 1
    assert "there is no such crawl" in done.stderr
