"""Start requests that come again."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.extensions.seedcron import schedule
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.workers import Workers
from tests.backends import address_of
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until

EXTENSION = {"crawlo_scrapy.extensions.seedcron.SeedCron": 0}


class Seeded(Spider):
    name = "seeded"

    async def start(self):
        type(self).starts += 1
        for number in range(3):
            yield Request(f"{self.site}/ok/{number}", dont_filter=True)

    def parse(self, response):
        """Only asked for."""


@pytest.fixture
def spider():
    return type("Counted", (Seeded,), {"starts": 0})


def settings(redis_url, project, cron, **more):
    return crawl_settings(redis_url, project, EXTENSIONS=EXTENSION, CRAWLO_SEED_CRON=cron, **more)


async def stop(redis_url, peek):
    client = Client.connect(address_of(redis_url))
    await Control(client, peek.keys).stop("test")
    await client.close()


async def test_seeded_again_by_one_of_two(redis_url, project, site, spider):
    # Every second: cronsim takes a sixth field, for seconds.
    options = settings(redis_url, project, "* * * * * *")
    peek = Peek(redis_url, project, "seeded")
    tasks = [start(run(make_crawler(spider, options), site=site.url)) for _ in range(2)]
    await until(lambda: spider.starts >= 4, "seeded again and again")
    await stop(redis_url, peek)
    assert [await task for task in tasks] == ["stopped"] * 2
    queued = peek.number("pushed")
    assert spider.starts * 3 - 3 <= queued <= spider.starts * 3, "by one worker at a time"


async def test_workers_agree_when_it_is_due(redis_url, project, site, spider, monkeypatch):
    options = settings(redis_url, project, "0 0 1 1 *")  # not during this test
    peek = Peek(redis_url, project, "seeded")
    crawlers = [make_crawler(spider, options) for _ in range(3)]
    tasks = [start(run(crawler, site=site.url)) for crawler in crawlers]
    await until(lambda: peek.number("acked") == 3, "seeded once")
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 3, "all are here")
    for round_ in (1, 2, 3):
        for crawler in crawlers:
            crawler.engine._slot.scheduler.seed_again(1000 * round_)
        await until(lambda n=round_: peek.number("acked") == 3 + 3 * n, "seeded once more")
        await until(lambda: peek.meta("seeding") == "done", "and settled")
        await until(lambda: not any(c.engine._slot.scheduler._seeding._due for c in crawlers), "")
        assert spider.starts == 1 + round_
    await stop(redis_url, peek)
    assert [await task for task in tasks] == ["stopped"] * 3
    assert peek.number("pushed") == 12


async def test_another_takes_over(redis_url, project, site, spider):
    """Who was given the right dies before it used it."""
    options = settings(redis_url, project, "0 0 1 1 *", CRAWLO_WORKER_TIMEOUT=1)
    peek = Peek(redis_url, project, "seeded")
    crawler = make_crawler(spider, options)
    crawling = start(run(crawler, site=site.url))
    await until(lambda: peek.number("acked") == 3, "seeded once")
    client = Client.connect(address_of(redis_url))
    workers = Workers(client, peek.keys)
    _, dying = await workers.join("dying", {"host": "h"}, bucket_fill=400)
    assert isinstance(dying, Membership)
    assert await workers.claim_due(dying, 5)
    assert await workers.claim_due(dying, 5), "asked again, since the answer got lost"
    await until(lambda: spider.starts == 2, "the other has taken over")
    await until(lambda: peek.meta("seeding") == "done", "and settled")
    await client.close()
    await stop(redis_url, peek)
    assert await crawling == "stopped"
    assert peek.number("pushed") == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CRAWLO_SEED_CRON": "at noon"}, "CRAWLO_SEED_CRON is 'at noon'"),
        ({"CRAWLO_SEEDING": "every"}, "Unset one of them"),
    ],
)
async def test_mistakes(redis_url, project, spider, caplog, changes, message):
    options = {**settings(redis_url, project, "* * * * *"), **changes}
    crawler = await crawl(spider, options, site="http://127.0.0.1:1")
    assert crawler.stats.get_value("finish_reason") == "invalid_setting"
    assert message in caplog.text


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(SettingError, match=r"crawlo_scrapy\[cron\]"):
        schedule("* * * * *")


def test_times_are_utc():
    after = schedule("30 4 * * *")
    now = datetime(2024, 2, 28, 12, tzinfo=timezone.utc)
    assert after(now) == datetime(2024, 2, 29, 4, 30, tzinfo=timezone.utc)
