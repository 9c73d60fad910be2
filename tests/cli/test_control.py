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
        (["set", "shop", "LOG_LEVEL", "--default"], "LOG_LEVEL is what the settings say.", "", ""),
        (["scale", "shop", "--default"], "as its settings say", "", ""),
        (["scale", "shop", "--default", "--node", "w1"], "node w1 has", "", ""),
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
        (["set", "shop", "LOG_LEVEL"], "a VALUE, or --default"),
        (["set", "shop", "LOG_LEVEL", "debug", "--default"], "a VALUE, or --default"),
        (["scale", "shop"], "--concurrency N, or --default"),
        (["delay", "shop", "a.test", "soon"], "SECONDS is 'soon'"),
        (["delay", "shop", "a.test", "nan"], "SECONDS is 'nan'"),
        (["delay", "shop", "a.test", "-1"], "SECONDS is '-1': it must be a number, 0 or more"),
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


def test_node_that_is_not_there(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1")]))
    done = crawlo("drain", "shop", "w2", *some_crawl.words)
    assert done.returncode == 1, "else the next worker of that name would leave at once"
    assert "there is no node 'w2' in" in done.stderr
    assert "it has w1." in done.stderr
    assert do(some_crawl.call("hgetall", some_crawl.keys.control)) == {}
    done = crawlo("pause", "shop", "--node", "w2", *some_crawl.words)
    assert done.returncode == 0
    assert "there is no node 'w2' in" in done.stderr


@pytest.mark.parametrize("slot", ["https://a.test/x", "a.test:8080", "A.test"])
def test_slot_that_is_no_host(crawlo: Command, some_crawl: SomeCrawl, slot: str) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1")]))
    done = crawlo("delay", "shop", slot, "5", *some_crawl.words)
    assert done.returncode == 0
    assert "the slot of the host is a.test." in done.stderr
    assert audit(crawlo, some_crawl) == [f"delay {slot} 5"]
    assert "Note" not in crawlo("delay", "shop", "a.test", "5", *some_crawl.words).stderr


def audit(crawlo: Command, some_crawl: SomeCrawl) -> list[str]:
    notes = json.loads(crawlo("audit", "shop", "--json", *some_crawl.words).stdout)
    assert all("@" in note["who"] and note["time"] for note in notes)
    return [note["what"] for note in notes]


def test_what_becomes_of_the_dead_is_noted(crawlo: Command, some_crawl: SomeCrawl) -> None:
    member = do(some_crawl.add("w1", []))
    letters = [(f"x{n}", ("decode", "failed")[n % 2], f"https://a.test/{n}") for n in range(8)]
    do(some_crawl.bury(member, *letters))
    item = {"json": "{}", "reason": "r", "storage": "s"}
    ids = [do(some_crawl.call("xadd", some_crawl.keys.items_dead, item)).decode() for _ in "abc"]
    for words in (
        ["dead-letters", "requeue", "shop", "x0"],
        ["dead-letters", "purge", "shop", "x2", "x4", "x6", "gone"],
        ["dead-letters", "requeue", "shop", "--reason", "failed", "--since", "2h"],
        ["dead-letters", "purge", "shop", "--all"],
        ["items", "dead", "purge", "shop", ids[0]],
        ["items", "dead", "requeue", "shop", "--all"],
    ):
        crawlo(*words, *some_crawl.words)
    # Nothing was left to purge: the fourth did nothing.
    assert audit(crawlo, some_crawl) == [
        "items dead requeue --all (2)", f"items dead purge {ids[0]} (1)",
        "dead-letters requeue --reason failed --since 7200s (4)",
        "dead-letters purge x2 x4 x6 … (4)", "dead-letters requeue x0 (1)",
    ]  # fmt: skip


def test_dead_items_outlive_the_log(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.call("xadd", some_crawl.keys.items_dead, {"json": "{}", "reason": "r"}))
    done = crawlo("items", "dead", "purge", "shop", "--all", *some_crawl.words)
    assert "Removed 1 dead item" in done.stdout, done.stderr
    assert audit(crawlo, some_crawl) == []


def test_status_shows_what_was_set(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1")]))
    for words in (
        ["set", "shop", "LOG_LEVEL", "debug"],
        ["scale", "shop", "--concurrency", "4", "--node", "w1"],
        ["pause", "shop", "--node", "w1"],
        ["delay", "shop", "a.test", "2.5"],
    ):
        crawlo(*words, *some_crawl.words)
    lines = crawlo("status", "shop", *some_crawl.words).stdout.splitlines()
    shown = [line.split() for line in lines[-4:]]
    assert shown == [
        ["set", "while", "it", "runs", "for", "value"], ["concurrency", "w1", "4"],
        ["pause", "w1", "yes"], ["LOG_LEVEL", "all", "nodes", "debug"],
    ]  # fmt: skip
    told = json.loads(crawlo("status", "shop", "--json", *some_crawl.words).stdout)
    assert told["control"] == {"concurrency:w1": "4", "pause:w1": "1", "set:LOG_LEVEL": "debug"}
    assert "limits" not in told


def test_status_shows_limits_of_hosts(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1"), push("https://b.test/", slot="b.test")]))
    crawlo("delay", "shop", "a.test", "2.5", *some_crawl.words)
    lines = crawlo("status", "shop", "--slots", *some_crawl.words).stdout.splitlines()
    assert [line.split()[:8] for line in lines[-3:]] == [
        ["host", "queued", "leased", "at", "most", "delay", "from", "on"],
        ["a.test", "1", "-", "-", "2.5", "s", "by", "hand"],
        ["b.test", "1", "-", "-", "-", "-", "-"],
    ]
    done = crawlo("status", "shop", "--slot", "b.test", "--json", *some_crawl.words)
    [slot] = json.loads(done.stdout)["limits"]
    assert (slot["slot"], slot["delay"], slot["delay_from"]) == ("b.test", 0, "")
    assert crawlo("status", "--slots", *some_crawl.words).returncode == 2
