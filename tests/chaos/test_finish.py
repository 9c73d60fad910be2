"""Finished means finished: no crawl ends early, none hangs. Seeds enter once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.small_spider import PAGES
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SPIDER = Path(__file__).with_name("small_spider.py")
SEEDS = Path(__file__).with_name("seed_spider.py")
#: A crawl takes two seconds; this is for machines that others use too.
PATIENCE = 60


@pytest.mark.parametrize("seed", range(20))
def test_small_crawls(tmp_path: Path, redis_url: str, seed: int) -> None:
    with Fleet(tmp_path, redis_url, "-a", f"seed={seed}", spider=SPIDER) as fleet:
        fleet.start(3)
        assert fleet.wait(PATIENCE) == [0, 0, 0]
        assert fleet.reasons() == {"finished": 3}
        assert len(fleet.items()) == PAGES
        assert set(fleet.items().values()) == {1}
        assert not fleet.errors()


def test_eight_workers_seed_once(tmp_path: Path, redis_url: str) -> None:
    with Fleet(tmp_path, redis_url, "-a", "count=50", spider=SEEDS) as fleet:
        fleet.start(8)
        assert set(fleet.wait(PATIENCE)) == {0}
        assert len(fleet.items()) == 50
        assert set(fleet.items().values()) == {1}
        assert fleet.reasons() == {"finished": 8}


def test_seeder_killed(tmp_path: Path, redis_url: str) -> None:
    """Another takes over; what was queued is not queued again, filtered or not."""
    quick = {"CRAWLO_WORKER_TIMEOUT": 2, "CRAWLO_HEARTBEAT_INTERVAL": 0.5}
    with Fleet(tmp_path, redis_url, "-a", "count=300", spider=SEEDS, **quick) as fleet:
        fleet.start()
        wait_until(lambda: len(fleet.items()) > 20, "the first worker seeds", PATIENCE)
        fleet.start(2)
        wait_until(
            lambda: all("Joined the crawl" in log.read_text() for log in fleet.logs),
            "the others wait for their turn",
            PATIENCE,
        )
        fleet.workers[0].kill()
        statuses = fleet.wait(PATIENCE)
        assert statuses[1:] == [0, 0]
        items = fleet.items()
        assert len(items) == 300
        # Only what the dead worker had in progress may have been crawled twice.
        assert sum(items.values()) - 300 <= 16 + 4 * 16
