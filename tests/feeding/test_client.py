"""Programs that feed a crawl."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.client import AsyncCrawlClient, CrawlClient, InvalidRequest, StoreRefused
from crawlo_scrapy.payload import PlainRequest, fingerprint, push_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreUnavailable
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.values import Codec
from tests.backends import address_of
from tests.crawling import Peek, crawl, crawl_settings


class Fed(Spider):
    name = "fed"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.crawled = []

    async def start(self):
        yield Request(f"{self.site}/ok/start")

    def parse(self, response):
        self.crawled.append(response.url[len(self.site) :])

    def other(self, response, word):
        self.crawled.append(word)


class EverySpider(Fed):
    custom_settings = {"CRAWLO_SEEDING": "every"}


@pytest.fixture
def client(redis_url, project):
    with CrawlClient(project, "fed", redis_url=address_of(redis_url), patience=1) as client:
        yield client


def test_a_fresh_interpreter_imports_no_scrapy():
    code = (
        "import sys; from crawlo_scrapy.client import CrawlClient\n"
        "c = CrawlClient('p', 's', redis_url='redis://127.0.0.1:1', patience=0)\n"
        "from crawlo_scrapy.payload import *\n"
        "r = PlainRequest.read({'url': 'http://h/', 'meta': {'a': (1, {2})}}, {})\n"
        "push_of(r, Codec(), fingerprint(r)); c.close()\n"
        "assert not {'scrapy', 'twisted', 'itemadapter'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_in_a_process_that_was_forked(redis_url, project):
    code = (
        "import os, sys; from crawlo_scrapy.client import CrawlClient\n"
        "from tests.backends import address_of\n"
        "c = CrawlClient(sys.argv[1], 'fed', redis_url=address_of(sys.argv[2]))\n"
        "c.push(['http://h/1'])\n"
        "if not (child := os.fork()):\n"
        "    with c:\n"
        "        os._exit(c.push(['http://h/1', 'http://h/2']).queued)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1\n"
        "assert c.push(['http://h/3']).queued == 1\n"
        "c.close()\n"
        "try: c.status()\n"
        "except RuntimeError as exc: assert 'closed' in str(exc)"
    )
    words = [sys.executable, "-c", code, project, redis_url]
    subprocess.run(words, check=True, timeout=60, cwd=Path(__file__).parents[2])


async def test_a_crawl_begun_by_a_push(redis_url, project, site, client):
    assert not client.status().exists
    extra = {"url": f"{site.url}/ok/2", "callback": "other", "cb_kwargs": {"word": "hello"}}
    pushed = client.push([f"{site.url}/ok/1", extra, f"{site.url}/ok/1"])
    assert vars(pushed) == {"queued": 2, "duplicates": 1, "invalid": 0}
    state = client.status()
    assert (state.state, state.queued, state.run, state.seeding) == ("running", 2, 1, "")
    crawler = await crawl(Fed, crawl_settings(redis_url, project), site=site.url)
    assert sorted(crawler.spider.crawled) == ["/ok/1", "/ok/start", "hello"]
    state = client.status()
    assert (state.state, state.run, state.seeding) == ("finished", 1, "done")


async def test_each_worker_seeds_a_crawl_begun_by_a_push(redis_url, project, site, client):
    client.push([f"{site.url}/ok/1"])
    crawler = await crawl(EverySpider, crawl_settings(redis_url, project), site=site.url)
    assert sorted(crawler.spider.crawled) == ["/ok/1", "/ok/start"]
    assert client.status().state == "finished"


async def test_a_finished_crawl_is_opened_again(redis_url, project, site, client):
    settings = crawl_settings(redis_url, project)
    await crawl(Fed, settings, site=site.url)
    assert client.push([f"{site.url}/ok/start"]).duplicates == 1, "what workers saw counts"
    assert client.status().state == "finished"
    client.push([f"{site.url}/ok/more"])
    assert client.status().state == "running"
    crawler = await crawl(Fed, settings, site=site.url)
    assert crawler.spider.crawled == ["/ok/more"], "it is the same run: seeded already"


async def test_async(redis_url, project):
    async with AsyncCrawlClient(project, "fed", redis_url=address_of(redis_url)) as client:
        await client.push(["http://h/1"], priority=5)
        assert (await client.status()).by_priority == [(5, 1)]
        assert await client.dead_letters() == 0
        await client.pause()
        assert (await client.status()).state == "paused"
        await client.resume()
        await client.stop(reason="enough")
        assert (await client.status()).state == "stopping"


def test_what_is_no_request(client):
    with pytest.raises(InvalidRequest, match=r"request 1: .*no scheme"):
        client.push(["http://h/1", "h/2"])
    told = []
    pushed = client.push(["h/2", "http://h/3"], on_invalid=lambda *what: told.append(what))
    assert (pushed.queued, pushed.invalid, told[0][0]) == (1, 1, 0)
    with pytest.raises(InvalidRequest, match="a list"):
        client.push("http://h/4")
    with pytest.raises(InvalidRequest, match="did you mean 'priority'"):
        client.push(["http://h/5"], priorty=5, on_invalid=lambda *what: None)


def test_many_batches_of_an_iterator(client):
    sums = []
    pushed = client.push(
        (f"http://h{n % 3}/{n}" for n in range(2500)),
        on_batch=lambda pushed: sums.append(pushed.queued),
    )
    assert (pushed.queued, sums) == (2500, [1000, 2000, 2500])
    assert client.push([f"http://h{n % 3}/{n}" for n in range(2500)]).duplicates == 2500


async def test_a_lost_answer_doubles_nothing(redis_url, project):
    peek = Peek(redis_url, project, "fed")
    client = Client.connect(address_of(redis_url))
    request = PlainRequest.read({"url": "http://h/1", "dont_filter": True}, {})
    push = push_of(request, Codec(), fingerprint(request))
    feed = Feed(client, peek.keys)
    first = await feed.push([push, push._replace(mode="f")])
    feed._number -= 1
    assert await feed.push([push, push._replace(mode="f")]) == first
    assert (first.queued, first.duplicates, peek.number("queued")) == (1, [1], 1)
    await feed.push([push])
    assert peek.number("queued") == 2, "the next batch is another one"
    assert 0 < peek.redis.ttl(peek.keys.feed(feed._name)) <= 3600
    await Frontier(client, peek.keys).purge()
    assert peek.all_keys() == []
    await client.close()


async def test_an_answer_lost_on_the_way(redis_url, project, monkeypatch):
    client = AsyncCrawlClient(project, "fed", redis_url=address_of(redis_url))
    push, lost = Feed.push, []

    async def loses_the_first_answer(feed, batch):
        number = feed._number
        fed = await push(feed, batch)
        if not lost:
            lost.append(fed)
            feed._number = number
            raise StoreUnavailable("gone")
        return fed

    monkeypatch.setattr(Feed, "push", loses_the_first_answer)
    assert (await client.push(["http://h/1"], dont_filter=True)).queued == 1
    assert (await client.status()).queued == 1
    await client.close()


def test_redis_that_stays_away():
    away = CrawlClient("p", "s", redis_url="redis://127.0.0.1:1", patience=0.2)
    with away as client, pytest.raises(StoreUnavailable):
        client.push(["http://h/1"])


def test_other_formats_are_refused(redis_url, project, client):
    peek = Peek(redis_url, project, "fed")
    peek.redis.hset(peek.keys.meta, mapping={"format": "99", "state": "running"})
    with pytest.raises(StoreRefused, match="format 99"):
        client.push(["http://h/1"])
    peek.redis.hset(peek.keys.meta, mapping={"format": "1", "state": "purging"})
    with pytest.raises(StoreRefused, match="being purged"):
        client.push(["http://h/1"])
