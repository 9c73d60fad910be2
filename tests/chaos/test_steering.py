"""A crawl is paused, scaled, drained and stopped under load: nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.keys import Keys
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

PATIENCE = 120.0
PAGES = 1200

pytestmark = [pytest.mark.slow, pytest.mark.chaos]


@pytest.fixture
def site():
    with ChaosSite(PAGES, 0.02) as site:
        yield site


@pytest.mark.parametrize("seed", [1, 2])
def test_steering_under_load(redis_url: str, tmp_path: Path, site: ChaosSite, seed: int) -> None:
    chance = random.Random(seed)
    with Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet:
        keys = Keys(fleet.project, "chaos", "run")
        server = redis.Redis.from_url(redis_url)

        def steer(action: Callable[[Control], Awaitable[None]]) -> None:
            async def act() -> None:
                client = Client.connect(Address(url=redis_url))
                await action(Control(client, keys))
                await client.close()

            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, act()).result()

        def some_more() -> None:
            seen = len(fleet.items()) + chance.randrange(20, 60)
            wait_until(lambda: len(fleet.items()) >= seen, "some more pages", PATIENCE)

        def leased() -> int:
            return sum(server.hlen(key) for key in server.scan_iter(keys.leases_prefix + "*"))

        fleet.start(3)
        wait_until(lambda: server.zcard(keys.workers) == 3, "all have joined", PATIENCE)
        some_more()
        steer(lambda control: control.pause("test"))
        wait_until(lambda: not leased(), "nothing is in progress", PATIENCE)
        assert len(fleet.alive) == 3
        steer(lambda control: control.scale("test", chance.randrange(2, 20)))
        steer(lambda control: control.resume("test"))
        some_more()
        node = server.zrange(keys.workers, 0, 0)[0].decode()
        steer(lambda control: control.drain("test", node))
        wait_until(lambda: fleet.reasons() == {"drained": 1}, "one leaves", PATIENCE)
        some_more()
        steer(lambda control: control.stop("test"))
        wait_until(lambda: not fleet.alive, "the others leave", PATIENCE)
        assert fleet.reasons() == {"drained": 1, "stopped": 2}
        assert not leased()
        assert site.fetched_twice == 0
        fleet.start(3)
        # One that comes after the others have left would go on with the crawl.
        wait_until(lambda: server.zcard(keys.workers) == 3, "all have joined", PATIENCE)
        some_more()
        steer(lambda control: control.stop("test", now=True))
        wait_until(lambda: not fleet.alive, "all leave at once", PATIENCE)
        assert not leased()
        assert not server.zcard(keys.workers)
        fleet.start(2)
        wait_until(lambda: not fleet.alive, "the end", PATIENCE)
        assert fleet.reasons()["finished"] == 2
        assert len(fleet.items()) == PAGES
        assert fleet.errors() == []
