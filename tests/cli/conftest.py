"""The command as users start it, and crawls for it to look at."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ormsgpack
import pytest

from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers

T = TypeVar("T")
Command = Callable[..., "subprocess.CompletedProcess[str]"]
EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"
TIMEOUT = 120


@pytest.fixture
def crawlo() -> Command:
    """Run crawlo-scrapy to its end, in the example project unless *cwd* says otherwise."""

    def run(
        *words: str, cwd: Path = EXAMPLE, typed: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS_"))}
        return subprocess.run(
            [sys.executable, "-B", "-c", "from crawlo_scrapy.cli import main; main()", *words],
            cwd=cwd,
            env={**env, **variables},
            input=typed,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    return run


def do(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end, in a thread: this one's event loop is the reactor's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def push(url: str, *, slot: str = "a.test", priority: int = 0, number: int = 1) -> Push:
    return Push("n", 0, number, slot, priority, ormsgpack.packb({"u": url}))


@dataclass
class SomeCrawl:
    """A crawl of the example project's spider that a test has made up."""

    url: str
    keys: Keys

    @property
    def words(self) -> list[str]:
        return ["--redis-url", self.url, "--crawl-id", self.keys.name.rpartition(":")[2]]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = Client.connect(Address(url=self.url))
        try:
            yield client
        finally:
            await client.close()

    async def add(self, worker: str, pushes: list[Push], lease: int = 0) -> Membership:
        """Let a worker of that name push and lease."""
        async with self.client() as client:
            record = {"host": "h", "pid": 7, "role": "auto"}
            _, member = await Workers(client, self.keys).join(worker, record, bucket_fill=400)
            assert isinstance(member, Membership)
            frontier = Frontier(client, self.keys)
            await frontier.exchange(member, pushes)
            if lease:
                await frontier.exchange(member, limit=lease)
            return member

    async def bury(self, member: Membership, *letters: tuple[str, str, str]) -> None:
        """Make dead letters of (id, reason, URL)."""
        async with self.client() as client:
            dead = DeadLetters(client, self.keys)
            for letter_id, reason, url in letters:
                await dead.bury_request(member, letter_id, push(url), reason, "why")

    async def call(self, method: str, *args: Any) -> Any:
        async with self.client() as client:
            return await client.call(method, *args)

    async def leave(self, member: Membership) -> None:
        async with self.client() as client:
            await Workers(client, self.keys).leave(member, "finished", keep_crawl=True)


@pytest.fixture
def some_crawl(redis_url: str, project: str) -> Iterator[SomeCrawl]:
    crawl = SomeCrawl(redis_url, Keys("shop", "shop", project))
    yield crawl

    async def remove() -> None:
        async with crawl.client() as client:
            await Frontier(client, crawl.keys).purge(items=True)

    do(remove())
