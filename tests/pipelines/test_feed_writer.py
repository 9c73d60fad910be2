"""Batches as files in Scrapy's feed storages, and what ``--to`` may name."""

from __future__ import annotations

import datetime as dt
import gzip
import json

import pytest
from scrapy.extensions.feedexport import BlockingFeedStorage
from scrapy.settings import Settings

from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.feed_writer import FeedWriter
from crawlo_scrapy.pipelines.jsonlines import CsvWriter, JsonLinesWriter
from crawlo_scrapy.pipelines.targets import FEED_SECONDS, target_for
from tests.pipelines.storing import Watch, store

NAMES = {"spider": "shop", "project": "p", "node": "n1"}
LIMITS = BatchLimits(count=10, writes=1)


class Shelf(BlockingFeedStorage):
    """A feed storage of a project's own, in memory."""

    files: dict[str, bytes] = {}
    failures = 0

    def __init__(self, uri, *, feed_options=None):
        if uri.endswith("!"):
            raise ValueError("no such shelf")
        self.uri = uri

    def _store_in_thread(self, file):
        with file:
            if Shelf.failures:
                Shelf.failures -= 1
                raise OSError("the shelf is full")
            file.seek(0)
            assert self.uri not in Shelf.files
            Shelf.files[self.uri] = file.read()


@pytest.fixture
def settings():
    Shelf.files, Shelf.failures = {}, 0
    return Settings({"FEED_STORAGES": {"shelf": Shelf}})


async def test_each_batch_is_a_file(settings):
    writer = FeedWriter(
        "shelf://a%20b/%(name)s-%(node)s-%(batch_id)03d-%(batch_time)s.jsonl", settings, NAMES
    )
    items = [{"n": n, "at": dt.date(2024, 1, 1)} for n in range(25)]
    bad = {"n": float("nan")}
    reasons = await store(writer, *items, bad, limits=LIMITS)
    assert [reason is None for reason in reasons] == [True] * 25 + [False]
    assert [name[:29] for name in Shelf.files] == [
        f"shelf://a%20b/shop-n1-00{n}-202" for n in (1, 2, 3)
    ]
    lines = b"".join(Shelf.files.values()).decode().splitlines()
    assert [json.loads(line) for line in lines] == [{**i, "at": "2024-01-01"} for i in items]


async def test_a_table_has_all_columns_of_its_batch(settings):
    writer = FeedWriter("shelf://x/%(batch_time)s.csv.gz", settings, NAMES)
    await store(writer, {"a": 1}, {"b": "ü"}, limits=LIMITS)
    [content] = Shelf.files.values()
    assert gzip.decompress(content).decode().splitlines() == ["a,b", "1,", ",ü"]


async def test_a_storage_that_fails_is_tried_again(settings):
    Shelf.failures, watch = 3, Watch()
    writer = FeedWriter("shelf://x/%(batch_time)s", settings, NAMES, "jsonlines")
    assert await store(writer, {"a": 1}, limits=LIMITS, watch=watch) == [None]
    assert [text for text, _ in watch.outages] == ["cannot store a file: the shelf is full"] * 3
    assert len(Shelf.files) == 1


async def test_settings_of_feeds_count(settings):
    settings.set("FEED_EXPORT_FIELDS", ["b"])
    writer = FeedWriter("shelf://x/%(batch_time)s.csv", settings, NAMES)
    await store(writer, {"a": 1, "b": 2}, limits=LIMITS)
    assert list(Shelf.files.values()) == [b"b\r\n2\r\n"]


async def test_a_storage_that_cannot_be_made(settings):
    with pytest.raises(StorageError, match="shelf:// with this address cannot be used: no such"):
        await FeedWriter("shelf://%(batch_time)s!", settings, NAMES, "csv").open()


def test_targets(settings, tmp_path):
    def target(to, **options):
        return target_for(to, settings, NAMES, **options)

    assert isinstance(target(str(tmp_path / "x.jsonl")).writer, JsonLinesWriter)
    assert isinstance(target(f"file://{tmp_path}/x.JL").writer, JsonLinesWriter)
    assert isinstance(target("x.csv").writer, CsvWriter)
    feed = target("shelf://x/%(batch_time)s.csv")
    assert (feed.limits.count, feed.gather, feed.probe) == (10_000, FEED_SECONDS, True)
    settings.set("FEED_EXPORT_BATCH_ITEM_COUNT", 7)
    assert target("x/%(batch_time)s.json").limits.count == 7
    mongo = target("mongodb://me:pass@a:1,b:2/shop?w=1&authSource=admin", into="products")
    assert mongo.label == "mongodb://a:1,b:2/shop"
    assert settings["MONGO_DATABASE"] == "shop"
    assert settings["MONGO_COLLECTION"] == "products"
    mysql = target("mysql://me:p%40ss@db/shop", into="products")
    assert mysql.label == "mysql://db:3306/shop"
    given = [settings[f"MYSQL_{name}"] for name in ("HOST", "USER", "PASSWORD", "DB", "TABLE")]
    assert given == ["db", "me", "p@ss", "shop", "products"]
    # What the project says is kept.
    assert target("mysql").label == mysql.label
    assert target("mongodb").label == mongo.label
    with pytest.raises(StorageError, match="--into names a table or a collection"):
        target("x.jsonl", into="x")
