"""status, dead-letters, purge."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.cli.conftest import Command, SomeCrawl, do, push


def test_status_of_a_crawl(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1"), push("https://a.test/2")], lease=1))
    done = crawlo("status", "shop", *some_crawl.words)
    assert done.returncode == 0, done.stderr
    assert f"Crawl {some_crawl.keys.name}: running, run 1" in done.stdout
    for words in ("0 started of 1 leased", "a.test", "w1", "nobody has begun"):
        assert words in done.stdout


def test_status_as_json(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", [push("https://a.test/1", priority=5)]))
    done = crawlo("status", some_crawl.keys.name, "--redis-url", some_crawl.url, "--json")
    state = json.loads(done.stdout)
    assert state["by_priority"] == [{"priority": 5, "queued": 1}]
    assert state["by_slot"] == [{"slot": "a.test", "queued": 1}]
    assert state["workers"][0]["alive"] is True


def test_status_of_all_crawls(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", []))
    assert some_crawl.keys.name in crawlo("status", "--redis-url", some_crawl.url).stdout
    done = crawlo("status", "--all", "--json", CRAWLO_REDIS_URL=some_crawl.url)
    assert some_crawl.keys.name in {state["name"] for state in json.loads(done.stdout)}


def test_status_of_no_crawl(crawlo: Command, some_crawl: SomeCrawl) -> None:
    done = crawlo("status", "shop", *some_crawl.words)
    assert done.returncode == 1
    assert "There is no crawl" in done.stdout


def test_dead_letters_are_listed_by_reason(crawlo: Command, some_crawl: SomeCrawl) -> None:
    member = do(some_crawl.add("w1", []))
    letters = [("x1", "decode", "https://a.test/1"), ("x2", "callback", "https://a.test/2")]
    do(some_crawl.bury(member, *letters))
    done = crawlo("dead-letters", "list", "shop", *some_crawl.words)
    assert "https://a.test/1" in done.stdout
    assert "https://a.test/2" in done.stdout
    done = crawlo("dead-letters", "list", "shop", "--reason", "decode", "--json", *some_crawl.words)
    [letter] = json.loads(done.stdout)
    assert (letter["id"], letter["url"], letter["error"]) == ("x1", "https://a.test/1", "why")


def test_dead_letters_are_requeued_and_purged(crawlo: Command, some_crawl: SomeCrawl) -> None:
    member = do(some_crawl.add("w1", []))
    letters = [(f"x{n}", "decode", f"https://a.test/{n}") for n in range(3)]
    do(some_crawl.bury(member, *letters))
    done = crawlo("dead-letters", "requeue", "shop", "x0", *some_crawl.words)
    assert "Queued 1 request" in done.stdout
    done = crawlo("dead-letters", "purge", "shop", "x0", "x1", *some_crawl.words)
    assert "Removed 1 dead letter" in done.stdout
    assert done.returncode == 1
    assert "1 of the ids given were not there" in done.stderr
    done = crawlo("dead-letters", "purge", "shop", "--all", *some_crawl.words)
    assert "Removed 1 dead letter" in done.stdout
    state = json.loads(crawlo("status", "shop", "--json", *some_crawl.words).stdout)
    assert (state["queued"], state["dead"]) == (1, 0)


def test_dead_letters_are_chosen_by_reason_and_time(
    crawlo: Command, some_crawl: SomeCrawl, tmp_path: Path
) -> None:
    member = do(some_crawl.add("w1", []))
    letters = [(f"x{n}", ("decode", "failed")[n % 2], f"https://a.test/{n}") for n in range(4)]
    do(some_crawl.bury(member, *letters))
    old = do(some_crawl.call("hget", some_crawl.keys.dead, "x1"))
    head, rest = old.split(b"\n", 1)
    letter = json.loads(head) | {"time": json.loads(head)["time"] - 3 * 3_600_000}
    aged = json.dumps(letter).encode() + b"\n" + rest
    do(some_crawl.call("hset", some_crawl.keys.dead, "x1", aged))

    file = tmp_path / "dead.csv"
    words = ["--since", "2h", "--format", "csv", "-o", str(file), *some_crawl.words]
    done = crawlo("dead-letters", "export", "shop", *words)
    assert "Wrote 3 dead letters" in done.stderr
    with file.open(newline="") as lines:
        rows = {row["id"]: row for row in csv.DictReader(lines)}
    assert set(rows) == {"x0", "x2", "x3"}
    assert rows["x3"]["url"] == "https://a.test/3"
    assert (rows["x3"]["reason"], rows["x3"]["worker"], rows["x3"]["error"]) == (
        "failed", "w1", "why",
    )  # fmt: skip
    done = crawlo("dead-letters", "export", "shop", "--reason", "failed", *some_crawl.words)
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == {"x1", "x3"}

    done = crawlo("dead-letters", "requeue", "shop", "--reason", "nope", *some_crawl.words)
    assert "no dead letter is 'nope'; there are: decode, failed." in done.stderr

    words = ["--reason", "failed", "--since", "2h", *some_crawl.words]
    done = crawlo("dead-letters", "requeue", "shop", *words)
    assert "Queued 1 request of" in done.stdout, done.stderr
    done = crawlo("dead-letters", "list", "shop", *some_crawl.words)
    assert "2 decode, 1 failed" in done.stdout
    done = crawlo(
        "dead-letters", "purge", "shop", "--since", "2020-01-01T00:00Z", *some_crawl.words
    )
    assert "Removed 3 dead letters" in done.stdout
    done = crawlo("dead-letters", "requeue", "shop", "--since", "noon", *some_crawl.words)
    assert done.returncode == 2
    assert "neither a time such as" in done.stderr


def test_dead_letters_want_a_choice(crawlo: Command, some_crawl: SomeCrawl) -> None:
    done = crawlo("dead-letters", "purge", "shop", *some_crawl.words)
    assert done.returncode == 2
    assert "IDS, or --reason WORD and --since WHEN, or --all" in done.stderr


def test_purge_asks_and_spares_a_living_crawl(crawlo: Command, some_crawl: SomeCrawl) -> None:
    member = do(some_crawl.add("w1", [push("https://a.test/1")]))
    done = crawlo("purge", "shop", "--yes", *some_crawl.words)
    assert done.returncode == 1
    assert "1 worker of" in done.stderr
    do(some_crawl.leave(member))
    assert crawlo("purge", "shop", *some_crawl.words, typed="n\n").returncode == 130
    done = crawlo("purge", "shop", *some_crawl.words, typed="y\n")
    assert "1 queued, 0 leased, 1 seen, 0 dead letters" in done.stdout
    assert crawlo("status", "shop", *some_crawl.words).returncode == 1


def test_purge_with_force(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", []))
    done = crawlo("purge", "shop", "--yes", "--force", *some_crawl.words)
    assert done.returncode == 0
    assert "Purged" in done.stdout
    assert "nothing of" in crawlo("purge", "shop", "--yes", *some_crawl.words).stdout


def test_health(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.add("w1", []))
    assert crawlo("health", "shop", "--node", "w1", *some_crawl.words).returncode == 0
    done = crawlo("health", "shop", "--node", "w2", *some_crawl.words)
    assert (done.returncode, done.stderr) == (1, "Error: w2 is in no crawl here.\n")


def test_health_while_redis_is_away(crawlo: Command) -> None:
    away = ["--redis-url", "redis://127.0.0.1:1"]
    assert crawlo("health", "shop", *away).stdout.startswith("unknown: ")
    assert crawlo("health", "shop", "--strict", *away).returncode == 1
