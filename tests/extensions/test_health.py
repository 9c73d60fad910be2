"""A worker that looks at itself: each thing that can be wrong, and that it is over."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from scrapy import Request, Spider, signals
from scrapy.exceptions import DontCloseSpider, NotConfigured

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy.engine import Engine
from crawlo_scrapy.extensions import health, memory
from crawlo_scrapy.extensions.health import HealthCheck
from tests.aio import run_async
from tests.crawling import crawl_settings, make_crawler, run, start, until
from tests.extensions.busysite import BusySite

NEVER = 3600


class Pages(Spider):
    """Crawls `paths`, and stays open."""

    name = "pages"
    paths = ()
    meta = {}
    blocking = 0.0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = 0

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.stay, signals.spider_idle)
        return spider

    def stay(self):
        raise DontCloseSpider

    async def start(self):
        for path in self.paths:
            yield Request(self.site + path, meta=dict(self.meta), errback=self.parse)

    def parse(self, response):
        time.sleep(self.blocking)
        self.crawled += 1


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that others use too holds up every loop now and then."""
    monkeypatch.setattr(health, "LAG_LIMIT", 60.0)


@pytest.fixture
def busy():
    site = run_async(BusySite().start())
    yield site
    run_async(site.stop())


@pytest.fixture
def settings():
    return {
        "EXTENSIONS": {
            "crawlo_scrapy.extensions.health.HealthCheck": 1,
            "crawlo_scrapy.extensions.memory.MemoryUsageExtension": 1,
            "scrapy.extensions.memusage.MemoryUsage": None,
        },
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_ENABLED": False,
        "HEALTH_CHECK_INTERVAL": NEVER,
    }


async def opened(settings, **arguments):
    """Start a crawl; return its crawler, its health check, and what waits for its end."""
    crawler = make_crawler(Pages, settings)
    crawling = start(run(crawler, **arguments))
    await until(lambda: crawler.crawling and crawler.spider and crawler.engine.running, "a crawl")

    async def close():
        Engine(crawler).close("enough")
        assert await crawling == "enough"

    return crawler, crawler.get_extension(HealthCheck), close


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.name == health.__name__]


async def test_says_only_what_is_new(settings, busy, caplog):
    caplog.set_level("INFO")
    paths = [f"/ok/{n}" for n in range(12)]
    busy.plan = {path: [(429 if n % 2 else 503, "")] for n, path in enumerate(paths)}
    crawler, check, close = await opened(settings, site=busy.url, paths=paths)
    await until(lambda: crawler.spider.crawled == 12, "all pages")
    check.check()
    assert crawler.stats.get_value("crawlo/health/state") == "degraded"
    check.check()
    check.check()
    assert crawler.stats.get_value("crawlo/health/state") == "ok"
    assert crawler.stats.get_value("crawlo/health/degraded") == 1
    assert crawler.stats.get_value("crawlo/health/lag") >= 0
    assert said(caplog) == ["Health: degraded: 12 of 12 downloads failed", "Health: ok"]
    await close()


async def test_few_failures_are_well(settings, busy, caplog):
    caplog.set_level("INFO")
    paths = [f"/ok/{n}" for n in range(12)]
    busy.plan = {path: [(503, "")] for path in paths[:6]}
    crawler, check, close = await opened(settings, site=busy.url, paths=[*paths, "/broken/1"])
    await until(lambda: crawler.spider.crawled == 13, "all pages")
    check.check()
    assert said(caplog) == ["Health: degraded: 7 of 13 downloads failed"]
    check.check()
    assert said(caplog)[1:] == ["Health: ok"]
    await close()


async def test_blocked_loop(settings, busy, caplog, monkeypatch):
    monkeypatch.setattr(health, "PULSE", 0.01)
    monkeypatch.setattr(health, "LAG_LIMIT", 0.1)
    crawler, check, close = await opened(settings, site=busy.url, paths=["/ok/1"], blocking=0.5)
    await until(lambda: crawler.spider.crawled, "the page")
    await asyncio.sleep(0.05)
    check.check()
    assert "the event loop was held up for" in said(caplog)[0]
    assert crawler.stats.get_value("crawlo/health/lag") > 0.1
    await close()


async def test_downloads_that_do_not_end(settings, busy, caplog):
    settings |= {"DOWNLOAD_TIMEOUT": 0.05, "HEALTH_CHECK_INTERVAL": 0.1}
    more = {"site": busy.url, "paths": ["/gate/1"], "meta": {"download_timeout": 60}}
    crawler, _, close = await opened(settings, **more)
    await until(lambda: said(caplog), "the check")
    assert "1 downloads open, none ended for" in said(caplog)[0]
    busy.open_gate()
    await until(
        lambda: crawler.stats.get_value("crawlo/health/state") == "ok", "the state is well again"
    )
    await close()


async def test_redis_away(settings, busy, caplog, redis_server, project):
    caplog.set_level("INFO")
    with DelayProxy(redis_server.port) as proxy:
        shared = crawl_settings(f"redis://127.0.0.1:{proxy.port}", project)
        settings = shared | settings | {"CRAWLO_WORKER_TIMEOUT": 1, "HEALTH_CHECK_INTERVAL": 0.2}
        crawler, _, close = await opened(settings, site=busy.url, paths=["/ok/1"])
        await until(lambda: "Health: ok" in said(caplog), "all is well")
        proxy.cut()
        await until(lambda: "no exchange with Redis" in said(caplog)[-1], "Redis is missed")
        proxy.restore()
        await until(lambda: said(caplog)[-1] == "Health: ok", "all is well again")
        await close()
    assert crawler.stats.get_value("crawlo/health/degraded")


async def test_memory(settings, busy, caplog, monkeypatch):
    monkeypatch.setattr(memory, "resident_memory", lambda: 300 << 20)
    _, check, close = await opened(settings | {"MEMUSAGE_WARNING_MB": 200}, site=busy.url)
    check.check()
    assert said(caplog) == ["Health: degraded: 300 MiB of memory"]
    await close()


async def test_file(settings, busy, tmp_path):
    settings |= {
        "CRAWLO_HEALTH_FILE": str(tmp_path / "health" / "{spider}-{node}.json"),
        "CRAWLO_NODE_ID": "n1",
    }
    _, check, close = await opened(settings, site=busy.url)
    check.check()
    file = tmp_path / "health" / "pages-n1.json"
    state = json.loads(file.read_text())
    assert state.pop("time") > 0
    assert state == {"state": "ok", "problems": {}}
    await close()
    assert list(file.parent.iterdir()) == []


async def test_file_that_cannot_be_written(settings, busy, tmp_path, caplog):
    (tmp_path / "x").touch()
    _, check, close = await opened(
        settings | {"CRAWLO_HEALTH_FILE": str(tmp_path / "x" / "y")}, site=busy.url
    )
    check.check()
    check.check()
    assert caplog.text.count("CRAWLO_HEALTH_FILE: cannot write") == 1
    await close()


def test_settings():
    with pytest.raises(NotConfigured):
        HealthCheck.from_crawler(make_crawler(Pages, {"HEALTH_CHECK_ENABLED": False}))
    with pytest.raises(NotConfigured, match=r"CRAWLO_HEALTH_FILE: .*\{host\}"):
        HealthCheck.from_crawler(make_crawler(Pages, {"CRAWLO_HEALTH_FILE": "{host}"}))


async def test_is_quiet_in_a_crawl_that_ends_at_once(settings, caplog):
    caplog.set_level("INFO")
    _, _, close = await opened(settings, site="")
    await close()
    assert said(caplog) == []
