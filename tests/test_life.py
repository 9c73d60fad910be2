"""The life of a crawl: from the first worker that joins to the last that leaves."""

from __future__ import annotations

import asyncio
import logging

import pytest
from scrapy import Request, Spider, signals
from scrapy.exceptions import DontCloseSpider, DropItem

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.workers import Workers
from tests.backends import address_of
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, stop, until


class Pages(Spider):
    """Crawls `/ok/0` and two more."""

    name = "pages"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled, self.starts = [], 0

    async def start(self):
        self.starts += 1
        yield Request(self.site + "/ok/0", dont_filter=True)

    async def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])
        for number in (1, 2):
            yield Request(f"{self.site}/ok/{number}")


class Waiting(Pages):
    """Its only page comes when the site's gate is opened."""

    async def start(self):
        self.starts += 1
        yield Request(self.site + "/gate/0", dont_filter=True)

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])


def reason(crawler):
    return crawler.stats.get_value("finish_reason")


async def foreign_worker(redis_url, project, spider="pages", worker="foreign", age=0.0):
    """A worker that joins and then says no more."""
    client = Client.connect(address_of(redis_url))
    workers = Workers(client, Peek(redis_url, project, spider).keys)
    return client, await workers.join(worker, {"node": worker}, bucket_fill=400, process_age=age)


async def test_crawl_is_kept_and_the_next_run_keeps_what_was_seen(redis_url, project, site):
    settings, peek = crawl_settings(redis_url, project), Peek(redis_url, project, "pages")
    first = await crawl(Pages, settings, site=site.url)
    assert reason(first) == "finished"
    assert sorted(first.spider.crawled) == ["/ok/0", "/ok/1", "/ok/2"]
    assert (peek.meta("state"), peek.meta("run")) == ("finished", "1")
    second = await crawl(Pages, settings, site=site.url)
    assert reason(second) == "finished"
    assert second.spider.crawled == ["/ok/0"], "start requests again, seen pages not"
    assert peek.meta("run") == "2"


async def test_not_persistent_crawl_leaves_no_key(redis_url, project, site):
    settings = crawl_settings(redis_url, project, SCHEDULER_PERSIST=False)
    for _ in range(2):
        crawler = await crawl(Pages, settings, site=site.url)
        assert len(crawler.spider.crawled) == 3
        assert Peek(redis_url, project, "pages").all_keys() == []


async def test_not_persistent_crawl_that_is_interrupted_is_kept(redis_url, project, site):
    settings = crawl_settings(redis_url, project, SCHEDULER_PERSIST=False, CLOSESPIDER_ITEMCOUNT=1)

    class Items(Pages):
        async def parse(self, response):
            yield Request(self.site + "/ok/later", priority=-1)
            yield {"url": response.url}
            await asyncio.Event().wait() if response.url.endswith("later") else None

    crawler = make_crawler(Items, {**settings, "CONCURRENT_REQUESTS": 1})
    assert await run(crawler, site=site.url) == "closespider_itemcount"
    peek = Peek(redis_url, project, "pages")
    assert peek.meta("state") == "running"
    assert peek.queued() == [site.url + "/ok/later"]


async def test_purge_waits_for_the_last_worker(redis_url, project, site):
    settings = crawl_settings(redis_url, project, SCHEDULER_PERSIST=False)
    client, (_, member) = await foreign_worker(redis_url, project)
    crawler = await crawl(Pages, settings, site=site.url)
    peek = Peek(redis_url, project, "pages")
    assert reason(crawler) == "finished"
    assert peek.meta("state") == "finished"
    left = await Workers(client, peek.keys).leave(member, "finished", keep_crawl=False)
    assert left == ("purge", 0)
    await client.close()


async def test_flush_on_start(redis_url, project, site):
    settings = crawl_settings(redis_url, project, SCHEDULER_FLUSH_ON_START=True)
    neighbour = Peek(redis_url, project, "pages2")
    neighbour.redis.set(neighbour.keys.meta, "not ours")
    for _ in range(2):
        crawler = await crawl(Pages, settings, site=site.url)
        assert len(crawler.spider.crawled) == 3
    assert neighbour.redis.get(neighbour.keys.meta) == b"not ours"


async def test_flush_is_refused_while_others_live(redis_url, project, site, caplog):
    client, _ = await foreign_worker(redis_url, project)
    settings = crawl_settings(redis_url, project, SCHEDULER_FLUSH_ON_START=True)
    crawler = await crawl(Pages, settings, site=site.url)
    assert reason(crawler) == "redis_unavailable"
    assert "1 worker(s) live in it (foreign)" in caplog.text
    assert site.hits.total() == 0
    assert Peek(redis_url, project, "pages").meta("state") == "running"
    await client.close()


async def test_named_crawl_that_is_finished(redis_url, project, site, caplog):
    settings = crawl_settings(redis_url, project, CRAWLO_CRAWL_ID="monday")
    await crawl(Pages, settings, site=site.url)
    site.hits.clear()
    with caplog.at_level(logging.INFO, "crawlo_scrapy"):
        again = await crawl(Pages, settings, site=site.url)
    assert reason(again) == "finished"
    assert site.hits.total() == again.spider.starts == 0
    assert f"{project}:pages:monday is finished; this worker has nothing to do" in caplog.text
    other = crawl_settings(redis_url, project, CRAWLO_CRAWL_ID="tuesday")
    assert len((await crawl(Pages, other, site=site.url)).spider.crawled) == 3


async def test_late_starter_has_no_part_in_a_finished_crawl(redis_url, project, site):
    await crawl(Pages, crawl_settings(redis_url, project), site=site.url)
    client, (status, _) = await foreign_worker(redis_url, project, age=3600)
    assert status == "finished"
    client2, (status, _) = await foreign_worker(redis_url, project, age=0)
    assert status == "joined"
    await client.close()
    await client2.close()


async def test_worker_that_died_after_the_end_does_not_bar_the_next_run(redis_url, project, site):
    settings = crawl_settings(redis_url, project, CRAWLO_WORKER_TIMEOUT=15)
    client, _ = await foreign_worker(redis_url, project)
    await crawl(Pages, settings, site=site.url)
    peek = Peek(redis_url, project, "pages")
    peek.redis.zadd(peek.keys.workers, {"foreign": 1})  # silent since 1970
    again = await crawl(Pages, settings, site=site.url)
    assert again.spider.crawled == ["/ok/0"]
    await client.close()


async def test_two_workers_share_a_crawl_and_seed_once(redis_url, project, site):
    settings = crawl_settings(redis_url, project)
    crawlers = [make_crawler(Waiting, settings) for _ in range(2)]
    runs = [start(run(crawler, site=site.url)) for crawler in crawlers]
    await until(lambda: site.hits, "a request")
    site.open_gate()
    assert await asyncio.gather(*runs) == ["finished", "finished"]
    assert site.hits == {"/gate/0": 1}


async def test_same_node_id_twice_is_two_workers(redis_url, project, site):
    settings = crawl_settings(redis_url, project, CRAWLO_NODE_ID="node")
    crawlers = [make_crawler(Waiting, settings) for _ in range(2)]
    runs = [start(run(crawlers[0], site=site.url))]
    await until(lambda: site.hits, "a request")
    runs.append(start(run(crawlers[1], site=site.url)))
    peek = Peek(redis_url, project, "pages")
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the second worker")
    assert peek.leased() == [site.url + "/gate/0"]
    site.open_gate()
    assert await asyncio.gather(*runs) == ["finished", "finished"]
    assert site.hits == {"/gate/0": 1}


async def test_role_worker_never_seeds(redis_url, project, site):
    helper = make_crawler(Waiting, crawl_settings(redis_url, project, CRAWLO_ROLE="worker"))
    helping = start(run(helper, site=site.url))
    peek = Peek(redis_url, project, "pages")
    await until(lambda: peek.meta("state") == "running", "the crawl")
    site.open_gate()
    control = await crawl(
        Waiting, crawl_settings(redis_url, project, CRAWLO_ROLE="control"), site=site.url
    )
    assert await helping == reason(control) == "finished"
    assert (helper.spider.starts, control.spider.starts) == (0, 1)
    assert site.hits == {"/gate/0": 1}


async def test_seeding_every(redis_url, project, site):
    settings = crawl_settings(redis_url, project, CRAWLO_SEEDING="every")
    crawlers = [make_crawler(Waiting, settings) for _ in range(2)]
    runs = [start(run(crawler, site=site.url)) for crawler in crawlers]
    await until(lambda: site.hits["/gate/0"] == 2, "both requests")
    site.open_gate()
    assert await asyncio.gather(*runs) == ["finished", "finished"]


async def test_items_from_start(redis_url, project, site):
    through = []

    class Slow:
        async def process_item(self, item, spider=None):
            await asyncio.sleep(0.05)
            through.append(Peek(redis_url, project, "pages").meta("seeding"))
            if item["n"] == 1:
                raise DropItem("for the test")
            if item["n"] == 2:
                raise ValueError("for the test")
            return item

    class Items(Pages):
        async def start(self):
            for n in range(4):
                yield {"n": n}

    crawler = await crawl(Items, crawl_settings(redis_url, project, ITEM_PIPELINES={Slow: 1}))
    assert reason(crawler) == "finished"
    assert through == [""] * 4, "seeding is not over while an item may still be lost"
    assert Peek(redis_url, project, "pages").meta("seeding") == "done"


async def test_start_that_raises(redis_url, project, site, caplog):
    class Failing(Pages):
        broken = True

        async def start(self):
            yield Request(self.site + "/ok/0", dont_filter=True)
            if self.broken:
                raise RuntimeError("for the test")
            yield Request(self.site + "/ok/9", dont_filter=True)

    settings = crawl_settings(redis_url, project)
    crawler = await crawl(Failing, settings, site=site.url)
    assert reason(crawler) in ("finished", "start_error")  # the latter since Scrapy 2.19
    assert sorted(crawler.spider.crawled) == ["/ok/0", "/ok/1", "/ok/2"]
    assert "start() failed, so that some start requests may be missing" in caplog.text
    assert Peek(redis_url, project, "pages").meta("seeding") == "failed"
    again = await crawl(Failing, settings, site=site.url, broken=False)
    assert sorted(again.spider.crawled) == ["/ok/0", "/ok/9"]


async def test_spider_that_feeds_itself_when_idle(redis_url, project, site):
    class Fed(Pages):
        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            spider = super().from_crawler(crawler, *args, **kwargs)
            spider.left = ["/ok/x", "/ok/y", "/ok/z"]
            crawler.signals.connect(spider.feed, signals.spider_idle)
            return spider

        def feed(self):
            if self.left:
                self.crawler.engine.crawl(Request(self.site + self.left.pop(0)))

    crawler = await crawl(Fed, crawl_settings(redis_url, project), site=site.url)
    assert reason(crawler) == "finished"
    assert len(crawler.spider.crawled) == 6


class Held(Pages):
    """Stays until its user lets it go, and crawls what he feeds meanwhile."""

    open = True

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.hold, signals.spider_idle)
        return spider

    def hold(self):
        if self.open:
            raise DontCloseSpider


async def some_worker_stays(peek):
    """Return once a worker has said that it holds the crawl open."""
    workers = peek.keys.worker_prefix + "*"
    await until(
        lambda: any(peek.redis.hget(k, "open") == b"1" for k in peek.redis.scan_iter(workers)),
        "a worker says that it stays",
    )


async def test_worker_that_is_held_open_holds_the_crawl_open(redis_url, project, site):
    peek, settings = Peek(redis_url, project, "pages"), crawl_settings(redis_url, project)
    first, second = make_crawler(Held, settings), make_crawler(Held, settings)
    holding = start(run(first, site=site.url))
    await some_worker_stays(peek)
    assert peek.meta("state") == "running"
    # A newcomer is not sent away, and what it is fed reaches the crawl.
    joining = start(run(second, site=site.url))
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the second worker")
    await until(lambda: second.engine.running and second.engine._start is None, "its start")
    first.spider.open = False
    second.engine.crawl(Request(site.url + "/ok/fed"))
    await until(lambda: peek.number("acked") == 4, "what was fed")
    second.spider.open = False
    assert [await holding, await joining] == ["finished", "finished"]
    assert peek.meta("state") == "finished"


async def test_other_workers_stay_with_one_that_is_held_open(redis_url, project, site):
    peek, settings = Peek(redis_url, project, "pages"), crawl_settings(redis_url, project)
    held, plain = make_crawler(Held, settings), make_crawler(Pages, settings)
    holding = start(run(held, site=site.url))
    await some_worker_stays(peek)
    staying = start(run(plain, site=site.url))
    await until(lambda: peek.redis.zcard(peek.keys.workers) == 2, "the second worker")
    for path in ("/ok/fed1", "/ok/fed2"):
        held.engine.crawl(Request(site.url + path))
    await until(lambda: peek.number("acked") == 5, "what was fed")
    assert not staying.done()
    await stop(held)
    assert [await holding, await staying] == ["shutdown", "finished"]


async def test_two_spiders_in_one_process(redis_url, project, site):
    class Others(Pages):
        name = "others"

    settings = crawl_settings(redis_url, project)
    crawlers = [make_crawler(Pages, settings), make_crawler(Others, settings)]
    await asyncio.gather(*(run(crawler, site=site.url) for crawler in crawlers))
    assert [len(crawler.spider.crawled) for crawler in crawlers] == [3, 3]
    for name in ("pages", "others"):
        assert Peek(redis_url, project, name).number("acked") == 3


async def test_stopped_crawl_is_resumed(redis_url, project, site):
    settings = crawl_settings(redis_url, project)
    crawler = make_crawler(Waiting, settings)
    running = start(run(crawler, site=site.url))
    await until(lambda: site.hits, "a request")
    crawler.engine.crawl(Request(site.url + "/ok/later"))
    site.open_gate()
    await stop(crawler)
    assert await running == "shutdown"
    peek = Peek(redis_url, project, "pages")
    assert peek.leased() == []
    assert peek.redis.zcard(peek.keys.workers) == 0
    left = set(peek.queued())
    again = await crawl(Waiting, settings, site=site.url)
    assert again.spider.starts == 0
    assert {site.url + path for path in again.spider.crawled} == left
    assert site.url + "/ok/later" in left


async def test_closing_worker_gives_back_at_once_what_it_has_not_started(redis_url, project, site):
    class Many(Waiting):
        async def start(self):
            for number in range(5):
                yield Request(f"{self.site}/gate/{number}")

    peek = Peek(redis_url, project, "pages")
    crawler = make_crawler(Many, crawl_settings(redis_url, project, CONCURRENT_REQUESTS=1))
    running = start(run(crawler, site=site.url))
    await until(lambda: site.hits and len(peek.leased()) == 5, "one in progress, four prefetched")
    stopping = start(stop(crawler))
    await until(lambda: len(peek.queued()) == 4, "four are given back")
    assert len(peek.leased()) == 1
    site.open_gate()
    await stopping
    assert await running == "shutdown"
    assert len(peek.queued()) == 4
    assert peek.leased() == []


async def test_who_comes_late_gets_a_part_of_what_others_have_prefetched(redis_url, project, site):
    class Many(Waiting):
        async def start(self):
            for number in range(24):
                yield Request(f"{self.site}/gate/{number}")

    peek = Peek(redis_url, project, "pages")
    settings = crawl_settings(redis_url, project, CONCURRENT_REQUESTS=2, CRAWLO_PREFETCH=50)
    first = make_crawler(Many, {**settings, "CRAWLO_NODE_ID": "first"})
    crawling = start(run(first, site=site.url))
    await until(lambda: len(peek.leased()) == 24, "it has taken all")
    second = make_crawler(Many, {**settings, "CRAWLO_NODE_ID": "second"})
    joining = start(run(second, site=site.url))
    await until(lambda: peek.redis.hlen(peek.keys.leases("second")) > 2, "the other gets some")
    site.open_gate()
    assert [await crawling, await joining] == ["finished", "finished"]
    assert len(first.spider.crawled) + len(second.spider.crawled) == 24


async def test_purge_takes_exactly_the_crawls_own_keys(redis_url, project, site):
    await crawl(Pages, crawl_settings(redis_url, project), site=site.url)
    peek, other = Peek(redis_url, project, "pages"), Peek(redis_url, project, "pages*")
    other.redis.hset(other.keys.meta, "state", "running")
    client = Client.connect(address_of(redis_url))
    await Frontier(client, other.keys).purge()
    assert peek.all_keys() and not other.all_keys()
    await Frontier(client, peek.keys).purge()
    assert peek.all_keys() == []
    await client.close()


@pytest.mark.parametrize("value", ["every ", "once"])
async def test_setting_that_does_not_parse(value, redis_url, project, site, caplog):
    settings = crawl_settings(redis_url, project, CRAWLO_SEEDING=value)
    crawler = await crawl(Pages, settings, site=site.url)
    assert reason(crawler) == ("finished" if value == "once" else "invalid_setting")
    assert ("must be one of once, every" in caplog.text) == (value != "once")
