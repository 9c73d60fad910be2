"""The pipelines inside of Scrapy: what process_item, stats, logs and a crawl's end look like."""

from __future__ import annotations

import asyncio
import gc
import json
from types import SimpleNamespace

import pytest
import scrapy
from scrapy import Request, Spider
from scrapy.exceptions import DropItem
from scrapy.statscollectors import MemoryStatsCollector

from crawlo_scrapy import pipelines
from crawlo_scrapy.pipelines import base
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.feeds import uri_params
from crawlo_scrapy.pipelines.writer import Row, Writer
from tests.crawling import crawl, make_crawler, run, start


class Memory(Writer):
    """Keeps what it is given, and does as `plan` says."""

    name = "memory"

    def __init__(self, plan):
        self.plan, self.kept, self.is_open = plan, [], False

    async def open(self):
        if "open" in self.plan:
            raise StorageError(self.plan["open"])
        self.is_open = True

    async def prepare(self, fields, item_class):
        if fields.get("n") in self.plan.get("refuse", ()):
            raise ItemRefused("it has a bad number")
        return Row(fields, 1)

    async def write(self, rows):
        if self.plan.get("away", 0):
            self.plan["away"] -= 1
            raise StorageUnavailable("the storage sleeps")
        self.kept += [row.payload["n"] for row in rows]

    async def close(self):
        self.is_open = False


class MemoryPipeline(base.BatchedPipeline):
    def make_writer(self, crawler):
        return Memory(crawler.settings["PLAN"])


class Items(Spider):
    """Yields items with numbers."""

    name = "items"
    count = 20

    async def start(self):
        yield Request("data:,x")

    def parse(self, response):
        for n in range(self.count):
            yield {"n": n}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {
        "ITEM_PIPELINES": {MemoryPipeline: 300}, "PLAN": {}, "TELNETCONSOLE_ENABLED": False,
        "CRAWLO_ITEM_RETRY_DELAY": 0.01, "CRAWLO_ITEM_RETRY_MAX_DELAY": 0.02,
        "CRAWLO_NODE_ID": "n1",
    }  # fmt: skip


@pytest.fixture
def pipeline(settings):
    crawler = make_crawler(Items, settings)
    stats = MemoryStatsCollector(crawler)
    parts = SimpleNamespace(settings=crawler.settings, spider=Items(), stats=stats, engine=None)
    return MemoryPipeline.from_crawler(parts)


def stat(crawler, name):
    return crawler.stats.get_value(f"items/{name}")


async def test_a_crawl(settings, monkeypatch):
    made = []
    real = MemoryPipeline.make_writer
    monkeypatch.setattr(MemoryPipeline, "make_writer", lambda *a: made.append(real(*a)) or made[-1])
    crawler = await crawl(Items, settings)
    [writer] = made
    assert sorted(writer.kept) == list(range(20))
    assert not writer.is_open
    assert stat(crawler, "memory/stored") == 20
    assert stat(crawler, "memory/batches") < 20
    assert crawler.stats.get_value("item_scraped_count") == 20


@pytest.mark.parametrize(("before", "after"), [(700, 10_000), (20_000, 20_000), (0, 0)])
async def test_garbage_is_looked_for_less_often(pipeline, before, after):
    own = gc.get_threshold()
    try:
        gc.set_threshold(before, 7, 8)
        await as_future(pipeline.open_spider())
        assert gc.get_threshold() == (after, 7, 8)
    finally:
        gc.set_threshold(*own)
        await as_future(pipeline.close_spider())


async def test_refused_items_are_dropped_and_kept(settings, tmp_path, caplog):
    settings["PLAN"] = {"refuse": {3, 5}}
    crawler = await crawl(Items, settings)
    assert stat(crawler, "memory/stored") == 18
    assert stat(crawler, "memory/refused") == 2
    assert crawler.stats.get_value("item_dropped_count") == 2
    lines = (tmp_path / "dead_items" / "items.jsonl").read_text().splitlines()
    dead = sorted((json.loads(line) for line in lines), key=lambda line: line["fields"]["n"])
    assert [line["fields"] for line in dead] == [{"n": 3}, {"n": 5}]
    assert {
        (line["reason"], line["spider"], line["node"], line["item_class"]) for line in dead
    } == {("it has a bad number", "items", "n1", "builtins.dict")}
    assert caplog.text.count("memory refused an item of class builtins.dict: it has a bad") == 2


async def test_an_error_that_nobody_thought_of_loses_no_item(pipeline, tmp_path, monkeypatch):
    async def prepare(fields, item_class):
        return 1 / 0

    monkeypatch.setattr(pipeline.writer, "prepare", prepare)
    with pytest.raises(DropItem, match="division by zero"):
        await pipeline.process_item({"n": 1})
    [line] = (tmp_path / "dead_items" / "items.jsonl").read_text().splitlines()
    assert json.loads(line)["fields"] == {"n": 1}


async def test_a_storage_that_takes_nothing_ends_the_crawl(settings):
    settings["PLAN"] = {"refuse": set(range(20))}
    crawler = make_crawler(Items, settings)
    assert await run(crawler) == "items_refused"
    assert stat(crawler, "memory/refused") == 20


async def test_an_outage_is_told_once(settings, caplog):
    caplog.set_level("INFO")
    settings["PLAN"] = {"away": 5}
    crawler = await crawl(Items, settings)
    assert stat(crawler, "memory/stored") == 20
    assert stat(crawler, "memory/retries") == 5
    assert caplog.text.count("memory is away, items wait for it: the storage sleeps") == 1
    assert caplog.text.count("memory is back") == 1


UNUSABLE = [
    (MemoryPipeline, {"PLAN": {"open": "create the table first"}}, "create the table first"),
    (MemoryPipeline, {"CRAWLO_ITEM_RETRY_DELAY": "x"}, "CRAWLO_ITEM_RETRY_DELAY is 'x'"),
    (pipelines.JsonLinesPipeline, {"JSONLINES_FILE": "{nope}"}, "{nope}"),
    (pipelines.RedisDedupPipeline, {"REDIS_PORT": 1}, "cannot be reached"),
]


@pytest.mark.parametrize(("cls", "options", "message"), UNUSABLE)
async def test_a_storage_that_cannot_be_used_stops_the_start(
    settings, caplog, cls, options, message
):
    settings |= {"ITEM_PIPELINES": {cls: 1}, **options}
    crawler = make_crawler(Items, settings)
    if scrapy.version_info >= (2, 19):
        assert await run(crawler) == "storage_unusable"
    else:
        with pytest.raises(StorageError):
            await run(crawler)
    [line] = [line for line in caplog.messages if line.startswith(f"{cls.__name__}: ")]
    assert message in line
    assert not crawler.stats.get_value("response_received_count")
    assert crawler.spider is None  # so that the command exits with status 1


async def test_process_item_returns_when_the_item_is_stored(pipeline):
    await as_future(pipeline.open_spider())
    free, real = asyncio.Event(), pipeline.writer.write

    async def write(rows):
        await free.wait()
        await real(rows)

    pipeline._batcher._write = write
    item = {"n": 1}
    task = start(pipeline.process_item(item))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    free.set()
    assert await task is item
    assert pipeline.writer.kept == [1]
    await as_future(pipeline.close_spider())


async def test_what_is_no_item_is_kept_as_its_repr(pipeline, tmp_path):
    with pytest.raises(DropItem, match="int is not an item"):
        await pipeline.process_item(7)
    await as_future(pipeline.close_spider())
    [line] = (tmp_path / "dead_items" / "items.jsonl").read_text().splitlines()
    assert json.loads(line)["fields"] == {"repr": "7"}


async def test_a_dead_item_that_cannot_be_kept_is_in_the_log(pipeline, monkeypatch, caplog):
    async def put(item):
        raise OSError("disk full")

    monkeypatch.setattr(pipeline._dead, "put", put)
    with pytest.raises(DropItem):
        await pipeline.process_item(7)
    assert 'cannot keep a dead item (disk full): {"storage":"memory"' in caplog.text


def as_future(result):
    if isinstance(result, asyncio.Future) or asyncio.iscoroutine(result):
        return result
    return result.asFuture(asyncio.get_event_loop())


def test_signatures_suit_every_scrapy():
    for cls in (pipelines.MongoPipeline, pipelines.RedisDedupPipeline, pipelines.ConsolePipeline):
        for name in ("open_spider", "process_item", "close_spider"):
            method = getattr(cls, name, None)
            if method is not None:
                assert method.__defaults__ == (None,)


NAMES = ["MySQLPipeline", "AsyncmyMySQLPipeline", "MongoPipeline", "RedisDedupPipeline",
         "ConsolePipeline", "JsonPipeline", "CsvPipeline", "JsonLinesPipeline",
         "RedisStreamPipeline", "BatchedPipeline"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_resolve(name):
    assert isinstance(scrapy.utils.misc.load_object(f"crawlo_scrapy.pipelines.{name}"), type)
    assert name in dir(pipelines)


def test_other_names_do_not():
    with pytest.raises(AttributeError, match="no attribute 'NoPipeline'"):
        pipelines.NoPipeline  # noqa: B018


async def test_files(settings, tmp_path):
    settings["ITEM_PIPELINES"] = {
        f"crawlo_scrapy.pipelines.{name}": i
        for i, name in enumerate(["JsonLinesPipeline", "JsonPipeline", "CsvPipeline"])
    }
    await crawl(Items, settings)
    for name in ("items-n1.jsonl", "items-n1.json"):
        lines = (tmp_path / "items" / name).read_text().splitlines()
        assert sorted(json.loads(line)["n"] for line in lines) == list(range(20))
    rows = (tmp_path / "items" / "items-n1.csv").read_text().splitlines()
    assert rows[0] == "n"
    assert sorted(map(int, rows[1:])) == list(range(20))


async def test_console(settings, capsys):
    settings["ITEM_PIPELINES"] = {"crawlo_scrapy.pipelines.ConsolePipeline": 1}
    await crawl(Items, settings)
    assert sorted(capsys.readouterr().out.splitlines())[0] == '{"n":0}'


async def test_feeds_of_many_workers(settings, tmp_path):
    settings |= {
        "ITEM_PIPELINES": {}, "FEED_URI_PARAMS": uri_params,
        "FEEDS": {f"{tmp_path}/%(name)s-%(node)s.jsonl": {"format": "jsonlines"}},
    }  # fmt: skip
    await crawl(Items, settings)
    assert (tmp_path / "items-n1.jsonl").exists()


class Twice(Items):
    """Yields each item twice on each of two pages."""

    async def start(self):
        for name in "ab":
            yield Request(f"data:,{name}", dont_filter=True)

    def parse(self, response):
        for n in range(self.count):
            yield {"n": n}
            yield {"n": n}


class Failing:
    """Fails the first time it sees a number."""

    def __init__(self):
        self.seen = set()

    def process_item(self, item):
        if item["n"] == 3 and 3 not in self.seen:
            self.seen.add(3)
            raise ValueError("not yet")
        return item


async def test_repeats_are_dropped(settings, redis_url, project):
    settings |= {"REDIS_URL": redis_url, "PROJECT_NAME": project}
    settings["ITEM_PIPELINES"] = {
        "crawlo_scrapy.pipelines.RedisDedupPipeline": 1, MemoryPipeline: 2,
    }  # fmt: skip
    crawlers = [await crawl(Twice, settings) for _ in range(2)]
    assert [stat(crawler, "memory/stored") for crawler in crawlers] == [20, None]
    assert [stat(crawler, "repeats") for crawler in crawlers] == [60, 80]


@pytest.mark.skipif(scrapy.version_info < (2, 14), reason="process_item without a spider")
async def test_an_item_that_was_not_stored_is_not_remembered(settings, redis_url, project):
    settings |= {"REDIS_URL": redis_url, "PROJECT_NAME": project}
    settings["ITEM_PIPELINES"] = {
        "crawlo_scrapy.pipelines.RedisDedupPipeline": 1, Failing: 2, MemoryPipeline: 3,
    }  # fmt: skip
    first = await crawl(Items, settings)
    assert stat(first, "memory/stored") == 19
    second = await crawl(Items, {**settings, "ITEM_PIPELINES": {
        "crawlo_scrapy.pipelines.RedisDedupPipeline": 1, MemoryPipeline: 3,
    }})  # fmt: skip
    assert stat(second, "memory/stored") == 1


async def test_the_stream(settings, redis_url, project):
    settings |= {"REDIS_URL": redis_url, "PROJECT_NAME": project}
    settings["ITEM_PIPELINES"] = {"crawlo_scrapy.pipelines.RedisStreamPipeline": 1}
    crawler = await crawl(Items, settings)
    assert stat(crawler, "redis/stored") == 20
