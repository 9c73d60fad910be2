"""Divided crawls whose workers, and whose masters, die. No page may be lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from tests.chaos.fleet import Fleet
from tests.chaos.small_spider import PAGES
from tests.faults.crawling import crawl
from tests.faults.test_failover import owner, ride_out
from tests.servers import HOST, RedisCluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SMALL = Path(__file__).parents[1] / "chaos" / "small_spider.py"
PATIENCE = 60


@pytest.mark.parametrize("by", ["slot", "fingerprint"])
@pytest.mark.parametrize("seed", range(2))
def test_small_crawls_end_when_all_is_done(
    tmp_path: Path, redis_url: str, seed: int, by: str
) -> None:
    divided = {"CRAWLO_PARTITIONS": 4, "CRAWLO_PARTITION_BY": by}
    with Fleet(tmp_path, redis_url, "-a", f"seed={seed}", spider=SMALL, **divided) as fleet:
        fleet.start(3)
        assert fleet.wait(PATIENCE) == [0, 0, 0]
        assert fleet.reasons() == {"finished": 3}
        assert set(fleet.items().values()) == {1}
        assert len(fleet.items()) == PAGES
        assert not fleet.errors()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(replicas=1) as cluster:
        yield cluster


def divided_over(cluster: RedisCluster) -> dict[str, object]:
    places = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes if node.alive)
    return {
        "REDIS_CLUSTER_NODES": places,
        "CRAWLO_PARTITIONS": 6,
        "CRAWLO_PARTITION_BY": "fingerprint",
        "CRAWLO_WORKER_TIMEOUT": 4,
        "CRAWLO_HEARTBEAT_INTERVAL": 0.5,
    }


def test_workers_killed(tmp_path: Path, cluster: RedisCluster) -> None:
    choice = random.Random(2)
    with crawl(tmp_path, "redis://nobody.invalid", **divided_over(cluster)) as going:
        for _ in range(4):
            going.wait_for_pages(100)
            choice.choice(going.fleet.alive).kill()
            going.fleet.start()
        fleet = going.fleet
        wait_until(lambda: len(fleet.items()) == going.site.pages, "every page", 180)
        living = len(fleet.alive)
        fleet.wait(PATIENCE)
        assert fleet.reasons()["finished"] >= living


@pytest.mark.parametrize(("blow", "number"), [("kill", 0), ("suspend", 1)])
def test_a_master_is_gone(tmp_path: Path, cluster: RedisCluster, blow: str, number: int) -> None:
    """That of the crawl's home (0), or one that has other partitions alone."""
    with crawl(tmp_path, "redis://nobody.invalid", **divided_over(cluster)) as going:
        home = Keys(going.fleet.project, "chaos", "run")
        ride_out(going, owner(cluster, Layout(6).keys(home)[2 * number].meta), blow)
