"""What the pages are made of."""

from __future__ import annotations

import pytest

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.dashboard import reader as reader_module
from crawlo_scrapy.dashboard.reader import Reader
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.values import Codec
from tests.dashboard.conftest import client_of
from tests.servers import RedisCluster


async def test_lists_a_bounded_number(
    redis_url: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MOST_CRAWLS", 2)
    async with client_of(redis_url) as client:
        for number in range(3):
            await SimulatedCrawl(client, Keys(project, f"s{number}"), nodes=1, hours=0.1).make()
        finished = {"state": "finished", "finished": 1}
        await client.call("hset", Keys(project, "s0").meta, mapping=finished)
        rows, count = await Reader(client, Codec(), timeout=15, project=project).crawls()
    assert [row.state.name for row in rows] == [f"{project}:s1", f"{project}:s2"]
    assert count == 3


async def test_remembers_between_samples(redis_url: str, project: str) -> None:
    async with client_of(redis_url) as client:
        crawl = SimulatedCrawl(client, Keys(project, "s"), nodes=1, hours=0.1)
        await crawl.make()
        reader = Reader(client, Codec(), timeout=15)
        first = await reader.crawl(crawl.keys.name)
        again = await reader.crawl(crawl.keys.name)
    # The run's beginning, its samples, what was seen before, and now.
    assert first.samples[0].time == crawl.members[0].created
    assert first.samples[-1] == first.now
    assert again.samples == [*first.samples, again.now]


@pytest.mark.slow
async def test_crawls_on_a_cluster() -> None:
    with RedisCluster() as cluster:
        nodes = tuple(f"127.0.0.1:{node.port}" for node in cluster.nodes)
        client = Client.connect(Address(cluster_nodes=nodes), connections=4)
        try:
            names = [f"p:s{number}" for number in range(4)]
            for name in names:
                await SimulatedCrawl(client, Keys(*name.split(":")), nodes=2, hours=0.2).make()
            reader = Reader(client, Codec(), timeout=15)
            rows, _ = await reader.crawls()
            assert [row.state.name for row in rows] == names
            for name in names:
                view = await reader.crawl(name)
                assert len(view.nodes) == 2
                assert len(view.letters.newest) == 200
                assert await reader.node_samples(view, view.nodes[0])
        finally:
            await client.close()
