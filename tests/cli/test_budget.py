"""What doctor says of memory: what fits, and what a crawl of so many URLs needs."""

from __future__ import annotations

import json
from pathlib import Path

import redis

from crawlo_scrapy.cli.budget import GROWTH, LARGE_MASTER, Budget, expected, limit_of, needed
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST
from crawlo_scrapy.store.keys import CRAWLS, Keys
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.seen import SeenChoice
from tests.cli.conftest import Command
from tests.servers import RedisCluster, default_redis

EXACT = SeenChoice()


def findings(crawlo: Command, *words: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(crawlo("doctor", "--json", *words).stdout):
        found.setdefault(one["subject"], []).append((one["level"], one["text"]))
    return found


def test_what_fits_while_it_waits_is_less_than_what_fits_in_the_end() -> None:
    budget = Budget(2**30, 0, EXACT)
    assert 0 < budget.waiting < budget.crawled < 2**30
    assert Budget(2**31, 0, EXACT).waiting in range(2 * budget.waiting, 2 * budget.waiting + 2)


def test_what_waits_may_grow() -> None:
    fits = Budget(2**30, 0, EXACT).waiting
    assert Budget(2**30, fits // GROWTH, EXACT).finding().level == "ok"
    assert Budget(2**30, fits // GROWTH + 1, EXACT).finding().level == "warning"
    assert Budget(0, 0, EXACT).finding().level == "ok"


def test_a_filter_takes_less_and_kept_urls_more() -> None:
    count = 10_000_000
    bloom = SeenChoice(kind="bloom", capacity=count)
    assert needed(bloom, count) < needed(EXACT, count) < needed(SeenChoice(urls=True), count)


def test_the_limit_is_maxmemory_or_a_part_of_the_host() -> None:
    assert limit_of({"maxmemory": 5, "total_system_memory": 100}) == 5
    assert limit_of({"maxmemory": 0, "total_system_memory": 100}) == 70
    assert limit_of({}) == 0


def test_what_is_expected_is_compared_with_all_masters_together() -> None:
    need = needed(EXACT, 1_000_000)
    assert expected(1_000_000, EXACT, [need]).level == "ok"
    assert expected(1_000_000, EXACT, [need // 3 + 1] * 3).level == "ok"
    assert expected(1_000_000, EXACT, [need // 3 + 1, need, 0]).level == "warning"
    small = expected(1_000_000, EXACT, [need - 1])
    assert (small.level, "Give Redis" in small.advice) == ("warning", True)
    huge = expected(2_000_000_000, EXACT, [LARGE_MASTER])
    assert "cluster of 8 masters" in huge.advice
    assert "CRAWLO_PARTITIONS = 16" in huge.advice


def test_doctor_tells_of_one_server(crawlo: Command) -> None:
    config = {"maxmemory": "100mb", "maxmemory-policy": "noeviction"}
    with (
        LocalRedis(binary=default_redis(), config=config) as server,
        redis.Redis(port=server.port) as client,
    ):
        words = ("--redis-url", server.url, "--urls")
        found = findings(crawlo, *words, "1000")
        assert (found["room"][0][0], found["expected"][0][0]) == ("ok", "ok")
        client.hset(Keys("shop", "s").meta, mapping={"state": "running", "queued": 10**9})
        client.zadd(CRAWLS, {"shop:s": 0})
        found = findings(crawlo, *words, "100000000")
        assert (found["room"][0][0], found["expected"][0][0]) == ("warning", "warning")
        assert "1,000,000,000 wait now" in found["room"][0][1]


def test_doctor_tells_of_each_master(crawlo: Command, tmp_path: Path) -> None:
    with RedisCluster() as cluster:
        nodes = [f"{HOST}:{node.port}" for node in cluster.nodes]
        (tmp_path / "c.py").write_text(f"REDIS_CLUSTER_NODES = {nodes}\n")
        home, layout = Keys("shop", "s"), Layout(3)
        with redis.RedisCluster(host=HOST, port=cluster.nodes[0].port) as client:
            for number, keys in enumerate(layout.keys(home)):
                facts = {"state": "running", "layout": str(layout), "queued": number + 1}
                client.hset(keys.meta, mapping=facts)
                client.zadd(CRAWLS, {keys.name: 0})
        texts = [text for _, text in findings(crawlo, "--config", str(tmp_path / "c.py"))["room"]]
    assert sorted(text.split(": ")[0] for text in texts) == sorted(nodes)
    assert sorted(text.split("; ")[1] for text in texts) == [f"{n} wait now" for n in (1, 2, 3)]
