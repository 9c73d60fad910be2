"""The engine that we know, and one that we do not."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import scrapy
from scrapy import Spider

from crawlo_scrapy.engine import Engine, UnknownEngine
from tests.crawling import crawl, crawl_settings


def known_engine():
    slot = SimpleNamespace(
        inprogress=set(), nextcall=SimpleNamespace(schedule=lambda: None), closing=None
    )
    return SimpleNamespace(
        _slot=slot,
        scraper=SimpleNamespace(slot=None),
        downloader=SimpleNamespace(active=set(), slots={}, total_concurrency=16),
        needs_backout=lambda: False,
        _process_start_next=lambda: None,
        close_spider_async=lambda **kwargs: None,
        spider=None,
    )


def test_known_engine():
    engine = known_engine()
    Engine(SimpleNamespace(engine=engine)).check()
    assert not Engine(SimpleNamespace(engine=engine)).has("request")
    engine._slot.inprogress.add("request")
    assert Engine(SimpleNamespace(engine=engine)).has("request")


@pytest.mark.parametrize(
    "change",
    [
        lambda engine: delattr(engine, "_slot"),
        lambda engine: setattr(engine._slot, "inprogress", []),
        lambda engine: delattr(engine._slot, "inprogress"),
        lambda engine: delattr(engine._slot, "nextcall"),
        lambda engine: setattr(engine._slot, "nextcall", object()),
        lambda engine: delattr(engine, "scraper"),
        lambda engine: delattr(engine, "downloader"),
        lambda engine: delattr(engine.downloader, "slots"),
        lambda engine: delattr(engine, "needs_backout"),
        lambda engine: delattr(engine, "_process_start_next"),
        lambda engine: delattr(engine, "close_spider_async"),
    ],
)
def test_unknown_engine_is_refused(change):
    engine = known_engine()
    change(engine)
    with pytest.raises(UnknownEngine) as caught:
        Engine(SimpleNamespace(engine=engine)).check()
    assert f"the engine of Scrapy {scrapy.__version__}" in str(caught.value)
    assert "SimpleNamespace" in str(caught.value)
    assert "would lose pages" in str(caught.value)


async def test_crawl_with_an_unknown_engine_does_not_start(redis_url, project, monkeypatch, caplog):
    def refuse(engine):
        raise UnknownEngine("an engine that nobody knows")

    monkeypatch.setattr(Engine, "check", refuse)
    started = []

    class S(Spider):
        name = "s"

        async def start(self):
            started.append(1)
            yield {}

    crawler = await crawl(S, crawl_settings(redis_url, project))
    assert crawler.stats.get_value("finish_reason") == "unknown_engine"
    assert "an engine that nobody knows" in caplog.text
    assert "Traceback" not in caplog.text
    assert not started


def test_other_reactor_is_refused_with_one_line(redis_url, project):
    settings = crawl_settings(
        redis_url, project, TWISTED_REACTOR="twisted.internet.selectreactor.SelectReactor"
    )
    code = f"""if True:
        from scrapy import Spider
        from scrapy.crawler import CrawlerProcess
        class S(Spider):
            name = "s"
            start_urls = ["data:,x"]
            def parse(self, response):
                print("crawled")
        process = CrawlerProcess({settings!r})
        process.crawl(S)
        process.start()
        print("over")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.stdout == "over\n", done.stderr
    assert "Set TWISTED_REACTOR = " in done.stderr
    assert "asyncioreactor.AsyncioSelectorReactor" in done.stderr
    assert "Traceback" not in done.stderr
    assert "(wrong_reactor)" in done.stderr
