"""Items a second through item pipelines: ours, scrapy-redis's, and one insert an item.

    python -m benchmarks.pipelines

A spider yields items from pages that cost nothing (``data:`` URLs), 100 a page. Each crawl is
a fresh process with an empty table, collection, list or file; runs are interleaved; medians
are printed. The servers are of the tests: MariaDB of the system, and SecantusDB, which speaks
MongoDB's protocol and is not mongod.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import scrapy
from scrapy import signals
from scrapy.crawler import CrawlerProcess

from benchmarks.measure import markdown
from crawlo_scrapy.localserver import LocalRedis

OURS = "crawlo_scrapy.pipelines."
ONE_BY_ONE = "benchmarks.pipelines."
#: Name -> pipeline, the storage it needs.
VARIANTS: dict[str, tuple[str, str]] = {
    "no pipeline": ("", ""),
    "a pipeline that stores nothing": (ONE_BY_ONE + "Nothing", ""),
    "MongoDB, one by one": (ONE_BY_ONE + "MongoOneByOne", "mongodb"),
    "MongoPipeline": (OURS + "MongoPipeline", "mongodb"),
    "MySQL, one by one": (ONE_BY_ONE + "MySQLOneByOne", "mysql"),
    "MySQLPipeline": (OURS + "MySQLPipeline", "mysql"),
    "scrapy-redis RedisPipeline": ("scrapy_redis.pipelines.RedisPipeline", "redis"),
    "RedisStreamPipeline": (OURS + "RedisStreamPipeline", "redis"),
    "JsonLinesPipeline": (OURS + "JsonLinesPipeline", ""),
}
AGAINST = {
    "MongoPipeline": "MongoDB, one by one",
    "MySQLPipeline": "MySQL, one by one",
    "RedisStreamPipeline": "scrapy-redis RedisPipeline",
}
ITEMS_A_PAGE = 100


class Nothing:
    """What no pipeline can be faster than: the rest is Scrapy's."""

    async def process_item(self, item: Any) -> Any:
        return item


class MongoOneByOne:
    """The example of Scrapy's manual, as it stands there."""

    collection_name = "one_by_one"

    def __init__(self, uri: str, database: str) -> None:
        self._uri, self._database = uri, database

    @classmethod
    def from_crawler(cls, crawler: Any) -> MongoOneByOne:
        return cls(crawler.settings["MONGO_URI"], crawler.settings["MONGO_DB"])

    def open_spider(self, spider: Any = None) -> None:
        import pymongo

        self.client: Any = pymongo.MongoClient(self._uri)
        self.db = self.client[self._database]

    def close_spider(self, spider: Any = None) -> None:
        self.client.close()

    def process_item(self, item: Any, spider: Any = None) -> Any:
        self.db[self.collection_name].insert_one(dict(item))
        return item


class MySQLOneByOne:
    """The same for MySQL: an insert and a commit for each item."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    @classmethod
    def from_crawler(cls, crawler: Any) -> MySQLOneByOne:
        return cls(crawler.settings)

    async def open_spider(self) -> None:
        import asyncio

        import asyncmy

        get = self._settings.get
        self._one = asyncio.Lock()
        self._connection = await asyncmy.connect(
            host=get("MYSQL_HOST"), port=get("MYSQL_PORT"), user=get("MYSQL_USER"),
            password=get("MYSQL_PASSWORD"), database=get("MYSQL_DB"), autocommit=True,
        )  # fmt: skip
        self._table = get("MYSQL_TABLE")
        async with self._connection.cursor() as cursor:
            await cursor.execute(
                f"CREATE TABLE {self._table} (url VARCHAR(255) UNIQUE, name TEXT, price DOUBLE, "
                "description TEXT)"
            )

    async def close_spider(self) -> None:
        await self._connection.ensure_closed()

    async def process_item(self, item: Any) -> Any:
        async with self._one, self._connection.cursor() as cursor:
            await cursor.execute(
                f"INSERT INTO {self._table} VALUES (%s, %s, %s, %s)",
                (item["url"], item["name"], item["price"], item["description"]),
            )
        return item


class ItemsSpider(scrapy.Spider):
    """Yields *count* items of about 300 bytes."""

    name = "items"
    count = "0"

    async def start(self) -> Any:
        for first in range(0, int(self.count), ITEMS_A_PAGE):
            yield scrapy.Request(f"data:,{first}", dont_filter=True)

    def parse(self, response: Any) -> Any:
        first = int(response.text)
        for number in range(first, min(first + ITEMS_A_PAGE, int(self.count))):
            yield {
                "url": f"https://shop.example/product/{number}",
                "name": f"Product {number}",
                "price": number / 7,
                "description": f"{number} is a product like any other. " * 6,
            }


class Clock:
    """Measures from the start of the spider until its pipelines are closed."""

    def __init__(self, crawler: Any) -> None:
        crawler.signals.connect(self.opened, signals.spider_opened)
        crawler.signals.connect(self.closed, signals.spider_closed)
        self.seconds = 0.0

    def opened(self) -> None:
        self.seconds = time.perf_counter()

    def closed(self) -> None:
        self.seconds = time.perf_counter() - self.seconds


def crawl(settings: dict[str, Any], count: int) -> None:
    """Crawl in this process and print a line of JSON."""
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(ItemsSpider)
    clock = Clock(crawler)
    process.crawl(crawler, count=count)
    process.start()
    assert crawler.stats is not None
    scraped = crawler.stats.get_value("item_scraped_count", 0)
    print(json.dumps({"items": scraped, "seconds": clock.seconds}))


@contextlib.contextmanager
def servers(storages: set[str]) -> Iterator[dict[str, dict[str, Any]]]:
    """Start what *storages* names; give the settings for each."""
    from tests.databases import MariaDB, MongoServer

    with contextlib.ExitStack() as stack:
        found: dict[str, dict[str, Any]] = {"": {}}
        if "redis" in storages:
            found["redis"] = {"REDIS_URL": stack.enter_context(LocalRedis()).url}
        if "mongodb" in storages:
            mongo = stack.enter_context(MongoServer())
            found["mongodb"] = {"MONGO_URI": mongo.uri}
        if "mysql" in storages:
            maria = stack.enter_context(MariaDB())
            found["mysql"] = {
                "MYSQL_HOST": maria.host, "MYSQL_PORT": maria.port, "MYSQL_USER": maria.user,
                "MYSQL_PASSWORD": maria.password, "MYSQL_DB": maria.database,
                "MYSQL_CREATE_TABLE": True,
            }  # fmt: skip
        yield found


def measure(variant: str, count: int, found: dict[str, dict[str, Any]]) -> float:
    """Return the items a second of one crawl in a process of its own."""
    path, storage = VARIANTS[variant]
    fresh = f"b{uuid4().hex[:10]}"
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "LOG_LEVEL": "ERROR", "TELNETCONSOLE_ENABLED": False, "CONCURRENT_REQUESTS": 16,
            "ITEM_PIPELINES": {path: 300} if path else {}, "BOT_NAME": fresh,
            "MONGO_DB": fresh, "MYSQL_TABLE": fresh, "REDIS_ITEMS_KEY": fresh,
            "JSONLINES_FILE": str(Path(folder) / "items.jsonl"), **found[storage],
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.pipelines", "--one", json.dumps(settings),
             "--items", str(count)],
            check=True, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["items"] == count, f"{variant}: {result['items']} of {count} items\n{done.stderr}"
    return float(result["items"] / result["seconds"])


def table(rates: dict[str, list[float]]) -> str:
    """Return the medians as a Markdown table.

    What an item costs in the pipeline is its whole time less that without a pipeline.
    """
    medians = {variant: statistics.median(values) for variant, values in rates.items()}
    bare = medians.get("no pipeline")
    rows = []
    for variant, median in medians.items():
        other = AGAINST.get(variant, "")
        ratio = f"{median / medians[other]:.1f} × {other}" if other in medians else "–"
        spread = f"{min(rates[variant]):,.0f} to {max(rates[variant]):,.0f}"
        cost = 1e6 / median - (1e6 / bare if bare else 0)
        rows.append([variant, f"{median:,.0f}", spread, f"{cost:,.0f}", ratio])
    return markdown(
        ["pipeline", "items/s", "from, to", "µs an item in it", "items/s against"], rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path, help="keep all single figures in this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        crawl(json.loads(options.one), options.items)
        return
    rates: dict[str, list[float]] = {variant: [] for variant in options.variants}
    with servers({VARIANTS[variant][1] for variant in options.variants}) as found:
        for _ in range(options.repeat):
            for variant in options.variants:
                rates[variant].append(measure(variant, options.items, found))
    if options.json:
        options.json.write_text(json.dumps(rates, indent=1))
    print(table(rates))


if __name__ == "__main__":
    main()
