"""When a request is acked: never before all that it produced is safe, and then soon.

Every case runs a real crawl. Right before the end of its request, in the last code of the
project's that runs, the crawl in Redis is copied and all its workers are declared dead there:
the request must be queued again. Right after its ack the same is done: it must not, and its
children must.
"""

from __future__ import annotations

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider, DropItem, IgnoreRequest
from scrapy.utils.defer import maybe_deferred_to_future

from tests.crawling import Peek, crawl, crawl_settings, until
from tests.site import Site


class ProbeMiddleware:
    """Gives a case the word when its download ends; nearest to the downloader."""

    def __init__(self, crawler):
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def process_request(self, request, spider=None):
        return await self._ask("on_request", request)

    async def process_response(self, request, response, spider=None):
        return await self._ask("on_response", request, response) or response

    async def process_exception(self, request, exception, spider=None):
        return await self._ask("on_exception", request, exception)

    async def _ask(self, name, request, *rest):
        case = self.crawler.spider
        if request.url != case.target or case.ended or not hasattr(case, name):
            return None
        return await getattr(case, name)(request, *rest)


class ProbePipeline:
    """Gives a case the word while its item is under way."""

    def __init__(self, crawler):
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def process_item(self, item, spider=None):
        if hasattr(self.crawler.spider, "on_item"):
            await self.crawler.spider.on_item(item)
        return item


class Case(Spider):
    """One way to end. `children` are paths that must be safe at the moment of the ack."""

    name = "acks"
    path = "/ok/case"
    children = ()
    with_errback = False
    probes = 1

    def __init__(self, site, peek, **kwargs):
        super().__init__(site=site, peek=peek, **kwargs)
        self.target = site + self.path
        self.before = []
        self.after = None
        self.ended = False

    async def start(self):
        yield Request(
            self.target, callback=self.case, errback=self.failed if self.with_errback else None
        )
        yield Request(self.site + "/ok/witness", callback=self.witness, priority=-1)

    def check(self):
        self.lease_ids = self.peek.lease_ids(self.target)
        self.before.append(self.peek.after_death().count(self.target))

    async def probe(self):
        """Note what a death would mean now, after two more exchanges."""
        stats = self.crawler.stats
        due = stats.get_value("crawlo/exchanges", 0) + 2
        await until(lambda: stats.get_value("crawlo/exchanges") >= due, "two exchanges")
        self.check()
        self.ended = len(self.before) == self.probes

    async def witness(self, response):
        await until(lambda: self.ended, "the end of the request")
        await until(lambda: not self.lease_ids & self.peek.lease_ids(self.target), "its ack")
        self.after = self.peek.after_death()

    async def child(self, response):
        await until(lambda: self.after is not None, "the witness")

    def request(self, path, **kwargs):
        return Request(self.site + path, callback=self.child, **kwargs)

    async def case(self, response):
        """What most cases have: a callback that is not even called, or plays no part."""
        await self.child(response)

    def failed(self, failure):
        raise AssertionError("not in this case")


class PlainCallback(Case):
    children = ("/ok/a", "/ok/b")

    def case(self, response):
        yield self.request("/ok/a")
        self.check()
        yield self.request("/ok/b")
        self.ended = True


class AsyncCallback(Case):
    async def case(self, response):
        await self.probe()


class LateChildren(Case):
    children = ("/ok/a", "/ok/b")
    probes = 2

    async def case(self, response):
        yield self.request("/ok/a")
        await self.probe()
        yield self.request("/ok/b")
        await self.probe()


class SlowPipeline(Case):
    def case(self, response):
        yield {"a": 1}

    async def on_item(self, item):
        await self.probe()


class DroppedItem(SlowPipeline):
    async def on_item(self, item):
        await self.probe()
        raise DropItem("for the test")


class FailingPipeline(SlowPipeline):
    async def on_item(self, item):
        await self.probe()
        raise RuntimeError("for the test")


class PipelineThatDownloads(SlowPipeline):
    async def on_item(self, item):
        await download(self.crawler, Request(self.site + "/ok/image"))
        await self.probe()


class Redirect(Case):
    path = "/redirect/case"
    children = ("/ok/case",)

    async def on_response(self, request, response):
        await self.probe()


class Retry(Case):
    path = "/flaky/case"
    children = ("/flaky/case",)

    async def on_response(self, request, response):
        await self.probe()


class IgnoredRequest(Case):
    async def on_request(self, request):
        await self.probe()
        raise IgnoreRequest("for the test")


class IgnoredResponse(Case):
    async def on_response(self, request, response):
        await self.probe()
        raise IgnoreRequest("for the test")


class RequestFromMiddleware(Case):
    children = ("/ok/instead",)

    async def on_response(self, request, response):
        await self.probe()
        return self.request("/ok/instead")


class RequestInsteadOfDownload(RequestFromMiddleware):
    async def on_request(self, request):
        await self.probe()
        return self.request("/ok/instead")


class DownloadError(Case):
    path = "/broken/case"

    async def on_exception(self, request, exception):
        await self.probe()


class ErrbackThatYields(Case):
    path = "/broken/case"
    with_errback = True
    children = ("/ok/a",)

    async def failed(self, failure):
        await self.probe()
        yield self.request("/ok/a")


class CallbackThatRaises(Case):
    children = ("/ok/a",)

    async def case(self, response):
        yield self.request("/ok/a")
        await self.probe()
        raise RuntimeError("for the test")


class HttpErrorFiltered(Case):
    path = "/missing/case"

    async def on_response(self, request, response):
        await self.probe()


class DownloadInCallback(Case):
    async def case(self, response):
        await download(self.crawler, Request(self.site + "/ok/image"))
        await self.probe()


class DownloadOfItselfInCallback(Case):
    async def case(self, response):
        await download(self.crawler, response.request)
        await self.probe()


class EngineCrawl(Case):
    children = ("/ok/a",)

    async def case(self, response):
        self.crawler.engine.crawl(self.request("/ok/a"))
        await self.probe()


class CloseFromCallback(Case):
    async def case(self, response):
        await self.probe()
        raise CloseSpider("enough")


class CopiedMeta(Case):
    children = ("/ok/a",)

    async def case(self, response):
        await self.probe()
        yield self.request("/ok/a", meta=response.meta)


class ReplacedRequest(Case):
    children = ("/ok/a",)

    async def case(self, response):
        await self.probe()
        yield response.request.replace(url=self.site + "/ok/a", callback=self.child)


class SameAgain(Case):
    children = ("/ok/case",)

    async def case(self, response):
        await self.probe()
        yield response.request.replace(dont_filter=True, callback=self.child)


class SameObjectAgain(Case):
    """The very Request object that was handed out is scheduled once more."""

    children = ("/ok/case",)

    async def case(self, response):
        await self.probe()
        again = response.request
        again.dont_filter, again.callback = True, self.child
        yield again


async def download(crawler, request):
    engine = crawler.engine
    if hasattr(engine, "download_async"):
        return await engine.download_async(request)
    return await maybe_deferred_to_future(engine.download(request))  # Scrapy 2.13


CASES = [
    PlainCallback, AsyncCallback, LateChildren, SlowPipeline, DroppedItem, FailingPipeline,
    PipelineThatDownloads, Redirect, Retry, IgnoredRequest, IgnoredResponse,
    RequestFromMiddleware, RequestInsteadOfDownload, DownloadError, ErrbackThatYields,
    CallbackThatRaises, HttpErrorFiltered, DownloadInCallback, DownloadOfItselfInCallback,
    EngineCrawl, CloseFromCallback, CopiedMeta, ReplacedRequest, SameAgain, SameObjectAgain,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_ack(case: type[Case], redis_url: str, project: str, site: Site) -> None:
    settings = crawl_settings(
        redis_url,
        project,
        DOWNLOADER_MIDDLEWARES={ProbeMiddleware: 950},
        ITEM_PIPELINES={ProbePipeline: 1},
    )
    peek = Peek(redis_url, project, case.name)
    crawler = await crawl(case, settings, site=site.url, peek=peek)
    spider = crawler.spider
    assert spider.before == [1] * case.probes, "a death right before the ack loses it"
    expected = [site.url + path for path in case.children]
    assert sorted(set(spider.after) - {site.url + "/ok/witness"}) == sorted(expected)
    assert len(spider.after) == len(expected) + 1, "a death right after the ack repeats it"
    assert peek.leased() == []
    if crawler.stats.get_value("finish_reason") == "finished":
        assert peek.meta("state") == "finished"
        assert peek.number("acked") == peek.number("pushed") == 2 + len(expected)
