"""Requests that Redis cannot carry keep the limits of their slot all the same."""

from __future__ import annotations

import time

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.inbox import Handout
from crawlo_scrapy.store.slots import AT_ONCE
from crawlo_scrapy.turns import Turns
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until


class Lambdas(Spider):
    name = "lambdas"
    again = False
    kind = "ok"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.times = []

    async def start(self):
        for number in range(8):
            yield Request(
                f"{self.site}/{self.kind}/{number}", lambda response: self.note(),
                dont_filter=self.again, meta={"download_slot": "some"},
            )  # fmt: skip

    def note(self):
        self.times.append(time.monotonic())


@pytest.mark.parametrize("again", [False, True], ids=["filtered", "dont_filter"])
@pytest.mark.parametrize("partitions", [1, 3])
async def test_delay(again, partitions, redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, CRAWLO_SLOT_DELAY=0.1, CRAWLO_PARTITIONS=partitions
    )
    crawler = await crawl(Lambdas, settings, site=site.url, again=again)
    times = crawler.spider.times
    assert len(times) == 8
    assert times[-1] - times[0] > 0.5
    assert crawler.stats.get_value("scheduler/enqueued/memory") == 8


async def test_concurrency(redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, CRAWLO_SLOT_CONCURRENCY=2, DOWNLOAD_TIMEOUT=60,
        CONCURRENT_REQUESTS_PER_DOMAIN=8,
    )  # fmt: skip
    crawler = make_crawler(Lambdas, settings)
    crawling = start(run(crawler, site=site.url, kind="gate"))
    await until(lambda: sum(site.hits.values()) == 2, "two")
    rounds = crawler.stats.get_value("crawlo/exchanges")
    await until(lambda: crawler.stats.get_value("crawlo/exchanges") > rounds + 5, "it asks again")
    assert sum(site.hits.values()) == 2
    site.open_gate()
    assert await crawling == "finished"
    assert len(crawler.spider.times) == 8


async def test_without_limits_they_do_not_wait(redis_url, project, site):
    crawler = await crawl(Lambdas, crawl_settings(redis_url, project), site=site.url)
    assert len(crawler.spider.times) == 8
    peek = Peek(redis_url, project, "lambdas")
    assert not peek.redis.exists(peek.keys.pace, peek.keys.timed)


def test_turns() -> None:
    def local(name: str, priority: int = 0) -> Handout:
        return Handout(Request(f"http://a.test/{name}", priority=priority), None, local=True)

    one, two, three, late = local("1"), local("2", 5), local("3"), local("4", 9)
    turns = Turns()
    for handout in (one, two, three):
        turns.put(handout)
    asked = turns.last
    turns.put(late)
    assert (turns.slots(), len(turns)) == (["a.test"], 4)
    assert turns.take("a.test", 0.5, asked) == [two]
    assert two.wait == 0.5
    assert turns.take("a.test", AT_ONCE, asked) == [one, three], "not who came after the question"
    assert one.wait is None
    assert turns.take("a.test", 0.0, turns.last) == [late]
    assert (turns.slots(), len(turns)) == ([], 0)
