"""Three real workers, one is killed: it is told once, and once that another has come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.alerts.sinks import TOKEN, Hook
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PAGES = 1500
#: For machines that others use too, in seconds.
PATIENCE = 240.0


def counted(hook: Hook) -> Counter[tuple[str, str]]:
    return Counter((post["alert"], post["status"]) for post in hook.posts)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_node(tmp_path: Path, redis_url: str, victim: int) -> None:
    with (
        Hook() as hook,
        ChaosSite(PAGES, delay=0.1) as site,
        Fleet(
            tmp_path,
            redis_url,
            "-a",
            f"url={site.url}",
            CRAWLO_ALERTS="node_lost quiet=0,finished",
            CRAWLO_ALERT_WEBHOOK_URLS=hook.url,
            CRAWLO_ALERT_INTERVAL=0.5,
            CRAWLO_STATS_INTERVAL=1,
            CRAWLO_WORKER_TIMEOUT=4,
            CRAWLO_HEARTBEAT_INTERVAL=0.5,
        ) as fleet,
    ):
        fleet.start(3)
        wait_until(lambda: len(fleet.items()) > 100, "the crawl runs", PATIENCE)
        wait_until(
            lambda: all("Joined the crawl" in log.read_text() for log in fleet.logs),
            "all are there",
            PATIENCE,
        )
        site.hold()  # so that the crawl does not end before it is all told
        pid = fleet.workers[victim].pid
        fleet.workers[victim].kill()
        wait_until(lambda: counted(hook)["node_lost", "raised"], "the loss is told", PATIENCE)
        assert f"-{pid}-" in hook.posts[-1]["text"]
        assert hook.posts[-1]["text"].endswith("; 2 workers in the crawl")
        fleet.start(1)
        wait_until(lambda: counted(hook)["node_lost", "recovered"], "so is its end", PATIENCE)
        site.release()
        fleet.wait(PATIENCE)
        assert counted(hook) == {
            ("node_lost", "raised"): 1,
            ("node_lost", "recovered"): 1,
            ("finished", "raised"): 1,
        }
        assert hook.posts[-1]["figures"]["done"] >= PAGES
        assert fleet.reasons() == {"finished": 3}
        assert not any(TOKEN in log.read_text() for log in fleet.logs)
