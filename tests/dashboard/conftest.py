"""Dashboards as users start them, and crawls that were made up for them to show."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys
from tests.aio import run_async
from tests.servers import default_redis

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-that-nobody-guesses"


@dataclass
class Answer:
    """What came back: `headers` by lower-case name, of cookies only the last."""

    status: int
    headers: dict[str, str]
    text: str


class Dashboard:
    """A process of ``crawlo-scrapy dashboard``, in a ``with`` block."""

    def __init__(
        self, redis_url: str, *words: str, cwd: Path = Path("/"), token: str | None = None
    ) -> None:
        self._words = ("dashboard", "--port", "0", "--redis-url", redis_url, *words)
        self._cwd = cwd
        self.token = token
        self.url = ""
        self.output = ""

    def __enter__(self) -> Self:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS_"))}
        if self.token:
            env["CRAWLO_DASHBOARD_TOKEN"] = self.token
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-c", code + "from crawlo_scrapy.cli import main; main()",
             *self._words],
            cwd=self._cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+(?=/ )", line)
        if found is None:
            self.stop()
            raise AssertionError(line + self.output)
        self.url = found[0]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process; `output` then holds what it said after its first line."""
        if self.process.stdout and not self.process.stdout.closed:
            self.process.terminate()
            self.output += self.process.stdout.read()
            self.process.wait()
            self.process.stdout.close()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> Answer:
        """Send one request; underscores in the names of *headers* are dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, received, text)

    def page(self, path: str) -> str:
        """Return a page that must be there."""
        answer = self.ask(path)
        assert answer.status == 200, answer.text
        return answer.text


@asynccontextmanager
async def client_of(redis_url: str) -> AsyncIterator[Client]:
    client = Client.connect(Address(url=redis_url))
    try:
        yield client
    finally:
        await client.close()


def simulate(redis_url: str, keys: Keys, **options: Any) -> SimulatedCrawl:
    """Write a crawl and return it; its client is closed."""
    options = {"nodes": 4, "hours": 0.5, **options}

    async def make() -> SimulatedCrawl:
        async with client_of(redis_url) as client:
            crawl = SimulatedCrawl(client, keys, **options)
            await crawl.make(queued=100, letters=8)
            return crawl

    return run_async(make())


@pytest.fixture(scope="session")
def dashboard(redis_server: LocalRedis) -> Iterator[Dashboard]:
    """A dashboard without a token that shows all crawls of `redis_server`."""
    with Dashboard(redis_server.url, "--all") as found:
        yield found


@pytest.fixture(scope="session")
def guarded(redis_server: LocalRedis) -> Iterator[Dashboard]:
    """The same with `TOKEN`."""
    with Dashboard(redis_server.url, "--all", token=TOKEN) as found:
        yield found


@pytest.fixture(scope="session")
def acting(redis_server: LocalRedis) -> Iterator[Dashboard]:
    """The same without a token, where crawls can be steered."""
    with Dashboard(redis_server.url, "--all", "--actions") as found:
        yield found


@pytest.fixture
def crawl(redis_url: str, project: str) -> Iterator[SimulatedCrawl]:
    """A crawl of four nodes and half an hour; keys of its own."""
    keys = Keys(project, "s")
    yield simulate(redis_url, keys)

    async def remove() -> None:
        async with client_of(redis_url) as client:
            await Frontier(client, keys).purge()

    run_async(remove())


@pytest.fixture
def path(crawl: SimulatedCrawl) -> str:
    """Where the page of `crawl` is."""
    return f"/crawl/{crawl.keys.name}"


@pytest.fixture
def redis_alone() -> Iterator[LocalRedis]:
    """A Redis of one's own, with a password and a crawl."""
    with LocalRedis(binary=default_redis(), password="hunter2", aof=True) as server:
        simulate(server.url, Keys("p", "s"))
        yield server
