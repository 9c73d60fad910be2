"""Many workers, one polite crawler: judged by the access log of the site."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

SPIDER = Path(__file__).with_name("polite_spider.py")
PATIENCE = 120.0
#: Requests to the hosts with a delay of 0.5, 0.1 and no seconds.
COUNTS = (30, 150, 3000)
#: What may be missing from a delay, in seconds: a request that is started up to 30 ms late, and
#: the way to the site, on a machine that has fewer cores than there are workers.
TOLERANCE = 0.06

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture
def site():
    with ChaosSite(max(COUNTS), 0.005) as site:
        yield site


def gaps(site: ChaosSite, host: int) -> list[float]:
    return [later - earlier for earlier, later in pairwise(site.arrivals[f"127.0.0.{host}"])]


def run_fleet(fleet: Fleet, site: ChaosSite, *, disturb: bool) -> None:
    fleet.start(8)
    if disturb:
        for killed in range(2):
            wait_until(
                lambda: len(site.arrivals["127.0.0.2"]) > 30 * (killed + 1),  # noqa: B023
                "the crawl goes on",
                PATIENCE,
            )
            fleet.workers[killed].kill()
            fleet.start()
    wait_until(lambda: not fleet.alive, "the end", PATIENCE)
    assert fleet.reasons() == {"finished": 8}


@pytest.mark.parametrize("disturb", [False, True])
def test_delays_hold_over_all_workers(
    redis_url: str, tmp_path: Path, site: ChaosSite, disturb: bool
) -> None:
    arguments = ["-a", f"port={site.port}", "-a", f"counts={','.join(map(str, COUNTS))}"]
    with Fleet(tmp_path, redis_url, *arguments, spider=SPIDER) as fleet:
        run_fleet(fleet, site, disturb=disturb)
    for host, delay in ((1, 0.5), (2, 0.1)):
        found = gaps(site, host)
        assert len(found) >= COUNTS[host - 1] - 1
        close = [gap for gap in found if gap < delay - TOLERANCE]
        print(host, "min", min(found), "utilisation", len(found) * delay / sum(found), len(close))
    first, last = site.arrivals["127.0.0.3"][0], site.arrivals["127.0.0.3"][-1]
    print("fast", last - first, COUNTS[2] / (last - first))
