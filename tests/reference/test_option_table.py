"""Every row of the document's option table, by what it does in a crawl."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
import redis
from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider
from scrapy.settings import Settings

from crawlo_scrapy.config import CrawloConfig
from crawlo_scrapy.connection import fixed_connections
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.pipelines.redis_stream import crawl_items
from tests.crawling import Peek, crawl, make_crawler, start, until
from tests.reference.document import option_rows
from tests.servers import default_redis

FIXED = fixed_connections(Settings())

PASSWORD = "your_password"
ROWS = {name: default for name, _, default in option_rows()}


@pytest.fixture
def own_redis() -> Iterator[LocalRedis]:
    """A Redis that nobody else is connected to, with a password."""
    with LocalRedis(binary=default_redis(), password=PASSWORD) as server:
        yield server


class Pages(Spider):
    """A start page and *pages* more. *look* is called in each callback."""

    name = "pages"
    look: Callable[[], object] = staticmethod(lambda: None)
    items = 0

    async def start(self):
        yield Request(self.site + "/ok/start")

    def parse(self, response):
        self.look()
        if response.url.endswith("start"):
            for n in range(self.pages):
                yield Request(f"{self.site}/ok/{n}")
        for n in range(self.items):
            yield {"url": response.url, "n": n}


class Stopping(Pages):
    """Stops with requests in the queue."""

    name = "stopping"

    def parse(self, response):
        yield from super().parse(response)
        raise CloseSpider("enough")


async def run(server: LocalRedis, site, project: str, spider=Pages, arguments=None, **options):
    """Crawl with the document's `CrawloConfig.distributed`, and return the crawler."""
    config = CrawloConfig.distributed(
        **{
            "redis_host": "127.0.0.1",
            "redis_port": server.port,
            "redis_password": PASSWORD,
            "project_name": project,
            "download_delay": 0,
            "TELNETCONSOLE_ENABLED": False,
            "CRAWLO_EXCHANGE_INTERVAL": 0.02,
            "CRAWLO_HEARTBEAT_INTERVAL": 0.05,
            **options,
        }
    )
    arguments = {"site": site.url, "pages": 5, **(arguments or {})}
    return await crawl(spider, config.to_dict(), **arguments)


def keys_of(server: LocalRedis, db: int = 0) -> list[bytes]:
    with redis.Redis(port=server.port, password=PASSWORD, db=db) as client:
        return sorted(client.scan_iter())


def reason(crawler) -> str:
    return crawler.stats.get_value("finish_reason")


async def test_redis_host(own_redis, site, project, monkeypatch):
    """The crawl is where REDIS_HOST says, found by its name."""
    asked = []
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        asked.append(host)
        here = "127.0.0.1" if host == "redis-service" else host
        return real(here, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    crawler = await run(own_redis, site, project, redis_host="redis-service")
    assert reason(crawler) == "finished"
    assert "redis-service" in asked
    assert keys_of(own_redis)


async def test_redis_host_where_nobody_is(own_redis, site, project, caplog):
    crawler = await run(own_redis, site, project, redis_host="127.0.0.9")
    assert reason(crawler) == "redis_unavailable"
    [line] = [r.message for r in caplog.records if r.name == "crawlo_scrapy.scheduler"]
    assert f"127.0.0.9:{own_redis.port}" in line and "REDIS_HOST" in line
    assert not site.hits and not keys_of(own_redis)


async def test_redis_port(own_redis, redis_server, site, project):
    """Of two servers on a host, the one on that port has the crawl."""
    await run(own_redis, site, project)
    assert keys_of(own_redis)
    with redis.Redis.from_url(redis_server.url) as other:
        assert not list(other.scan_iter(f"*{project}*"))


@pytest.mark.parametrize("password", ["wr0ng", None])
async def test_redis_password(own_redis, site, project, caplog, password):
    crawler = await run(own_redis, site, project, redis_password=password)
    assert reason(crawler) == "redis_unavailable"
    [line] = [r.message for r in caplog.records if r.name == "crawlo_scrapy.scheduler"]
    assert "REDIS_PASSWORD" in line and f":{own_redis.port}" in line
    assert "wr0ng" not in caplog.text
    assert not site.hits
    # With the right one, the same crawl is done.
    assert reason(await run(own_redis, site, project)) == "finished"
    assert len(site.hits) == 6


async def test_redis_db(own_redis, site, project):
    await run(own_redis, site, project, redis_db=3)
    assert keys_of(own_redis, 3)
    assert [db for db in range(16) if keys_of(own_redis, db)] == [3]
    # Another database is another crawl: its pages are not seen there.
    await run(own_redis, site, project, redis_db=4)
    assert set(site.hits.values()) == {2}


@pytest.fixture
def connected(own_redis) -> Iterator[Callable[[], int]]:
    """How many connections the server has, but for the one that asks."""
    with redis.Redis(port=own_redis.port, password=PASSWORD) as client:
        yield lambda: len(client.client_list()) - 1


async def test_redis_connection_pool_size(own_redis, site, project, connected):
    """A worker never has more connections, with all that it can have at work."""
    seen = []
    crawler = await run(
        own_redis,
        site,
        project,
        arguments={"pages": 60, "items": 20, "look": lambda: seen.append(connected())},
        redis_connection_pool_size=FIXED + 2,
        CRAWLO_ITEM_CONCURRENT_WRITES=8,
        CRAWLO_ITEM_BATCH_INTERVAL=0.0,
        CRAWLO_ITEM_BATCH_SIZE=1,
        CONCURRENT_ITEMS=100,
        PIPELINES=[
            "crawlo_scrapy.pipelines.RedisDedupPipeline",
            "crawlo_scrapy.pipelines.RedisStreamPipeline",
        ],
    )
    assert crawler.stats.get_value("item_scraped_count") == 61 * 20
    assert 2 < max(seen) <= FIXED + 2


@pytest.mark.parametrize(
    ("size", "each"),
    [(1, 1), (FIXED + 5, 2), (FIXED + 16, 8)],
)
async def test_what_the_pool_leaves_for_a_pipeline(own_redis, project, connected, size, each):
    """However much a pipeline asks at once: the rest waits for a connection, and fails not."""
    config = CrawloConfig.distributed(
        redis_port=own_redis.port, redis_password=PASSWORD, redis_connection_pool_size=size
    )
    client = crawl_items(make_crawler(Pages, config.to_dict())).client
    waiting = [start(client.call("blpop", project, 0)) for _ in range(10)]
    await until(lambda: connected() == each, "all connections are in use")
    with redis.Redis(port=own_redis.port, password=PASSWORD) as other:
        other.rpush(project, *range(10))
    await asyncio.gather(*waiting)
    assert connected() == each
    await client.close()


@pytest.mark.parametrize("keep", [True, False])
async def test_scheduler_persist(own_redis, site, project, keep):
    """False: nothing of a finished crawl is left, and the next one fetches everything."""
    await run(own_redis, site, project, SCHEDULER_PERSIST=keep)
    assert bool(keys_of(own_redis)) == keep
    await run(own_redis, site, project, SCHEDULER_PERSIST=keep)
    # Where the crawl is kept, this process, older than its end, comes too late for it.
    again = {path for path, hits in site.hits.items() if hits == 2}
    assert again == (set() if keep else set(site.hits))


async def test_scheduler_persist_false_keeps_an_interrupted_crawl(own_redis, site, project):
    await run(own_redis, site, project, Stopping, SCHEDULER_PERSIST=False)
    assert keys_of(own_redis)


@pytest.mark.parametrize("keep", [True, False])
async def test_queue_persistence(own_redis, site, project, keep):
    """False: what was seen stays and what was queued goes (see test_queue_persistence.py)."""
    await run(own_redis, site, project, Stopping, QUEUE_PERSISTENCE=keep)
    url = f"redis://:{PASSWORD}@127.0.0.1:{own_redis.port}/0"
    peek = Peek(url, project, "stopping")
    assert len(peek.queued()) == (5 if keep else 0)
    assert peek.number("seen") == 6
    peek.redis.close()


@pytest.mark.parametrize("keep", [True, False])
async def test_stats_persistence(own_redis, site, project, keep):
    """False: the crawl's stats go with its last worker; the crawl itself stays."""
    await run(own_redis, site, project, STATS_PERSISTENCE=keep)
    keys = keys_of(own_redis)
    assert any(b":stats" in key for key in keys) == keep
    assert any(b":seen" in key for key in keys)


def test_every_row_has_its_test():
    tests = {name for name in globals() if name.startswith("test_")}
    assert [name for name in ROWS if f"test_{name.lower()}" not in tests] == []


def test_the_tables_defaults_are_ours():
    from crawlo_scrapy.settings import SETTINGS

    assert {name: SETTINGS[name].default for name in ROWS} == ROWS
