"""Slots with limits and slots without do not keep each other out of a worker."""

from __future__ import annotations

import asyncio

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.inbox import IN_A_ROW, Handout, Inbox
from tests.aio import run_async
from tests.crawling import crawl_settings, make_crawler, run, start, stop, until
from tests.site import Site

LIMITED = 40


class SlowSite(Site):
    """Takes its time for each page; `order` tells which were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    async def _answer(self, path, writer):
        self.order.append(path.split("/")[2])
        await asyncio.sleep(0.25)
        await super()._answer(path, writer)


class Sites(Spider):
    """Pages of many sites that have a delay, and of a big one that has none."""

    name = "sites"

    async def start(self):
        for number in range(300):
            yield self.request("big", number)
        for number in range(20):
            for slot in range(LIMITED):
                yield self.request(f"limited{slot}", number)

    def request(self, slot, number):
        return Request(f"{self.site}/ok/{slot}/{number}", meta={"download_slot": slot})

    def parse(self, response):
        pass


class FullEngine:
    """As much of the engine as an inbox asks for; it has no place left."""

    concurrency, free = 16, 0

    def wake(self):
        pass

    def delay_of(self, slot):
        return 0.0

    def is_full(self, slot):
        return False

    def busy(self, slot):
        return 0


def handout(slot, wait=None):
    return Handout(Request("http://a.test", meta={"download_slot": slot}), None, wait=wait)


async def test_neither_kind_waits_for_long():
    inbox = Inbox(FullEngine())
    for number in range(8):
        inbox.put(handout(f"limited{number}", -0.001 * (9 - number)))
        inbox.put(handout("big"))
    order = [inbox.pop().request.meta["download_slot"] for _ in range(16)]
    assert order[:8] == [f"limited{n}" for n in range(IN_A_ROW)] + ["big"] + [
        f"limited{n + IN_A_ROW}" for n in range(IN_A_ROW)
    ] + ["big"]
    assert order.count("big") == 8


async def test_room_for_limited_slots():
    inbox = Inbox(FullEngine())
    assert inbox.room == 8, "places will be free soon"
    for _ in range(6):
        inbox.put(handout("later", 100))
    assert inbox.room == 8, "these need none yet"
    for _ in range(6):
        inbox.put(handout("now", 0))
    assert inbox.room == 2
    assert len(inbox.keep(lambda handout: False)) == 12
    inbox.put(handout("now", -10))
    inbox.put(handout("big"))
    inbox.give_up_late()
    assert len(inbox.late) == 1
    assert (inbox.room, inbox.stuck) == (0, True), "it knows better now"
    inbox.pop()
    assert (inbox.room, inbox.stuck) == (8, False)


@pytest.fixture
def slow_site():
    site = run_async(SlowSite().start())
    yield site
    run_async(site.stop())


async def test_limited_slots_and_a_big_one(redis_url, project, slow_site):
    settings = crawl_settings(
        redis_url, project, CONCURRENT_REQUESTS=16, CRAWLO_EXCHANGE_INTERVAL=0.2,
        CRAWLO_SLOTS={f"limited{slot}": {"delay": 0.5} for slot in range(LIMITED)},
    )  # fmt: skip
    crawler = make_crawler(Sites, settings)
    crawling = start(run(crawler, site=slow_site.url))
    order = slow_site.order
    await until(lambda: any(slot != "big" for slot in order), "the first of a limited slot")
    begin = len(order)
    await until(lambda: len(order) >= begin + 120, "some more")
    served = order[begin : begin + 120]
    await stop(crawler)
    await crawling
    assert 10 <= served.count("big") <= 110, "neither kind takes it all"
