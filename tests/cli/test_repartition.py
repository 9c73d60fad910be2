"""`crawlo-scrapy repartition`, as users start it."""

from __future__ import annotations

import json

from crawlo_scrapy.store.partitions import Layout
from tests.cli.conftest import Command, SomeCrawl, do, push

PUSHES = [push(f"https://a.test/{n}", slot=f"h{n}.test", number=n) for n in range(20)]


def queued(some_crawl: SomeCrawl, layout: Layout) -> list[int]:
    parts = layout.keys(some_crawl.keys)
    return [int(do(some_crawl.call("hget", part.meta, "queued")) or 0) for part in parts]


def test_a_crawl_is_divided(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.leave(do(some_crawl.add("w1", PUSHES))))
    words = ["repartition", "shop", "--partitions", "4", *some_crawl.words]
    done = crawlo(*words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Would divide" in done.stdout
    assert "20 requests, 0 dead letters, 20 seen URLs" in done.stdout
    assert "Memory of what was seen" in done.stdout
    assert do(some_crawl.call("hget", some_crawl.keys.meta, "layout")) == b"1:slot"
    done = crawlo(*words, typed="n\n")
    assert done.returncode == 130
    done = crawlo(*words, typed="y\n")
    assert done.returncode == 0, done.stderr
    assert "which had 1 partition, into 4 partitions by slot" in done.stdout
    assert "CRAWLO_PARTITIONS = 4 and CRAWLO_PARTITION_BY = 'slot'" in done.stdout
    assert sum(queued(some_crawl, Layout(4))) == 20
    assert queued(some_crawl, Layout(4))[0] < 20
    done = crawlo(*words, "--yes")
    assert done.returncode == 1
    assert "has 4 partitions by slot already" in done.stderr


def test_it_prints_json_and_takes_a_name(crawlo: Command, some_crawl: SomeCrawl) -> None:
    do(some_crawl.leave(do(some_crawl.add("w1", PUSHES))))
    words = ["--redis-url", some_crawl.url, "--partitions", "3", "--by", "fingerprint"]
    done = crawlo("repartition", some_crawl.keys.name, *words, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["before"], facts["after"]) == ("1:slot", "3:fingerprint")
    assert (facts["requests"], facts["resumed"]) == (20, False)
    assert sum(queued(some_crawl, Layout(3, "fingerprint"))) == 20


def test_what_is_refused(crawlo: Command, some_crawl: SomeCrawl) -> None:
    words = ["repartition", "shop", "--partitions", "4", *some_crawl.words]
    done = crawlo(*words, "--yes")
    assert done.returncode == 1
    assert "There is no crawl" in done.stderr
    do(some_crawl.add("w1", PUSHES))
    done = crawlo(*words, "--yes")
    assert done.returncode == 1
    assert "w1. Stop them first: `crawlo-scrapy stop`" in done.stderr
    done = crawlo("repartition", "shop", "--partitions", "0", *some_crawl.words)
    assert done.returncode == 2
