"""The processes of the demo, and the count of what they did."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from crawlo_scrapy.cli.example import shop_server
from crawlo_scrapy.serverprocess import HOST, ServerError, ServerProcess
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import CrawlState, inspect
from crawlo_scrapy.store.keys import Keys

#: Lower than the defaults of 15 and 3 seconds: nobody wants to watch a demo wait.
WORKER_TIMEOUT = 5.0
HEARTBEAT_INTERVAL = 1.0
#: How long the shop may take until it serves, in seconds.
SHOP_START_TIMEOUT = 20.0


@dataclass(frozen=True)
class Result:
    """What became of the pages. `lost` were not fetched, or are products without an item."""

    expected: int
    crawled: int
    items: int
    lost: list[str]
    fetched_twice: int
    worker_failures: list[str]


class DemoCrawl:
    """A shop, and workers that crawl it. `close` ends every process and purges the crawl.

    *folder* holds logs, and goes when the demo ends; *items* gets the items.
    """

    def __init__(self, project: Path, folder: Path, items: Path, redis_url: str) -> None:
        self._project = project
        self._folder = folder
        self._items = items
        self._redis_url = redis_url
        self._shop_module = shop_server(project)
        self.pages: list[str] = self._shop_module.page_paths()
        self.crawl_id = f"demo-{secrets.token_hex(4)}"
        self._keys = Keys("shop", "shop", self.crawl_id)
        self._client = Client.connect(Address(url=redis_url), "crawlo-demo")
        self._shop: ServerProcess | None = None
        self._shop_url = ""
        self._access_log = folder / "access.log"
        self._read = 0
        self.fetched: Counter[str] = Counter()
        self.workers: dict[str, ServerProcess] = {}
        self.killed: set[str] = set()

    async def start_shop(self) -> str:
        """Start the shop and return its address."""
        log = self._folder / "shop.log"
        script = self._project / "shopserver.py"
        self._shop = ServerProcess(
            [sys.executable, "-B", script, "--port", "0", "--access-log", self._access_log], log
        )
        deadline = time.monotonic() + SHOP_START_TIMEOUT
        while not (text := log.read_text()).startswith("http") or "\n" not in text:
            if not self._shop.alive or time.monotonic() > deadline:
                raise ServerError(f"the shop does not start: {self._shop.log_tail()}")
            await asyncio.sleep(0.02)
        self._shop_url = text.splitlines()[0]
        return self._shop_url

    def start_worker(self) -> str:
        """Start one more `scrapy crawl shop` and return its name."""
        name = f"worker-{len(self.workers) + 1}"
        variables = {
            "SCRAPY_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(self._project), os.environ.get("PYTHONPATH")])
            ),
            "PYTHONDONTWRITEBYTECODE": "1",
            "no_proxy": HOST,
            "CRAWLO_NODE_ID": name,
            "CRAWLO_CRAWL_ID": self.crawl_id,
            "CRAWLO_PROJECT_NAME": "shop",
            "CRAWLO_WORKER_TIMEOUT": f"{WORKER_TIMEOUT:g}",
            "CRAWLO_HEARTBEAT_INTERVAL": f"{HEARTBEAT_INTERVAL:g}",
        }
        # Braces in a folder's name must survive str.format in the project's pipeline.
        items = str(self._items / "items").replace("{", "{{").replace("}", "}}") + "-{pid}.jsonl"
        words = [sys.executable, "-m", "scrapy", "crawl", "shop"]
        words += ["-s", f"SHOP_URL={self._shop_url}", "-s", f"ITEMS_FILE={items}"]
        assigned = [f"{key}={value}" for key, value in variables.items()]
        with _variable("CRAWLO_REDIS_URL", self._redis_url):  # not where `ps` shows the password
            self.workers[name] = ServerProcess(
                ["/usr/bin/env", *assigned, *words], self._folder / f"{name}.log"
            )
        return name

    def kill(self, name: str) -> None:
        """End a worker as `kill -9` does."""
        self.killed.add(name)
        self.workers[name].kill()

    @property
    def running(self) -> list[str]:
        return [name for name, process in self.workers.items() if process.alive]

    async def look(self) -> CrawlState:
        """Read the shop's access log on, and return how the crawl stands."""
        with contextlib.suppress(FileNotFoundError), self._access_log.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
            self._read += len(whole) + len(newline)
            self.fetched.update(line.split(" ", 1)[1] for line in whole.decode().splitlines())
        return await inspect(self._client, self._keys)

    @property
    def paths(self) -> set[str]:
        """The pages that were fetched so far."""
        return self.fetched.keys() & set(self.pages)

    async def result(self) -> Result:
        """Count, after all workers have ended."""
        await self.look()
        urls = [
            json.loads(line)["url"]
            for file in sorted(self._items.glob("items-*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        with_item = {"/" + url.split("/", 3)[3] for url in urls}
        lost = set(self.pages) - self.paths
        lost |= set(self._shop_module.product_paths()) - with_item
        return Result(
            expected=len(self.pages),
            crawled=len(self.paths),
            items=len(with_item),
            lost=sorted(lost),
            fetched_twice=sum(count > 1 for count in self.fetched.values()),
            worker_failures=[
                f"{name} ended with status {process.status}: {process.log_tail(3)}"
                for name, process in self.workers.items()
                if name not in self.killed and process.status not in (0, None)
            ],
        )

    async def close(self) -> None:
        """End every process, and remove this crawl from Redis."""
        for process in [*self.workers.values(), *([self._shop] if self._shop else [])]:
            # In any case: it may have ended, its watchdog has not.
            process.terminate()
        try:
            await Frontier(self._client, self._keys).purge()
        finally:
            await self._client.close()


@contextlib.contextmanager
def _variable(name: str, value: str):  # type: ignore[no-untyped-def]
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
