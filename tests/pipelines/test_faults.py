"""A database that goes away: at each step of a write, in the middle, and for longer."""

from __future__ import annotations

import asyncmy
import pymongo
import pytest

from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.mongodb_writer import MongoOptions, MongoWriter
from crawlo_scrapy.pipelines.mysql_writer import MySQLOptions, MySQLWriter
from tests.crawling import start
from tests.databases import MariaDB, MongoServer
from tests.pipelines.cutproxy import CutProxy
from tests.pipelines.storing import Watch, names, store_in

ITEMS = [{"n": i} for i in range(200)]


class MySQL:
    """What the tests need of MySQL."""

    word = b"INSERT"
    servers = MariaDB

    @staticmethod
    def writer(server, target, port=None, **options):
        options = {"create_table": True, **options}
        own = MySQLOptions(host=server.host, port=port or server.port, user=server.user,
                           password=server.password, database=server.database,
                           connect_timeout=5, **options)  # fmt: skip
        return MySQLWriter(own, names(target))

    @staticmethod
    async def stored(server, target, column="n"):
        connection = await asyncmy.connect(
            host=server.host, port=server.port, user=server.user, password=server.password,
            database=server.database,
        )  # fmt: skip
        async with connection.cursor() as cursor:
            await cursor.execute(f"SELECT {column} FROM {target} ORDER BY {column}")
            rows = [{column: value} for (value,) in await cursor.fetchall()]
        await connection.ensure_closed()
        return rows


class Mongo:
    """What the tests need of MongoDB."""

    word = b"insert"
    servers = MongoServer

    @staticmethod
    def writer(server, target, port=None, **options):
        # Straight to the proxy: the server's own word on where it is would lead around it.
        client = {"directConnection": True, "serverSelectionTimeoutMS": 3000, "retryWrites": False}
        uri = f"mongodb://127.0.0.1:{port or server.port}"
        own = MongoOptions(uri=uri, database="crawl", client=client, **options)
        return MongoWriter(own, names(target))

    @staticmethod
    async def stored(server, target, column="n"):
        with pymongo.MongoClient(server.uri) as client:
            return list(client["crawl"][target].find({}, {"_id": 0}).sort(column, 1))


@pytest.fixture(params=[MySQL, Mongo])
def kind(request):
    return request.param


@pytest.fixture
def server(kind, request):
    """The server that the run shares."""
    return request.getfixturevalue("mariadb" if kind is MySQL else "mongodb")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_that_is_cut(kind, server, target, when):
    watch = Watch()
    async with CutProxy(server.port) as proxy:
        writer = kind.writer(server, target, proxy.port)
        await writer.open()
        await store_in(writer, {"n": -1})
        proxy.lose(when, kind.word)
        assert await store_in(writer, *ITEMS, watch=watch) == [None] * len(ITEMS)
        await writer.close()
    assert proxy.cuts == 1
    assert len(watch.outages) == 1
    assert await kind.stored(server, target) == [{"n": -1}, *ITEMS]


async def test_a_plain_insert_is_not_doubled_by_a_lost_answer(mongodb, target):
    async with CutProxy(mongodb.port) as proxy:
        writer = Mongo.writer(mongodb, target, proxy.port, mode="insert")
        await writer.open()
        proxy.lose("after", b"insert")
        await store_in(writer, *ITEMS)
        await writer.close()
    assert await Mongo.stored(mongodb, target) == ITEMS


async def test_confirmed_and_not_acked_comes_again(kind, server, target):
    for _ in range(2):
        writer = kind.writer(server, target)
        await writer.open()
        await store_in(writer, *ITEMS)
        await writer.close()
    assert await kind.stored(server, target) == ITEMS


@pytest.mark.parametrize("how", ["kill", "restart", "suspend"])
async def test_a_server_that_goes_away_in_the_middle(kind, target, how):
    with kind.servers() as server:
        options = {"read_timeout": 1} if kind is MySQL else {}
        writer = kind.writer(server, target, **options)
        if kind is Mongo:
            writer._options.client["socketTimeoutMS"] = 1000
        await writer.open()
        await store_in(writer, *ITEMS[:100])
        watch = Watch()
        limits = BatchLimits(count=10)
        if how == "suspend":
            server.process.suspend()
        elif how == "kill":
            server.kill()
        else:
            server.restart()
        storing = start(store_in(writer, *ITEMS[100:], watch=watch, limits=limits))
        if how != "restart":
            await watch.is_away.wait()
            server.process.resume() if how == "suspend" else server.start()
        assert await storing == [None] * 100
        await writer.close()
        assert await kind.stored(server, target) == ITEMS


async def test_a_table_that_is_gone_for_a_while(mariadb, target):
    """It is no item's fault, so no item is refused for it."""
    writer, watch = MySQL.writer(mariadb, target), Watch()
    await writer.open()
    await store_in(writer, *ITEMS[:10])
    [(statement,)] = [row[1:] for row in await writer._ask(f"SHOW CREATE TABLE {target}")]
    await writer._ask(f"DROP TABLE {target}")
    storing = start(store_in(writer, *ITEMS, watch=watch))
    await watch.is_away.wait()
    assert "doesn't exist" in watch.outages[0][0]
    await writer._ask(statement)
    assert await storing == [None] * len(ITEMS)
    await writer.close()
    assert await MySQL.stored(mariadb, target) == ITEMS
