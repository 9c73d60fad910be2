"""MongoPipeline's writer against a MongoDB-compatible server, or a MongoDB of one's own."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import enum
import gc
import sys

import bson
import pymongo
import pytest

from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.mongodb_writer import MODES, MongoOptions, MongoWriter
from tests.databases import MongoServer
from tests.pipelines.storing import names, store


@pytest.fixture
def make(mongodb_uri, target):
    """Returns a writer to this test's collection."""

    def make(source=target, **options):
        options = {"uri": mongodb_uri, "database": "crawl", **options}
        return MongoWriter(MongoOptions(**options), names(source))

    return make


@pytest.fixture
def collection(mongodb_uri, target):
    with pymongo.MongoClient(mongodb_uri) as client:
        yield client["crawl"][target]
        client["crawl"].drop_collection(target)


def found(collection, *fields):
    projection = {"_id": 0, **dict.fromkeys(fields, 1)}
    return list(collection.find({}, projection).sort("n", 1))


async def test_values_come_back_as_they_were(make, collection):
    class Colour(enum.Enum):
        RED = "red"

    item = {
        "n": 2**63 - 1, "text": "é 🕷", "none": None, "raw": b"\0\xff", "nan": float("inf"),
        "at": dt.datetime(2024, 2, 29, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "day": dt.date(2024, 2, 29), "price": decimal.Decimal("1.10"), "tags": {"b", "a"},
        "colour": Colour.RED, "nested": {"a": [1, {"b": None}]},
    }  # fmt: skip
    assert await store(make(), item) == [None]
    expected = {
        **item, "at": dt.datetime(2024, 2, 29, 10), "day": dt.datetime(2024, 2, 29),
        "price": bson.Decimal128("1.10"), "tags": ["a", "b"], "colour": "red",
    }  # fmt: skip
    assert found(collection) == [expected]


@pytest.mark.parametrize(
    ("mode", "key", "left"),
    [
        ("upsert", ["url"], [{"n": 2, "url": "u", "only": 1}]),
        ("replace", ["url"], [{"n": 2, "url": "u"}]),
        ("ignore", ["url"], [{"n": 1, "url": "u", "only": 1}]),
        ("insert", ["url"], [{"n": 1, "url": "u", "only": 1}, {"n": 2, "url": "u"}]),
        ("upsert", [], [{"n": 1, "url": "u", "only": 1}, {"n": 2, "url": "u"}]),
    ],
)
async def test_modes(make, collection, mode, key, left):
    await store(make(mode=mode, key=key), {"url": "u", "n": 1, "only": 1})
    await store(make(mode=mode, key=key), {"url": "u", "n": 2})
    assert found(collection) == left


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", [[], ["n"]])
async def test_a_repeat_is_stored_once_except_with_insert(make, collection, mode, key):
    items = [{"n": i % 10} for i in range(50)]
    for _ in range(2):
        assert await store(make(mode=mode, key=key), *items) == [None] * 50
    times = 10 if mode == "insert" else 1
    assert found(collection) == [{"n": n} for n in range(10) for _ in range(times)]


@pytest.mark.parametrize("mode", ["upsert", "replace", "ignore"])
async def test_the_items_own_id(make, collection, mode):
    await store(make(mode=mode), {"_id": 7, "n": 1})
    await store(make(mode=mode), {"_id": 7, "n": 2})
    assert list(collection.find()) == [{"_id": 7, "n": 1 if mode == "ignore" else 2}]


@pytest.mark.parametrize("mode", ["upsert", "replace", "ignore"])
async def test_workers_that_race_for_a_key(make, collection, mode):
    writers = [make(mode=mode, key=["n"]) for _ in range(4)]
    items = [{"n": i, "v": 1} for i in range(100)]
    results = await asyncio.gather(*(store(writer, *items) for writer in writers))
    assert results == [[None] * 100] * 4
    assert found(collection) == items


async def test_an_index_of_the_users_own(make, collection):
    collection.create_index("code", unique=True)
    reasons = await store(make(), {"n": 1, "code": 1}, {"n": 2, "code": 1}, {"n": 3, "code": 2})
    assert [reason is None for reason in reasons] == [True, False, True]
    assert "duplicate key" in reasons[1]


async def test_collections_by_field_and_class(make, mongodb_uri, target):
    template = {"dict": f"{target}_{{kind}}"}
    items = [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}, {"n": 3}, {"kind": "a$\0", "n": 4}]
    reasons = await store(make(template), *items)
    assert reasons[:2] == [None, None]
    assert "'kind'" in reasons[2]
    assert "is no name for a collection" in reasons[3]
    with pymongo.MongoClient(mongodb_uri) as client:
        assert [client["crawl"][f"{target}_{k}"].count_documents({}) for k in "ab"] == [1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_hostile_items_do_not_harm_their_batch(make, collection, mode):
    circle: dict = {"n": 100}
    circle["self"] = circle
    bad = [
        {"n": 101, "$set": {"n": 0}}, {"n": 102, "a.b": 1}, {"n": 103, "nu\0ll": 1},
        {"n": 104, "v": 2**64}, {"n": 105, "v": print}, {"n": 106, "v": "x" * 17_000_000},
        {"n": 107, "v": "\ud800"}, circle, {"n": None},
    ]  # fmt: skip
    good = [
        {"n": 1, "v": "$where"}, {"n": 2, "v": {"a": {"b": "🕷" * 1000}}},
        {"n": 3, "v": float("inf")}, {"n": 4, **{f"f{i}": i for i in range(10_000)}},
        {"n": 5, "v": "\0"},
    ]  # fmt: skip
    key = [] if mode == "insert" else ["n"]
    bad = bad if key else bad[:-1]
    reasons = await store(make(mode=mode, key=key), *bad, *good)
    assert [bool(reason) for reason in reasons] == [True] * len(bad) + [False] * len(good)
    assert found(collection) == good


@pytest.mark.parametrize("mode", ["upsert", "replace", "ignore"])
async def test_a_key_is_never_an_operator(make, collection, mode):
    collection.insert_one({"n": 1, "url": "innocent"})
    await store(make(mode=mode, key=["url"]), {"n": 2, "url": {"$gt": ""}})
    assert {"n": 1, "url": "innocent"} in found(collection)


async def test_a_large_document_goes(make, collection):
    assert await store(make(), {"n": 1, "v": "x" * (15 * 1024 * 1024)}) == [None]


async def _why(writer):
    with pytest.raises(StorageError) as caught:
        await writer.open()
    await writer.close()
    assert "p@ss" not in str(caught.value)
    assert "p%40ss" not in str(caught.value)
    return str(caught.value)


# pymongo may leave a task of a connection that never came about to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_errors_at_the_start(make, collection, monkeypatch):
    quick = {"serverSelectionTimeoutMS": 50}
    assert "no MongoDB answers" in await _why(make(uri="mongodb://127.0.0.1:1", client=quick))
    for uri in ("http://x", "mongodb://me:p@ss:w@127.0.0.1", "mongodb://me:p@ss/w@127.0.0.1"):
        assert "MONGO_URI does not parse" in await _why(make(uri=uri))
    assert "a MONGO_ option is wrong" in await _why(make(client={"maxPoolSize": -1}))
    collection.insert_many([{"url": 1}, {"url": 1}])
    assert "are there duplicates already?" in await _why(make(key=["url"]))
    assert "is no name for a collection" in await _why(make("a$b", key=["url"]))
    monkeypatch.setitem(sys.modules, "pymongo", None)
    assert "pip install 'crawlo_scrapy[mongodb]'" in await _why(make())
    gc.collect()  # here, and not in some later test


async def test_a_wrong_password_is_an_error_at_the_start():
    with MongoServer(auth=True) as server:
        wrong = server.uri.replace("p%40ss", "p%40ssx")
        writer = MongoWriter(MongoOptions(uri=wrong, database="crawl"), names("items"))
        assert "refused user or password" in await _why(writer)
        assert "p%40ss" not in repr(MongoOptions(uri=wrong))
