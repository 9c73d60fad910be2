"""What the exporter shows of crawls."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crawlo_scrapy.metrics import crawls as crawls_module
from crawlo_scrapy.metrics.crawls import Crawls, CrawlsCollector
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers
from tests.cli.conftest import Command, SomeCrawl, crawlo, do, push, some_crawl  # noqa: F401


async def scrape(crawls: Crawls) -> str:
    registry = CollectorRegistry()
    registry.register(CrawlsCollector(crawls, asyncio.get_running_loop(), {}))
    return (await asyncio.to_thread(generate_latest, registry)).decode()


@pytest.fixture
def keys(project):
    return Keys(project, "s")


async def join(client: Client, keys: Keys, worker: str = "w1") -> None:
    await Workers(client, keys).join(worker, {"host": "h"}, bucket_fill=400)


async def test_a_crawl(redis_url, keys):
    client = Client.connect(Address(url=redis_url))
    await join(client, keys)
    await join(client, keys, "w2")
    await client.call("zadd", keys.workers, {"w2": 1})
    await client.call("hset", keys.meta, mapping={"queued": 5, "leased": 2, "acked": 7, "seen": 9})
    await client.call("hset", keys.dead, "x", "y")
    await client.call("zadd", keys.delayed, {"r": 1})
    text = await scrape(Crawls(client, timeout=15, keys=keys))
    name = f'crawl="{keys.name}"'
    for line in (
        f"queued_requests{{{name}}} 5.0", f"leased_requests{{{name}}} 2.0",
        f"done_requests_total{{{name}}} 7.0", f"seen_urls{{{name}}} 9.0",
        f"dead_letters{{{name}}} 1.0", f"delayed_requests{{{name}}} 1.0", f"run{{{name}}} 1.0",
        f'workers{{{name},state="alive"}} 1.0', f'workers{{{name},state="silent"}} 1.0',
        f'state{{{name},state="running"}} 1.0', f'state{{{name},state="finished"}} 0.0',
    ):  # fmt: skip
        assert f"\ncrawlo_crawl_{line}\n" in text
    assert "finished_timestamp_seconds{" not in text
    assert "\ncrawlo_redis_up 1.0\n" in text
    await client.close()


async def test_crawls_are_searched_for_now_and_then(redis_url, project, monkeypatch):
    client = Client.connect(Address(url=redis_url))
    crawls = Crawls(client, timeout=15, project=project)
    assert await crawls.look() == []
    await join(client, Keys(project, "new"))
    await join(client, Keys(f"{project}x", "other"))
    assert await crawls.look() == []
    crawls._search_due = 0
    assert [state.name for state, _ in await crawls.look()] == [f"{project}:new"]
    # One that was purged meanwhile is no longer there.
    await client.call("delete", Keys(project, "new").meta)
    assert await crawls.look() == []
    await client.close()


async def test_redis_is_away(keys, caplog):
    client = Client.connect(Address(host="127.0.0.1", port=1))
    crawls = Crawls(client, timeout=15, keys=keys)
    for _ in range(2):
        text = await scrape(crawls)
        assert "\ncrawlo_redis_up 0.0\n" in text
        assert "crawlo_crawl_queued_requests{" not in text
    await client.close()


async def test_redis_is_slow(redis_url, keys, monkeypatch, caplog):
    monkeypatch.setattr(crawls_module, "PATIENCE", 0.0)
    client = Client.connect(Address(url=redis_url))
    assert "\ncrawlo_redis_up 0.0\n" in await scrape(Crawls(client, timeout=15, keys=keys))
    assert "Redis takes too long to answer" in caplog.text
    await client.close()


class TestCommand:
    def test_a_port_that_is_taken(self, crawlo: Command, redis_url, redis_server):  # noqa: F811
        taken = str(redis_server.port)
        done = crawlo("exporter", "--all", "--port", taken, "--redis-url", redis_url)
        assert done.returncode == 1
        assert done.stderr == (
            f"Error: cannot listen on 127.0.0.1, port {taken}: Address already in use. "
            "Choose others with --host and --port.\n"
        )

    def test_outside_a_project(self, crawlo: Command, tmp_path):  # noqa: F811
        done = crawlo("exporter", cwd=tmp_path)
        assert done.returncode == 1
        assert "name a crawl as PROJECT:SPIDER, or use --all" in done.stderr
