"""The dupefilter, with our scheduler and with Scrapy's own."""

from __future__ import annotations

import logging

import pytest
from scrapy import Request, Spider, signals
from scrapy.utils.request import RequestFingerprinter

from crawlo_scrapy.dupefilter import RecentSet, RedisDupeFilter
from tests.crawling import Peek, crawl, crawl_settings, make_crawler, run

OWN_SCHEDULER = {"SCHEDULER": "scrapy.core.scheduler.Scheduler", "SPIDER_MIDDLEWARES": {}}
LOGGER = "crawlo_scrapy.dupefilter"


class Links(Spider):
    """A page that leads to `links`."""

    name = "links"
    meta = {}
    custom_settings = {"CRAWLO_LOCAL_CACHE_SIZE": 4}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        yield Request(self.site + "/ok/start", dont_filter=True)

    async def parse(self, response):
        if response.url.endswith("/start"):
            for link in self.links:
                yield Request(self.site + link, meta=dict(self.meta))
        else:
            self.crawled.append(response.url[len(self.site) :])


class ByLastPart:
    """A fingerprinter for which only the last part of the path counts."""

    def fingerprint(self, request):
        return request.url.rpartition("/")[2].encode()


async def test_recent_set():
    recent = RecentSet(6)
    for number in range(4):
        recent.add(number)
    assert all(number in recent for number in range(4))
    for number in range(4, 100):
        recent.add(number)
        assert 0 in recent, "what is asked for stays"
        assert number in recent
        assert len(recent._young) + len(recent._old) <= 6
    assert 4 not in recent
    recent.clear()
    assert 0 not in recent
    tiny = RecentSet(0)
    tiny.add(1)
    tiny.add(2)
    assert 2 in tiny


@pytest.mark.parametrize("own", [{}, OWN_SCHEDULER], ids=["ours", "scrapy"])
@pytest.mark.parametrize("debug", [False, True])
async def test_duplicates(own, debug, redis_url, project, site, caplog):
    links = [*[f"/ok/{n}" for n in range(9)], "/ok/0", "/ok/8", "/ok/8#f", "/ok/1?b=2&a=1",
             "/ok/1?a=1&b=2"]  # fmt: skip
    settings = crawl_settings(redis_url, project, **own, DUPEFILTER_DEBUG=debug)
    crawler = make_crawler(Links, settings)
    dropped = []
    with caplog.at_level(logging.DEBUG, LOGGER):
        crawler.signals.connect(lambda request: dropped.append(request.url),
                                signals.request_dropped, weak=False)  # fmt: skip
        await run(crawler, site=site.url, links=links)
    assert len(crawler.spider.crawled) == len(set(crawler.spider.crawled)) == 10
    assert crawler.stats.get_value("dupefilter/filtered") == 4
    assert len(dropped) == 4
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(told) == (4 if debug else 1)
    if debug:
        assert f"(referer: {site.url}/ok/start)" in told[0]
    else:
        assert "see DUPEFILTER_DEBUG" in told[0]
    assert Peek(redis_url, project, "links").number("seen") == (10 if own else 11)


@pytest.mark.parametrize("own", [{}, OWN_SCHEDULER], ids=["ours", "scrapy"])
async def test_two_crawls_share_what_was_seen(own, redis_url, project, site):
    settings = crawl_settings(redis_url, project, **own)
    first = await crawl(Links, settings, site=site.url, links=["/ok/1", "/ok/2"])
    second = await crawl(Links, settings, site=site.url, links=["/ok/2", "/ok/3"])
    assert sorted(first.spider.crawled) == ["/ok/1", "/ok/2"]
    assert second.spider.crawled == ["/ok/3"]


@pytest.mark.parametrize("own", [{}, OWN_SCHEDULER], ids=["ours", "scrapy"])
async def test_fingerprinter_of_the_project(own, redis_url, project, site):
    settings = crawl_settings(redis_url, project, **own, REQUEST_FINGERPRINTER_CLASS=ByLastPart)
    crawler = await crawl(Links, settings, site=site.url, links=["/ok/a/1", "/ok/b/1", "/ok/2"])
    assert len(crawler.spider.crawled) == 2


def make_filter(redis_url, project, **more):
    crawler = make_crawler(Links, crawl_settings(redis_url, project, **more))
    if not hasattr(crawler, "_request_fingerprinter"):  # Scrapy 2.13 .. sets it when it starts
        crawler.request_fingerprinter = None
    crawler.request_fingerprinter = RequestFingerprinter(crawler)
    return RedisDupeFilter.from_crawler(crawler)


async def test_url_stands_for_the_fingerprint_only_where_it_may(redis_url, project):
    dupefilter = make_filter(redis_url, project)
    plain = Request("http://a/?b=1")
    assert dupefilter.local_key(plain) == plain.url
    for request in (
        Request("http://a/", method="POST"),
        Request("http://a/", body=b"x"),
        Request("http://a/", meta={"verbatim_url": True}),
    ):
        assert dupefilter.local_key(request) == dupefilter.fingerprint(request)


async def test_two_posts_to_one_url_are_two(redis_url, project, site):
    class Posts(Links):
        async def parse(self, response):
            if response.url.endswith("/start"):
                for body in (b"1", b"2", b"1"):
                    yield Request(self.site + "/ok/p", method="POST", body=body)
            else:
                self.crawled.append(response.request.body)

    crawler = await crawl(Posts, crawl_settings(redis_url, project), site=site.url)
    assert sorted(crawler.spider.crawled) == [b"1", b"2"]


async def test_dont_filter_means_do_not_filter_not_do_not_record(redis_url, project, site):
    class Again(Links):
        async def parse(self, response):
            self.crawled.append(response.url[len(self.site) :])
            if response.url.endswith("/start"):
                yield Request(self.site + "/ok/1", dont_filter=True)
                yield Request(self.site + "/ok/1", dont_filter=True)
                yield Request(self.site + "/ok/1")

    crawler = await crawl(Again, crawl_settings(redis_url, project), site=site.url)
    assert crawler.spider.crawled == ["/ok/start", "/ok/1", "/ok/1"]
    assert crawler.stats.get_value("dupefilter/filtered") == 1


async def test_dupefilter_of_the_project(redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, DUPEFILTER_CLASS="scrapy.dupefilters.RFPDupeFilter"
    )
    links = ["/ok/1", "/ok/1", "/ok/2"]
    crawler = await crawl(Links, settings, site=site.url, links=links)
    assert sorted(crawler.spider.crawled) == ["/ok/1", "/ok/2"]
    assert crawler.stats.get_value("dupefilter/filtered") == 1


async def test_a_filter_of_scrapy_redis_is_told(redis_url, project, caplog):
    scrapy_redis = pytest.importorskip("scrapy_redis.dupefilter")

    class Own(scrapy_redis.RFPDupeFilter):
        @classmethod
        def from_crawler(cls, crawler):
            return cls(None, "key")

        def close(self, reason=""):
            pass

    await crawl(
        Links, crawl_settings(redis_url, project, DUPEFILTER_CLASS=Own), site="data:,", links=[]
    )
    assert "Own is made for scrapy-redis's scheduler" in caplog.text
