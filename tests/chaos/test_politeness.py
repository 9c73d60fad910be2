"""Many workers, one polite crawler: judged by the access log of the site."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

SPIDER = Path(__file__).with_name("polite_spider.py")
PATIENCE = 120.0
#: Requests to the hosts with a delay of 0.5, 0.1 and no seconds.
COUNTS = (30, 150, 3000)
#: So many requests in a row are looked at together: a machine with fewer cores than processes
#: has the site notice some of them late, which makes single distances long and short.
ROW = 10
#: What may be missing from the time of a row, in seconds: its first request may start LATE (0.25),
#: and the site may notice it later still.
TOLERANCE = 0.5

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture
def site():
    with ChaosSite(max(COUNTS), 0.005) as site:
        yield site


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
        times = site.arrivals[f"127.0.0.{host}"]
        assert len(times) >= COUNTS[host - 1]
        rows = zip(times, times[ROW:], strict=False)
        assert min(last - first for first, last in rows) >= ROW * delay - TOLERANCE
        assert times[-1] - times[0] >= (len(times) - 1) * delay - TOLERANCE
    assert len(site.arrivals["127.0.0.3"]) >= COUNTS[2]
