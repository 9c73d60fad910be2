"""What limits hosts, on a crawl's page."""

from __future__ import annotations

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.frontier import Frontier, Push
from crawlo_scrapy.store.keys import clean
from crawlo_scrapy.store.slots import SlotLimit, Slots
from crawlo_scrapy.store.slotstate import MOST_SHOWN
from tests.dashboard.conftest import Dashboard, client_of
from tests.dashboard.test_pages import HOSTILE, Page
from tests.waiting import wait_until


async def test_limits_of_hosts(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    assert "No busy host has a limit" in acting.page(path)
    async with client_of(redis_url) as client:
        pushes = [Push("n", 0, n, clean(HOSTILE), 0, b"x") for n in range(9)]
        await Frontier(client, crawl.keys).exchange(crawl.members[0], pushes)
        await Slots(client, crawl.keys).configure({"": SlotLimit(delay=0.25, concurrency=3)})
        await Slots(client, crawl.keys).hold(clean(HOSTILE), 6000)
        await Control(client, crawl.keys).delay("ann", clean(HOSTILE), 1.5)
    # What was looked up is kept for some seconds.
    wait_until(lambda: 'id="limits"' in acting.page(path), "the table")
    text = acting.page(path)
    held, *others = [row for row in Page(text).rows if len(row) == 7 and row[3] == "3"]
    assert held[:6] == [HOSTILE, "9", "–", "3", "1.5 s", "by hand"]
    assert held[6].startswith("for 1 h")
    assert len(others) == MOST_SHOWN - 1
    assert {tuple(row[2:]) for row in others} == {("–", "3", "0.25 s", "settings", "–")}
    assert "<img" not in text
