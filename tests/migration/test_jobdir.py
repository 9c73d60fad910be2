"""A crawl that Scrapy paused, moved into a crawl."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import pytest
from queuelib.queue import FifoDiskQueue, FifoSQLiteQueue, LifoDiskQueue
from scrapy import Request, Spider

from crawlo_scrapy.migration.jobdir import MOVED, JobDirError, JobDirSource
from crawlo_scrapy.migration.move import Move
from crawlo_scrapy.migration.requests import scrapy_request
from crawlo_scrapy.payload import fingerprint, push_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.values import Codec
from tests.backends import address_of
from tests.crawling import Peek, crawl, url_of
from tests.migration.test_scrapy_redis_queue import moved


class Paused(Spider):
    """Finds 30 pages and stops after some."""

    name = "shop"

    def __init__(self, *args, site, **kwargs):
        super().__init__(*args, **kwargs)
        self.site, self.crawled = site, []
        self.start_urls = [f"{site}/ok/start"]

    def parse(self, response):
        self.crawled.append(response.url)
        for n in range(30):
            yield Request(f"{self.site}/ok/{n}", self.parse_product, priority=n % 3)

    def parse_product(self, response):
        self.crawled.append(response.url)


def words(some_crawl, folder, *more):
    return ["migrate", "jobdir", "shop", str(folder), *some_crawl.words, "--json", *more]


def read(entry):
    request = scrapy_request(entry)
    return push_of(request, Codec(), fingerprint(request))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"SCHEDULER_DISK_QUEUE": "scrapy.squeues.PickleFifoDiskQueue"},
        {"SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.ScrapyPriorityQueue"},
    ],
)
async def test_a_paused_crawl_goes_on(site, some_crawl, tmp_path, more):
    settings = {
        "JOBDIR": str(tmp_path), "CLOSESPIDER_PAGECOUNT": 9, "CONCURRENT_REQUESTS": 1,
        "TELNETCONSOLE_ENABLED": False, **more,
    }  # fmt: skip
    crawler = await crawl(Paused, settings, site=site.url)
    crawled = len(crawler.spider.crawled)
    client = Client.connect(address_of(some_crawl.url))
    for _ in range(2):
        source = JobDirSource(tmp_path)
        await source.open(some_crawl.keys.name)
        done = await Move(source, client, some_crawl.keys, read).run()
        source.close()
        if not _:
            assert done.entries == done.queued == 31 - crawled
            assert done.fingerprints == 30  # the start request is not filtered
    assert done.entries == 0
    assert not (tmp_path / "requests.queue").exists()
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    urls = [f"{site.url}/ok/{n}" for n in range(30)]
    assert Counter(peek.queued()) + Counter(crawler.spider.crawled[1:]) == Counter(urls)
    assert peek.number("seen") == 30
    await client.close()


def test_queues_as_the_command_finds_them(crawlo, some_crawl, tmp_path):
    queue = tmp_path / "requests.queue"
    hosts = [queue / "a.test-1", queue / "b.test-2"]
    for host in hosts:
        host.mkdir(parents=True)
    fifo = FifoDiskQueue(str(hosts[0] / "-1"), chunksize=3)
    lifo = LifoDiskQueue(str(hosts[1] / "0"))
    start = FifoSQLiteQueue(str(hosts[1] / "-1s"))
    for n in range(8):
        for name, one in (("fifo", fifo), ("lifo", lifo), ("start", start)):
            one.push(pickle.dumps({"url": f"http://{name}.test/{n}", "callback": "parse"}))
    lifo.push(b"damaged")
    for one in (fifo, lifo, start):
        one.close()
    (queue / "active.json").write_text(json.dumps({"a.test-1": [-1], "b.test-2": [0, -1]}))
    (tmp_path / "requests.seen").write_text("00" * 20 + "\n" + "ff" * 20 + "\n" + "ab")
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    tried = moved(crawlo(*words(some_crawl, tmp_path, "--dry-run")))
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before
    done = moved(crawlo(*words(some_crawl, tmp_path)))
    assert {**done, "dry_run": True} == tried
    assert (done["queued"], done["dead"], done["fingerprints"]) == (24, 1, 2)
    assert (tmp_path / MOVED).is_dir()
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    for name, order in (("fifo", range(8)), ("start", range(8)), ("lifo", range(7, -1, -1))):
        found = peek.redis.lrange(peek.keys.queue(f"{name}.test", "0"), 0, -1)
        assert [url_of(e[1:]) for e in found] == [f"http://{name}.test/{n}" for n in order]
    assert moved(crawlo(*words(some_crawl, tmp_path)))["entries"] == 0


async def test_a_folder_that_was_moved_before(tmp_path):
    for name in ("requests.queue.moved", "requests.queue.moved.2", "requests.queue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "active.json").write_text("{}")
    source = JobDirSource(tmp_path)
    await source.open("c")
    await source.finish()
    source.close()
    assert (tmp_path / "requests.queue.moved.3" / "active.json").exists()
    assert not (tmp_path / "requests.queue").exists()


def test_fingerprints_of_later_scrapys(tmp_path):
    prints = [b"\0" * 20, b"x", b"\n" * 30]
    data = b"".join(len(one).to_bytes(2, "big") + one for one in prints)
    (tmp_path / "requests.seen").write_bytes(data + b"\0\x14short")
    source = JobDirSource(tmp_path)
    source.id = "1"
    assert list(source._fingerprints()) == prints


@pytest.mark.parametrize(
    ("files", "message"),
    [([], "it is no JOBDIR"), (["requests.queue/x/0"], "the crawl was killed, or it still runs")],
)
async def test_no_paused_crawl(tmp_path, files, message):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    with pytest.raises(JobDirError, match=message):
        await JobDirSource(tmp_path).open("c")


def test_the_command_says_what_is_wrong(crawlo, some_crawl, tmp_path):
    done = crawlo(*words(some_crawl, tmp_path))
    assert done.returncode == 1
    assert "it is no JOBDIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1
