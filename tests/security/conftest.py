"""A crawl with something of everything, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.address import Address
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.scripts import Call
from tests.security.operations import Crawl, Snapshot, made
from tests.store.background import Background


@dataclass
class Bench:
    """A crawl, how it was built, and calls of all scripts that fit it."""

    crawl: Crawl
    snapshot: Snapshot
    calls: dict[str, list[Call]]
    run: Background

    async def kinds(self) -> dict[bytes, bytes]:
        """Return the types of the crawl's keys, by name."""
        await self.snapshot.restore()
        names = await self.snapshot.names()
        types = await self.crawl.client.send([("TYPE", name) for name in names])
        return dict(zip(names, types, strict=True))


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    """Runs coroutines for hypothesis, whose tests are plain functions."""
    background = Background()
    yield background
    background.close()


@pytest.fixture(scope="module")
def bench(redis_server: LocalRedis, background: Background) -> Iterator[Bench]:
    client = Client.connect(Address(url=redis_server.url))
    crawl = background(made(client))
    snapshot = Snapshot(crawl)
    background(snapshot.take())
    calls = background(crawl.calls())
    yield Bench(crawl, snapshot, calls, background)
    background(snapshot.restore())
    background(Frontier(client, crawl.keys).purge(items=True))
    background(client.close())
