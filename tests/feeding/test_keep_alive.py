"""Workers that stay when there is nothing to do."""

from __future__ import annotations

from tests.crawling import Peek, crawl_settings, make_crawler, run, start, until
from tests.feeding.test_client import Fed, client

__all__ = ["client"]

SHORT = {"CRAWLO_KEEP_ALIVE": True, "DISTRIBUTED_WORKER_IDLE_TIMEOUT": 1.0}


async def test_stays_for_what_is_pushed(redis_url, project, site, client):
    crawler = make_crawler(Fed, crawl_settings(redis_url, project, CRAWLO_KEEP_ALIVE=True))
    crawling = start(run(crawler, site=site.url))
    for number in range(3):
        done = number + 1
        await until(lambda n=done: crawler.spider and len(crawler.spider.crawled) == n, "a page")
        await until(lambda: client.status().leased == 0, "it is acked")
        assert client.status().state == "running"
        client.push([f"{site.url}/ok/{number}"])
    await until(lambda: len(crawler.spider.crawled) == 4, "the last one")
    client.stop(reason="enough")
    assert await crawling == "enough"
    assert client.status().state == "running", "stopped is not finished"


async def test_leaves_after_a_while_without_work(redis_url, project, site, client):
    settings = crawl_settings(redis_url, project, **SHORT)
    crawlers = [make_crawler(Fed, settings) for _ in range(2)]
    crawling = [start(run(crawler, site=site.url)) for crawler in crawlers]
    assert [await one for one in crawling] == ["idle_timeout"] * 2
    state = client.status()
    assert (state.state, state.acked) == ("finished", 1)
    # Started again it begins anew, with what was seen.
    again = make_crawler(Fed, settings)
    assert await run(again, site=site.url) == "idle_timeout"
    assert client.status().run == 2


async def test_one_that_stays_keeps_others(redis_url, project, site, client):
    staying = make_crawler(Fed, crawl_settings(redis_url, project, CRAWLO_KEEP_ALIVE=True))
    other = make_crawler(Fed, crawl_settings(redis_url, project))
    peek = Peek(redis_url, project, "fed")
    tasks = [start(run(crawler, site=site.url)) for crawler in (staying, other)]
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2 and peek.number("acked"), "both")
    client.push([f"{site.url}/ok/more"])
    await until(lambda: peek.number("acked") == 2, "it is crawled")
    client.stop()
    assert [await task for task in tasks] == ["stopped"] * 2
