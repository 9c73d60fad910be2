"""What the scheduler promises to the engine, to the spider, and to whoever reads the log."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from scrapy import Request, Spider, signals
from scrapy.exceptions import CloseSpider
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import free_port
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run, start, until, url_of
from tests.servers import default_redis


class S(Spider):
    """A spider whose tests say what its start requests and children are."""

    name = "s"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    def path(self, response):
        return response.url[len(self.site) :]

    async def start(self):
        yield Request(self.site + "/ok/start", dont_filter=True)

    def parse(self, response):
        self.crawled.append(self.path(response))
        if self.path(response) == "/ok/start":
            yield from self.children()

    def children(self):
        return []


ONE = {"CONCURRENT_REQUESTS": 1, "CRAWLO_PREFETCH": 1}


@pytest.mark.parametrize("order", ["fifo", "lifo"])
async def test_order(order, redis_url, project, site):
    class Ordered(S):
        def children(self):
            for number, priority in enumerate([0, 10, -5, 10, 0, 2**70]):
                yield Request(f"{self.site}/ok/{number}", priority=priority)

    settings = crawl_settings(redis_url, project, CRAWLO_QUEUE_ORDER=order, **ONE)
    crawler = await crawl(Ordered, settings, site=site.url)
    numbers = [path[-1] for path in crawler.spider.crawled[1:]]
    assert "".join(numbers) == ("513042" if order == "fifo" else "531402")


async def test_two_equal_requests_are_two(redis_url, project, site):
    class Equal(S):
        def children(self):
            return [Request(self.site + "/ok/same", dont_filter=True) for _ in range(5)]

    crawler = await crawl(Equal, crawl_settings(redis_url, project), site=site.url)
    assert crawler.spider.crawled.count("/ok/same") == 5


async def test_full_outbox_stops_hand_outs_until_there_is_room(redis_server, project, site):
    class Many(S):
        def children(self):
            self.crawler.signals.connect(self.arrived, signals.request_reached_downloader)
            self.proxy.hang()
            for number in range(30):
                yield Request(f"{self.site}/ok/{number}")
            asyncio.get_event_loop().create_task(self.look())

        def arrived(self, request):
            self.downloads.append(self.scheduler._exchange.buffers.waiting)

        @property
        def scheduler(self):
            return self.crawler.engine._slot.scheduler

        async def look(self):
            await until(lambda: self.scheduler._exchange.buffers.waiting == 30)
            assert self.scheduler._exchange.buffers.full
            self.refused = self.scheduler.next_request() is None
            self.proxy.restore()

    with DelayProxy(redis_server.port) as proxy:
        settings = crawl_settings(proxy.url, project, CRAWLO_OUTBOX_LIMIT=20)
        crawler = make_crawler(Many, settings)
        downloads = []
        assert await run(crawler, site=site.url, proxy=proxy, downloads=downloads) == "finished"
    assert crawler.spider.refused
    assert len(downloads) == 30
    assert max(downloads) < 20


async def test_start_requests_wait_for_room(redis_url, project, site):
    most = 0

    class Seeds(S):
        async def start(self):
            nonlocal most
            for number in range(100):
                yield Request(f"{self.site}/ok/{number}")
                exchange = self.crawler.engine._slot.scheduler._exchange
                most = max(most, exchange.buffers.waiting)

    settings = crawl_settings(redis_url, project, CRAWLO_OUTBOX_LIMIT=7)
    crawler = await crawl(Seeds, settings, site=site.url)
    assert len(crawler.spider.crawled) == 100
    assert most <= 7


class Lambdas(S):
    """Its children cannot leave the worker."""

    seen = 0

    def children(self):
        for number in range(3):
            yield Request(f"{self.site}/gate/{number}", callback=lambda r: self.local(r))
        yield Request(f"{self.site}/gate/0", callback=lambda r: self.local(r))

    def local(self, response):
        self.crawled.append(self.path(response))
        yield Request(f"{self.site}/ok/after", callback=self.parse)


async def test_requests_that_cannot_be_serialised(redis_url, project, site, caplog):
    crawler = make_crawler(Lambdas, crawl_settings(redis_url, project))
    peek = Peek(redis_url, project, "s")
    running = start(run(crawler, site=site.url))
    await until(lambda: site.hits.total() == 4, "all of them at the site")
    exchanges = crawler.stats.get_value("crawlo/exchanges")
    await until(lambda: crawler.stats.get_value("crawlo/exchanges") > exchanges + 2)
    assert peek.leased() == [site.url + "/ok/start"], "the parent is not acked before them"
    assert peek.after_death() == [site.url + "/ok/start"]
    assert peek.number("acked") == 0
    site.open_gate()
    assert await running == "finished"
    crawled = ["/gate/0", "/gate/1", "/gate/2", "/ok/after", "/ok/start"]
    assert sorted(crawler.spider.crawled) == crawled
    assert crawler.stats.get_value("scheduler/unserializable") == 3
    assert caplog.text.count("cannot leave this worker") <= 3
    again = await crawl(Lambdas, crawl_settings(redis_url, project), site=site.url)
    assert again.spider.crawled == ["/ok/start"], "local requests are recorded as seen"


async def test_start_request_that_cannot_be_serialised_survives_a_death(redis_url, project, site):
    class LocalSeed(S):
        async def start(self):
            yield Request(self.site + "/gate/0", callback=lambda r: self.crawled.append(r.url))

    crawler = make_crawler(LocalSeed, crawl_settings(redis_url, project))
    running = start(run(crawler, site=site.url))
    await until(lambda: site.hits, "it at the site")
    exchanges = crawler.stats.get_value("crawlo/exchanges")
    await until(lambda: crawler.stats.get_value("crawlo/exchanges") > exchanges + 2)
    assert Peek(redis_url, project, "s").meta("seeding") == "", "another would seed it again"
    site.open_gate()
    assert await running == "finished"
    assert len(crawler.spider.crawled) == 1


async def test_crawlspider_requests_travel(redis_url, project, site):
    class Rules(CrawlSpider):
        name = "rules"
        rules = (Rule(LinkExtractor(), callback="parse_item", process_links="links"),)

        async def start(self):
            yield Request(self.site + "/ok/start", dont_filter=True)

        def links(self, links):
            return links

        def parse_item(self, response):
            return {"text": response.meta["link_text"], "rule": response.meta["rule"]}

    class WithLink:
        def process_response(self, request, response, spider=None):
            return response.replace(body=b"<a href='/ok/child'>text</a>")

    items = []
    settings = crawl_settings(redis_url, project, DOWNLOADER_MIDDLEWARES={WithLink: 950})
    crawler = make_crawler(Rules, settings)
    crawler.signals.connect(lambda item: items.append(item), signals.item_scraped, weak=False)
    assert await run(crawler, site=site.url) == "finished"
    assert items == [{"text": "text", "rule": 0}]
    assert not crawler.stats.get_value("scheduler/unserializable")


async def test_dead_letters(redis_url, project, site, caplog):
    class Broken(S):
        def children(self):
            yield Request(self.site + "/ok/gone", callback=self.gone)
            yield Request(self.site + "/ok/fine")

        def gone(self, response):
            raise AssertionError("not reached")

    settings, peek = crawl_settings(redis_url, project, **ONE), Peek(redis_url, project, "s")

    class Breaking(Broken):
        def parse(self, response):
            yield from self.children()
            raise CloseSpider("enough")

    await crawl(Breaking, settings, site=site.url)
    queue = peek.keys.queue("127.0.0.1", "0")
    payloads = {url_of(e[1:]): e for e in peek.redis.lrange(queue, 0, -1)}
    gone = payloads[site.url + "/ok/gone"]
    peek.redis.lset(queue, peek.redis.lpos(queue, gone), gone.replace(b"\xa4gone", b"\xa4went"))
    peek.redis.rpush(queue, b"\0\xc1broken")
    crawler = await crawl(Broken, settings, site=site.url)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert crawler.spider.crawled[-1] == "/ok/fine"
    letters = {letter.reason: letter for letter in await peek.dead_letters()}
    assert set(letters) == {"callback", "decode"}
    assert "has no callback 'went'" in letters["callback"].error
    assert letters["decode"].payload == b"\xc1broken"
    assert url_of(letters["callback"].payload) == site.url + "/ok/gone"
    assert crawler.stats.get_value("crawlo/dead_letters/decode") == 1
    assert "has no callback 'went'" in caplog.text
    assert peek.leased() == []


class Picky:
    """A fingerprinter that does not like some requests."""

    def fingerprint(self, request):
        if "bad" in request.url:
            raise LookupError("for the test")
        return request.url.encode()


@pytest.mark.parametrize("bad", ["/ok/bad", "/[bad"])
async def test_fingerprinter_that_raises(bad, redis_url, project, site):
    url = site.url + bad

    class Bad(S):
        async def start(self):
            yield Request(url)
            yield Request(self.site + "/ok/start", dont_filter=True)

        def children(self):
            yield Request(url, meta={"s": lambda: 0})
            yield Request(self.site + "/ok/good")

    settings = crawl_settings(redis_url, project, REQUEST_FINGERPRINTER_CLASS=Picky)
    crawler = await crawl(Bad, settings, site=site.url)
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert crawler.spider.crawled == ["/ok/start", "/ok/good"]
    letters = await Peek(redis_url, project, "s").dead_letters()
    assert [letter.reason for letter in letters] == ["fingerprint"] * 2
    assert {url_of(letter.payload) for letter in letters} == {Request(url).url}
    assert "LookupError: for the test" in letters[0].error


async def test_child_that_becomes_a_dead_letter_is_kept_before_its_parent_is_acked(
    redis_url, project, site, monkeypatch
):
    from crawlo_scrapy.membership import Registration

    class Bad(S):
        def children(self):
            yield Request(self.site + "/ok/bad")

    peek, acked = Peek(redis_url, project, "s"), []
    bury = Registration.bury

    async def watched(self, *args):
        acked.append(peek.number("acked"))
        await bury(self, *args)

    monkeypatch.setattr(Registration, "bury", watched)
    settings = crawl_settings(redis_url, project, REQUEST_FINGERPRINTER_CLASS=Picky)
    await crawl(Bad, settings, site=site.url)
    assert acked == [0]


@pytest.mark.parametrize("wrong", ["down", "password", "url"])
async def test_redis_that_cannot_be_used(wrong, project, site, caplog):
    secret = "top-secret"
    with LocalRedis(binary=default_redis(), password="another") as server:
        url = {
            "down": f"redis://:{secret}@127.0.0.1:{free_port()}/0",
            "password": f"redis://:{secret}@127.0.0.1:{server.port}/0",
            "url": f"http://:{secret}@127.0.0.1/",
        }[wrong]
        with caplog.at_level(logging.DEBUG):
            crawler = await crawl(S, crawl_settings(url, project), site=site.url)
    stats = crawler.stats.get_stats()
    assert stats["finish_reason"] == "redis_unavailable"
    said = {"down": "cannot be reached", "password": "refuses the login", "url": "not a valid"}
    assert said[wrong] in caplog.text
    assert "Traceback" not in caplog.text
    assert secret not in caplog.text
    assert site.hits.total() == 0
    assert [r.levelname for r in caplog.records if r.name.startswith("crawlo")] == ["ERROR"]


async def test_idle_worker_touches_no_network_when_asked(redis_url, project, site, monkeypatch):
    """What the engine calls is memory: it works on a socket that cannot be used."""
    looked = []

    class Asked(S):
        def children(self):
            scheduler = self.crawler.engine._slot.scheduler
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "send", None)
                patch.setattr(socket.socket, "recv", None)
                looked.append(scheduler.has_pending_requests())
                looked.append(scheduler.next_request())
                looked.append(scheduler.enqueue_request(Request(self.site + "/ok/1")))
                looked.append(scheduler.enqueue_request(Request(self.site + "/ok/1")))
            return []

    crawler = await crawl(Asked, crawl_settings(redis_url, project), site=site.url)
    assert looked[2:] == [True, False]
    assert crawler.spider.crawled == ["/ok/start", "/ok/1"]
