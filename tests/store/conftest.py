"""A crawl's store, without Scrapy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from crawlo_scrapy.store import seen
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Exchanged, Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers
from tests.aio import run_async
from tests.backends import address_of
from tests.store.background import Background


@dataclass
class Store:
    """All parts of one crawl's store."""

    client: Client
    keys: Keys
    frontier: Frontier
    workers: Workers
    dead_letters: DeadLetters

    async def join(self, worker_id: str = "w1", **options: Any) -> Membership:
        status, member = await self.workers.join(
            worker_id, {"host": "h"}, **{"bucket_fill": 400, **options}
        )
        assert status == "joined"
        assert isinstance(member, Membership)
        return member

    async def meta(self, name: str) -> str:
        value = await self.client.call("hget", self.keys.meta, name)
        return value.decode() if value is not None else ""

    async def reclaim(self, member: Membership, max_attempts: int = 5) -> tuple[int, int] | None:
        """Let *member* count as dead: its last beat lies before Redis's clock began."""
        await self.client.call("zadd", self.keys.workers, {member.worker_id: 0})
        return await self.frontier.reclaim(member.worker_id, timeout=1, max_attempts=max_attempts)


def push(name: str | int, mode: str = "f", priority: int = 0, slot: str = "a", **more: Any) -> Push:
    prefix, member = seen.split(str(name).encode())
    return Push(mode, prefix, member, slot, priority, str(name).encode(), **more)


def names(result: Exchanged) -> list[str]:
    return [lease.payload.decode() for lease in result.leases]


@pytest.fixture
def store(redis_url: str, project: str) -> Iterator[Store]:
    client = Client.connect(address_of(redis_url))
    keys = Keys(project, "s")
    yield Store(
        client, keys, Frontier(client, keys), Workers(client, keys), DeadLetters(client, keys)
    )
    run_async(client.close())


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    """Runs coroutines for tests that are plain functions, such as those of hypothesis."""
    background = Background()
    yield background
    background.close()
