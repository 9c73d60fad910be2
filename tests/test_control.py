"""Steering a crawl while it runs."""

from __future__ import annotations

import logging
import signal

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.steering import CHANGEABLE
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.control import AUDIT_KEPT, Control, NotPossible
from crawlo_scrapy.store.scripts import Call
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until


class Many(Spider):
    """Asks for many pages that do not come before the site's gate is opened."""

    name = "many"
    pages = 30

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        for number in range(self.pages):
            yield Request(f"{self.site}/gate/{number}")

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])


class Steered:
    """A crawl under way, and the control of it."""

    def __init__(self, redis_url, project, site, **settings):
        settings = {"CONCURRENT_REQUESTS": 2, "CONCURRENT_REQUESTS_PER_DOMAIN": 2, **settings}
        self.peek = Peek(redis_url, project, "many")
        self.crawler = make_crawler(Many, crawl_settings(redis_url, project, **settings))
        self.site = site
        self.client = Client.connect(Address(url=redis_url))
        self.control = Control(self.client, self.peek.keys)

    async def __aenter__(self):
        self.crawling = start(run(self.crawler, site=self.site.url))
        await until(lambda: len(self.peek.leased()) > 2, "requests in progress, others prefetched")
        return self

    async def __aexit__(self, *exc_info):
        await self.client.close()

    def in_progress(self):
        return len(self.crawler.engine.downloader.active)


class Process:
    """Stands for Scrapy's CrawlerProcess, which has the signals."""

    def __init__(self, crawlers):
        self.crawlers = crawlers

    def shutdown(self, number, frame):
        """Scrapy's handler."""


async def test_pause_and_resume(redis_url, project, site):
    async with Steered(redis_url, project, site) as steered:
        await steered.control.pause("ann@host")
        await until(lambda: len(steered.peek.leased()) == 2, "what was not started is given back")
        site.open_gate()
        await until(lambda: steered.peek.leased() == [], "what was in progress is through")
        assert len(steered.crawler.spider.crawled) == 2
        # Who comes to a paused crawl waits, too.
        other = make_crawler(Many, crawl_settings(redis_url, project))
        waiting = start(run(other, site=site.url))
        await until(lambda: steered.peek.redis.zcard(steered.peek.keys.workers) == 2, "a newcomer")
        await until(lambda: other.stats.get_value("crawlo/exchanges", 0) > 2, "its exchanges")
        assert other.spider.crawled == []
        await steered.control.resume("ann@host")
        assert [await steered.crawling, await waiting] == ["finished"] * 2
        assert len(steered.crawler.spider.crawled) + len(other.spider.crawled) == 30


async def test_stop_and_start_again(redis_url, project, site, caplog):
    caplog.set_level("INFO")
    async with Steered(redis_url, project, site) as steered:
        await steered.control.stop("ann@host", reason="enough")
        await until(lambda: len(steered.peek.leased()) == 2, "what was not started is given back")
        late = await crawl(Many, crawl_settings(redis_url, project), site=site.url)
        assert late.stats.get_value("finish_reason") == "stopped"
        assert "is being stopped. Start a worker once the others have left" in caplog.text
        site.open_gate()
        assert await steered.crawling == "enough"
        assert steered.peek.leased() == []
        again = await crawl(Many, crawl_settings(redis_url, project), site=site.url)
        assert again.stats.get_value("finish_reason") == "finished"
        assert len(again.spider.crawled) == 28


@pytest.mark.parametrize("alone", [True, False])
async def test_stop_now_is_heard_by_workers_that_are_leaving(
    redis_url, project, site, monkeypatch, alone
):
    signals = []
    async with Steered(redis_url, project, site) as steered:
        process = Process({steered.crawler} if alone else {steered.crawler, object()})
        monkeypatch.setattr("os.kill", lambda pid, number: signals.append(number))
        monkeypatch.setattr("signal.getsignal", lambda number: process.shutdown)
        if alone:
            await steered.control.stop("ann@host")
            await until(lambda: steered.crawler.engine._slot.closing is not None, "it obeys")
            await until(lambda: len(steered.peek.leased()) == 2, "it waits for what goes on")
        await steered.control.stop("ann@host", now=True)
        await until(lambda: steered.peek.leased() == [], "that is given back, too")
        await until(lambda: steered.crawler.engine._slot.closing is not None, "it closes")
        await until(lambda: len(signals) == 2 * alone, "it ends as after a second Ctrl-C")
        assert steered.peek.redis.zcard(steered.peek.keys.workers) == 0
        assert len(steered.peek.queued()) == 30
        site.open_gate()
        assert await steered.crawling == "stopped"
        assert len(steered.peek.queued()) == 30, "what came after it left is crawled again"
        assert signals == [signal.SIGTERM] * 2 * alone


async def test_drain_one_of_two(redis_url, project, site):
    async with Steered(redis_url, project, site, CRAWLO_NODE_ID="n1") as steered:
        other = make_crawler(Many, crawl_settings(redis_url, project, CRAWLO_NODE_ID="n2"))
        staying = start(run(other, site=site.url))
        await until(lambda: steered.peek.redis.zcard(steered.peek.keys.workers) == 2, "the other")
        await steered.control.drain("ann@host", "n1")
        await until(lambda: steered.crawler.engine._slot.closing is not None, "it obeys")
        site.open_gate()
        assert [await steered.crawling, await staying] == ["drained", "finished"]
        assert len(steered.crawler.spider.crawled) + len(other.spider.crawled) == 30
        assert await steered.control.read() == {}, "it may come again"


async def test_pause_one_node(redis_url, project, site):
    async with Steered(redis_url, project, site, CRAWLO_NODE_ID="n1") as steered:
        await steered.control.pause_node("ann@host", "n1")
        await steered.control.pause_node("ann@host", "elsewhere")
        site.open_gate()
        await until(lambda: steered.peek.leased() == [], "it has nothing left")
        assert steered.peek.meta("state") == "running"
        await steered.control.pause_node("ann@host", "n1", paused=False)
        assert await steered.crawling == "finished"


async def test_scale(redis_url, project, site):
    async with Steered(redis_url, project, site) as steered:
        await until(lambda: steered.in_progress() == 2, "two requests in progress")
        await steered.control.scale("ann@host", 5)
        await until(lambda: steered.in_progress() == 5, "five")
        await steered.control.scale("ann@host", 7, "elsewhere")
        await steered.control.scale("ann@host", 4)
        await steered.control.set("ann@host", "CONCURRENT_REQUESTS", "9")
        await until(lambda: steered.in_progress() == 9, "the last word counts")
        site.open_gate()
        assert await steered.crawling == "finished"


async def test_settings_that_can_change(redis_url, project, site, caplog):
    async with Steered(redis_url, project, site) as steered:
        level = logging.getLogger().level
        handlers = [handler.level for handler in logging.getLogger().handlers]
        try:
            await steered.control.set("a", "LOG_LEVEL", "warning")
            await until(lambda: logging.getLogger().level == logging.WARNING, "the level")
        finally:
            logging.getLogger().setLevel(level)
            for handler, before in zip(logging.getLogger().handlers, handlers, strict=False):
                handler.setLevel(before)
        downloader = steered.crawler.engine.downloader
        for name, value in {
            "DOWNLOAD_DELAY": "0.01",
            "CONCURRENT_REQUESTS_PER_DOMAIN": "1",
            "CRAWLO_PREFETCH": "3",
            "CRAWLO_EXCHANGE_INTERVAL": "0.05",
            "USER_AGENT": "x",
            "CONCURRENT_REQUESTS": "many",
        }.items():
            await steered.control.set("a", name, value)
        await until(lambda: "Cannot set CONCURRENT_REQUESTS to 'many'" in caplog.text, "the last")
        assert "Cannot set USER_AGENT to 'x' while the crawl runs" in caplog.text
        [slot] = downloader.slots.values()
        assert (slot.delay, slot.concurrency, downloader.total_concurrency) == (0.01, 1, 2)
        site.open_gate()
        assert await steered.crawling == "finished"


async def test_what_was_set_is_taken_back(redis_url, project, site):
    own = {"DOWNLOAD_DELAY": 0.02, "CONCURRENT_REQUESTS": 5, "CONCURRENT_REQUESTS_PER_DOMAIN": 3}
    async with Steered(redis_url, project, site, **own, CRAWLO_NODE_ID="n1") as steered:
        engine, control = steered.crawler.engine, steered.control
        exchange = steered.crawler.engine._slot.scheduler._exchange
        root = logging.getLogger()
        handlers = [root, *root.handlers]

        def in_force():
            [slot] = engine.downloader.slots.values()
            return (
                [handler.level for handler in handlers], engine.downloader.total_concurrency,
                slot.concurrency, slot.delay, exchange.buffers.prefetch, exchange.interval,
            )  # fmt: skip

        await until(lambda: engine.downloader.slots, "the first request")
        before = in_force()
        for name, value in {
            "LOG_LEVEL": "error", "CONCURRENT_REQUESTS": "4", "DOWNLOAD_DELAY": "0.01",
            "CONCURRENT_REQUESTS_PER_DOMAIN": "1", "CRAWLO_PREFETCH": "3",
            "CRAWLO_EXCHANGE_INTERVAL": "0.05",
        }.items():  # fmt: skip
            await control.set("a", name, value)
        await control.scale("a", 2)
        await control.scale("a", 1, "n1")
        expected = ([logging.ERROR] * len(handlers), 1, 1, 0.01, 3, 0.05)
        await until(lambda: in_force() == expected, "all that was set")
        await control.scale("a", None, "n1")
        await until(lambda: engine.downloader.total_concurrency == 2, "that of all nodes")
        await control.set("a", "CONCURRENT_REQUESTS", None)
        await until(lambda: engine.downloader.total_concurrency == 5, "what `set` takes back")
        for name in CHANGEABLE:
            await control.set("a", name, None)
        await until(lambda: in_force() == before, "its own settings again")
        assert await control.read() == {}
        site.open_gate()
        assert await steered.crawling == "finished"


async def test_a_slots_share_that_was_all_stays_all(redis_url, project, site):
    async with Steered(redis_url, project, site, CRAWLO_PREFETCH=1) as steered:
        downloader = steered.crawler.engine.downloader

        def limits():
            return downloader.total_concurrency, downloader.domain_concurrency

        for count in (5, 1, 9):
            await steered.control.scale("a", count)
            await until(lambda count=count: limits() == (count, count), "both")
            # A worker that leased nothing would not come back to life.
            assert steered.crawler.engine._slot.scheduler.exchange.buffers.prefetch >= 1
        await steered.control.scale("a", None)
        await until(lambda: limits() == (2, 2), "its own again")
        site.open_gate()
        assert await steered.crawling == "finished"


async def test_a_change_after_a_rollback_is_noticed(redis_url, project, site):
    async with Steered(redis_url, project, site) as steered:
        server, keys, control = steered.peek.redis, steered.peek.keys, steered.control
        downloader = steered.crawler.engine.downloader
        await control.scale("a", 3)
        await until(lambda: downloader.total_concurrency == 3, "the first change")
        before = {key: server.dump(key) for key in (keys.meta, keys.control, keys.audit)}
        heard = server.hget(keys.meta, "news")
        await control.scale("a", 5)
        await until(lambda: downloader.total_concurrency == 5, "the one to be forgotten")
        # Redis forgets it, and knows another before any worker asks: nothing else runs here.
        forgotten = server.hget(keys.meta, "news")
        for key, dumped in before.items():
            server.restore(key, 0, dumped, replace=True)
        call = Call("control_change", list(before), ["b", "scale", 9, "", "", "concurrency", "7"])
        server.execute_command(*call.command("EVAL", call.script.source))
        assert server.hget(keys.meta, "news") not in (heard, forgotten)
        await until(lambda: downloader.total_concurrency == 7, "the one that came after")
        site.open_gate()
        assert await steered.crawling == "finished"


async def test_audit_and_what_is_not_possible(redis_url, project, site):
    async with Steered(redis_url, project, site) as steered:
        control = steered.control
        await control.pause("ann@host")
        await control.delay("bob\nx", "a.example", 2.5)
        await control.resume("ann@host")
        notes = await control.audit()
        assert [(note.who, note.what) for note in notes] == [
            ("ann@host", "resume"), ("bob x", "delay a.example 2.5"), ("ann@host", "pause"),
        ]  # fmt: skip
        site.open_gate()
        assert await steered.crawling == "finished"
        with pytest.raises(NotPossible, match="the crawl is finished"):
            await control.pause("ann@host")
        nobody = Control(steered.client, Peek(redis_url, project, "nobody").keys)
        with pytest.raises(NotPossible, match="there is no such crawl"):
            await nobody.stop("ann@host")
        steered.peek.redis.rpush(steered.peek.keys.audit, *["1\na\nb"] * AUDIT_KEPT)
        await control.set("a", "X", "")
        assert len(await control.audit()) == AUDIT_KEPT
