"""Workers in this process that watch their crawl."""

from __future__ import annotations

import asyncio
import logging

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.alerts import delivery
from crawlo_scrapy.extensions import alerts as extension
from crawlo_scrapy.extensions.alerts import AlertsExtension
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import Stats
from crawlo_scrapy.values import Codec
from tests.alerts.sinks import Hook
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until

EXTENSION = "crawlo_scrapy.extensions.alerts.AlertsExtension"


class Pages(Spider):
    name = "pages"

    async def start(self):
        for path in self.paths:
            yield Request(self.site + path)

    def parse(self, response):
        yield {"url": response.url}
        if "bad" in response.url:
            self.logger.error("this is bad")


@pytest.fixture
def hook():
    with Hook() as hook:
        yield hook


@pytest.fixture
def settings(redis_url, project, hook):
    return {
        **crawl_settings(redis_url, project),
        "STATS_CLASS": "crawlo_scrapy.statscollector.RedisStatsCollector",
        "EXTENSIONS": {EXTENSION: 0, "crawlo_scrapy.extensions.stats.StatsExtension": 0},
        "CRAWLO_STATS_INTERVAL": 0.1,
        "CRAWLO_ALERT_INTERVAL": 0.1,
        "CRAWLO_ALERT_WEBHOOK_URLS": [hook.url],
        "CRAWLO_ALERTS": ["finished"],
    }


def told(hook: Hook) -> list[tuple[str, str]]:
    return [(post["alert"], post["status"]) for post in hook.posts]


async def test_a_crawl_is_finished_once(settings, hook, site, redis_url, project):
    """Whoever tells it waits for what the others have counted."""
    paths = [f"/ok/{n}" for n in range(60)] + ["/ok/bad"]
    settings["CRAWLO_STATS_INTERVAL"] = 1000
    crawlers = [make_crawler(Pages, settings) for _ in range(3)]
    runs = [start(run(crawler, site=site.url, paths=paths)) for crawler in crawlers]
    assert await asyncio.gather(*runs) == ["finished"] * 3
    [post] = hook.posts
    assert (post["alert"], post["status"], post["run"]) == ("finished", "raised", 1)
    assert post["crawl"] == f"{project}:pages"
    assert post["text"].startswith("61 pages, 61 items, ")
    assert post["figures"]["done"] == 61
    peek = Peek(redis_url, project, "pages")
    assert peek.redis.hget(peek.keys.alerts, "finished").startswith(b"1 ")

    # The next run has an end of its own.
    await crawl(Pages, settings, site=site.url, paths=["/ok/new"])
    assert [post["run"] for post in hook.posts] == [1, 2]


async def test_a_crawl_that_is_not_kept(settings, hook, site, redis_url, project):
    settings |= {"SCHEDULER_PERSIST": False, "STATS_PERSISTENCE": False}
    crawlers = [make_crawler(Pages, settings) for _ in range(2)]
    paths = [f"/ok/{n}" for n in range(20)]
    runs = [start(run(crawler, site=site.url, paths=paths)) for crawler in crawlers]
    assert await asyncio.gather(*runs) == ["finished"] * 2
    [post] = hook.posts
    assert post["text"].startswith("20 pages, 20 items, 0 errors")
    assert Peek(redis_url, project, "pages").all_keys() == []


async def test_a_worker_that_is_stopped_does_not_say_finished(settings, hook, site):
    crawler = make_crawler(Pages, settings)
    crawling = start(run(crawler, site=site.url, paths=["/gate/1"]))
    await until(lambda: site.hits["/gate/1"], "the page is asked for")
    crawler.engine._slot.scheduler._engine.close("shutdown")
    site.open_gate()
    assert await crawling == "shutdown"
    assert hook.posts == []


async def test_raised_and_over(settings, hook, site, redis_url, project):
    """Errors come, then pages without; two workers watch, and each thing is told once."""
    rule = {"when": "error_rate", "above": 0.4, "seconds": 1000, "at_least": 2}
    settings |= {"CRAWLO_ALERTS": [rule], "DOWNLOAD_TIMEOUT": 60}
    paths = ["/ok/bad1", "/ok/bad2", "/never/1", *(f"/gate/{n}" for n in range(7))]
    runs = [start(run(make_crawler(Pages, settings), site=site.url, paths=paths))]
    await until(lambda: hook.posts, "the alert")
    runs.append(start(run(make_crawler(Pages, settings), site=site.url, paths=[])))
    peek = Peek(redis_url, project, "pages")
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the second worker")
    site.open_gate()
    await until(lambda: len(hook.posts) == 2, "its end")
    await site.stop()
    await asyncio.gather(*runs)
    assert told(hook) == [("error_rate", "raised"), ("error_rate", "recovered")]


async def test_what_a_window_begins_with(redis_url, project):
    client = Client.connect(Address(url=redis_url))
    keys = Keys(project, "pages")
    stats = Stats(client, keys, Codec())
    assert await stats.before(5000, run=1) is None
    for time in (1000, 2000, 3000):
        sample = ",".join([str(time)] + ["0"] * 10)
        await client.call("xadd", keys.stats_series(1), {"v": sample}, id=f"{time}-7")
    found = [await stats.before(time, run=1) for time in (999, 1000, 2999, 9999)]
    assert [sample and sample.pages for sample in found] == [None, 1000, 2000, 3000]
    await client.close()


async def test_dead_letters_raise_and_requeueing_ends_it(settings, hook, site, redis_url, project):
    settings |= {"CRAWLO_ALERTS": ["dead_letters"]}
    crawling = start(run(make_crawler(Pages, settings), site=site.url, paths=["/gate/1"]))
    peek = Peek(redis_url, project, "pages")
    await until(lambda: site.hits["/gate/1"], "the page is asked for")
    peek.redis.hset(peek.keys.dead, "x", "{}\n1\n0\n\n")
    await until(lambda: told(hook) == [("dead_letters", "raised")], "the alert")
    peek.redis.hdel(peek.keys.dead, "x")
    await until(lambda: len(hook.posts) == 2, "its end")
    assert told(hook)[1] == ("dead_letters", "recovered")
    site.open_gate()
    assert await crawling == "finished"


async def test_memory_and_no_progress(settings, hook, site):
    settings |= {"CRAWLO_ALERTS": ["memory above=1MB", "no_progress seconds=0.3"]}
    crawling = start(run(make_crawler(Pages, settings), site=site.url, paths=["/gate/1"]))
    await until(lambda: len(hook.posts) == 2, "both alerts")
    assert sorted(told(hook)) == [("memory", "raised"), ("no_progress", "raised")]
    site.open_gate()
    assert await crawling == "finished"
    texts = {post["alert"]: post["text"] for post in hook.posts[:2]}
    assert "MiB of memory, limit 1" in texts["memory"]
    assert texts["no_progress"].startswith("no page for ")


async def test_a_webhook_that_is_away_does_not_hold_up_the_crawl(
    settings, hook, site, monkeypatch, caplog
):
    monkeypatch.setattr(delivery, "PAUSES", (1000.0,))
    monkeypatch.setattr(extension, "LAST_MESSAGES", 0.1)
    hook.answers = [503]
    crawler = await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert hook.posts == []


async def test_redis_goes_away_and_comes_back(settings, hook, site, monkeypatch):
    """A look that fails is not the last."""
    from crawlo_scrapy.store.alerts import Alerts
    from crawlo_scrapy.store.errors import StoreUnavailable

    failures = [StoreUnavailable("away"), RuntimeError("a bug")]
    take_turn = Alerts.take_turn

    async def failing(self, interval):
        if failures:
            raise failures.pop()
        return await take_turn(self, interval)

    monkeypatch.setattr(Alerts, "take_turn", failing)
    settings |= {"CRAWLO_ALERTS": ["no_progress seconds=0.3"]}
    crawling = start(run(make_crawler(Pages, settings), site=site.url, paths=["/gate/1"]))
    await until(lambda: hook.posts, "the alert")
    site.open_gate()
    assert await crawling == "finished"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("CRAWLO_ALERTS", "finshed"), ("CRAWLO_ALERT_SLACK_URLS", ["hooks.slack.com/s3cret"])],
)
async def test_a_mistake_closes_the_spider_with_one_line(settings, site, caplog, setting, value):
    crawler = await crawl(Pages, {**settings, setting: value}, site=site.url, paths=["/ok/1"])
    assert crawler.stats.get_value("finish_reason") == "invalid_setting"
    assert crawler.spider is None
    [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage().startswith(setting)
    assert "s3cret" not in caplog.text


async def test_without_rules_there_is_nothing(settings, site):
    del settings["CRAWLO_ALERTS"]
    crawler = await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
    assert not [e for e in crawler.extensions.middlewares if isinstance(e, AlertsExtension)]


async def test_without_shared_stats_it_says_what_it_cannot_see(settings, hook, site, caplog):
    del settings["STATS_CLASS"]
    settings |= {"CRAWLO_ALERTS": ["error_rate", "finished"]}
    await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
    assert "CRAWLO_ALERTS: error_rate will never be raised" in caplog.text
    assert told(hook) == [("finished", "raised")]


async def test_without_a_crawl_it_does_nothing(hook, site):
    settings = {
        "EXTENSIONS": {EXTENSION: 0},
        "CRAWLO_ALERTS": ["finished"],
        "CRAWLO_ALERT_WEBHOOK_URLS": [hook.url],
        "TELNETCONSOLE_ENABLED": False,
    }
    await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
    assert hook.posts == []
