"""items: drain into real storages, and what happens when somebody dies meanwhile."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncmy
import pymongo
import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.redis_stream import RedisStreamWriter
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.items import Items
from crawlo_scrapy.store.keys import Keys
from tests.chaos.fleet import ROOT, Fleet
from tests.chaos.site import ChaosSite
from tests.cli.conftest import Command, do
from tests.databases import MariaDB
from tests.pipelines.storing import store
from tests.servers import default_redis
from tests.waiting import wait_until

#: How long a drain may take, in seconds.
PATIENCE = 120


class Stream:
    """The items of a crawl that no worker is in."""

    def __init__(self, url: str, project: str) -> None:
        self.url = url
        self.keys = Keys(project, "shop")
        self.redis = redis.Redis.from_url(url)

    @property
    def words(self) -> list[str]:
        return [self.keys.name, "--redis-url", self.url]

    def add(self, *items: dict[str, Any], format: str = "json") -> None:
        async def add() -> None:
            writer = RedisStreamWriter(
                Items(Client.connect(Address(url=self.url)), self.keys), format=format
            )
            reasons = await store(writer, *items, limits=BatchLimits(count=1000, writes=1))
            assert set(reasons) <= {None}

        do(add())

    @property
    def waiting(self) -> int:
        return int(self.redis.xlen(self.keys.items))

    @property
    def holders(self) -> list[dict[str, Any]]:
        """The drains that have items now."""
        found: list[dict[str, Any]] = self.redis.xpending(self.keys.items, "drain")["consumers"]
        return found

    @property
    def reading(self) -> int:
        """How many drains wait for an item at this moment."""
        clients = self.redis.client_list()
        return sum(c["cmd"] == "xreadgroup" and "b" in c["flags"] for c in clients)

    def set_state(self, state: str) -> None:
        self.redis.hset(self.keys.meta, "state", state)


@pytest.fixture
def stream(redis_url: str, project: str) -> Iterator[Stream]:
    stream = Stream(redis_url, project)
    yield stream
    stream.redis.close()


Drains = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_drain(tmp_path: Path) -> Iterator[Drains]:
    """Starts `items drain` in the background."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", "from crawlo_scrapy.cli import main; main()",
                 "items", "drain", "--json", *words],
                cwd=tmp_path, env={"PATH": "", "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a drain says at its end."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(output)
    return found


def numbered(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"n": n, "name": f"ü {n}"} for n in range(first, first + count)]


class Table:
    """A table in MariaDB that items are drained into."""

    def __init__(self, server: MariaDB, name: str) -> None:
        self.server, self.name = server, name
        user, password = quote(server.user, safe=""), quote(server.password, safe="")
        address = f"{server.host}:{server.port}/{server.database}"
        self.words = [
            "--to", f"mysql://{user}:{password}@{address}", "--into", name,
            "-s", "MYSQL_CREATE_TABLE=True", "-s", "CRAWLO_ITEM_RETRY_MAX_DELAY=0.5",
            "-s", "MYSQL_BATCH_SIZE=50", "-s", "MYSQL_BATCH_TIMEOUT=5",
        ]  # fmt: skip
        self.shown = f"mysql://{address}"

    def numbers(self) -> list[int]:
        return [n for (n,) in self.ask(f"SELECT n FROM {self.name} ORDER BY n")]

    def ask(self, sql: str) -> list[Any]:
        server = self.server

        async def ask() -> list[Any]:
            connection = await asyncmy.connect(
                host=server.host, port=server.port, user=server.user, autocommit=True,
                password=server.password, database=server.database,
            )  # fmt: skip
            async with connection.cursor() as cursor:
                await cursor.execute(sql)
                rows = await cursor.fetchall()
            await connection.ensure_closed()
            return list(rows)

        return do(ask())


@pytest.fixture
def table(mariadb: MariaDB, target: str) -> Table:
    return Table(mariadb, target)


def test_into_mysql(crawlo: Command, stream: Stream, table: Table) -> None:
    for _ in range(2):  # each item comes twice
        stream.add(*numbered(500))
        done = crawlo("items", "drain", *stream.words, *table.words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"Stored 500 items of {stream.keys.name} in {table.shown}.\n"
    assert table.numbers() == list(range(500))
    assert not stream.redis.keys(stream.keys.prefix + "*")


def test_into_mongodb(crawlo: Command, stream: Stream, mongodb_uri: str, target: str) -> None:
    with pymongo.MongoClient(mongodb_uri) as client:
        for _ in range(2):
            stream.add(*numbered(500))
            done = crawlo("items", "drain", *stream.words, "--to", mongodb_uri, "--into", target,
                          "-s", "MONGO_DATABASE=other", "--json")  # fmt: skip
            assert (done.returncode, done.stderr) == (0, "")
            assert json.loads(done.stdout)["stored"] == 500
        # What the address names counts more than a setting.
        names = [name for name in client.list_database_names() if name != "other"]
        found = [n for name in names for n in client[name][target].find({}, {"_id": 0})]
        assert sorted(found, key=lambda item: item["n"]) == numbered(500)


def test_into_files(crawlo: Command, stream: Stream, tmp_path: Path) -> None:
    for to in ("{spider}.jsonl", "items.csv", "batches/%(batch_time)s.xml.gz"):
        stream.add(*numbered(300))
        done = crawlo("items", "drain", *stream.words, "--to", to, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert stream.waiting == 0
    lines = (tmp_path / "shop.jsonl").read_text("utf-8").splitlines()
    assert sorted(json.loads(line)["n"] for line in lines) == list(range(300))
    with (tmp_path / "items.csv").open(encoding="utf-8", newline="") as file:
        assert sorted(int(row["n"]) for row in csv.DictReader(file)) == list(range(300))
    [batch] = (tmp_path / "batches").iterdir()
    assert gzip.decompress(batch.read_bytes()).count(b"<item>") == 300


@pytest.mark.slow
def test_two_side_by_side(stream: Stream, table: Table, start_drain: Drains) -> None:
    stream.add(*numbered(5000))
    drains = [start_drain(*stream.words, *table.words) for _ in range(2)]
    assert sum(result(drain)["stored"] for drain in drains) == 5000
    assert table.numbers() == list(range(5000))


@pytest.mark.slow
def test_a_drain_is_killed_and_the_storage_restarted(
    stream: Stream, target: str, start_drain: Drains
) -> None:
    with MariaDB() as server:
        table = Table(server, target)
        stream.set_state("running")
        options = [*stream.words, *table.words, "--follow", "--idle", "2"]
        first, second = start_drain(*options), start_drain(*options)
        wait_until(lambda: stream.reading == 2, "both drains are at work")
        stream.add(*numbered(100))
        wait_until(lambda: stream.waiting == 0, "the first items are stored")
        server.process.suspend()
        stream.add(*numbered(400, 100))
        wait_until(lambda: len(stream.holders) == 2, "both have items that they cannot store")
        first.send_signal(signal.SIGKILL)
        first.wait()
        server.kill()
        server.start()
        stream.add(*numbered(500, 500))
        wait_until(lambda: stream.waiting == 0, "the other has all of them", PATIENCE)
        stream.set_state("finished")
        assert result(second)["taken_over"] > 0
        assert table.numbers() == list(range(1000))


@pytest.mark.slow
def test_redis_is_killed_and_restarted(project: str, table: Table, start_drain: Drains) -> None:
    config = {"appendfsync": "always"}
    with LocalRedis(binary=default_redis(), aof=True, config=config) as server:
        stream = Stream(server.url, project)
        stream.set_state("running")
        drains = [
            start_drain(*stream.words, *table.words, "--follow", "--idle", "2") for _ in range(2)
        ]
        wait_until(lambda: stream.reading == 2, "both drains are at work")
        stream.add(*numbered(2000))
        server.kill()
        server.start()
        stream.add(*numbered(1000, 2000))
        wait_until(lambda: stream.waiting == 0, "everything is stored", PATIENCE)
        stream.set_state("finished")
        for drain in drains:
            result(drain)
        assert table.numbers() == list(range(3000))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(stream: Stream, table: Table, start_drain: Drains, number: int) -> None:
    stream.set_state("running")
    stream.add(*numbered(300))
    drain = start_drain(*stream.words, *table.words, "--follow")
    wait_until(lambda: stream.waiting == 0, "the drain is at work")
    drain.send_signal(number)
    told = result(drain)
    assert (told["stored"], told["given_back"], told["left"]) == (300, 0, 0)


@pytest.mark.slow
def test_a_second_signal_does_not_wait_for_the_storage(
    stream: Stream, target: str, start_drain: Drains
) -> None:
    with MariaDB() as server:
        drain = start_drain(*stream.words, *Table(server, target).words, "--follow")
        wait_until(lambda: stream.reading == 1, "the drain is at work")
        server.process.suspend()
        stream.add(*numbered(10))
        wait_until(lambda: stream.holders, "it has items that it cannot store")
        drain.send_signal(signal.SIGTERM)
        drain.send_signal(signal.SIGINT)  # two of a kind may come as one
        assert drain.wait(PATIENCE) == 130
        assert stream.waiting == 10
        # Whoever comes next has them at once.
        idle = stream.redis.xpending_range(stream.keys.items, "drain", "-", "+", 99)
        assert {entry["time_since_delivered"] > 10**8 for entry in idle} == {True}


@pytest.mark.slow
def test_while_the_crawl_runs(
    redis_url: str, tmp_path: Path, table: Table, start_drain: Drains
) -> None:
    """The crawl has to wait for the drain: there is little room in the stream."""
    spider = ROOT / "tests" / "pipelines" / "chaos_spider.py"
    settings = {
        "ITEM_PIPELINES": '{"crawlo_scrapy.pipelines.RedisStreamPipeline": 300}',
        "CRAWLO_ITEMS_LIMIT": 20, "CRAWLO_ITEM_RETRY_MAX_DELAY": 0.2,
        "CRAWLO_RETRY_BACKOFF": 0, "SCHEDULER_PERSIST": False,
    }  # fmt: skip
    with (
        ChaosSite(pages=300, delay=0.01) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}", spider=spider, **settings) as fleet,
    ):
        name = f"{fleet.project}:storing:run"
        to = [*table.words, "-s", "MYSQL_UNIQUE_KEY=url"]
        drain = start_drain(name, "--redis-url", redis_url, *to, "--follow")
        fleet.start(2)
        assert set(fleet.wait(PATIENCE)) == {0}
        assert result(drain)["refused"] == 0
    urls = [url for (url,) in table.ask(f"SELECT url FROM {table.name}")]
    assert len(urls) == len(set(urls)) == 300
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys(Keys(fleet.project, "storing", "run").prefix + "*") == []


def test_what_nobody_has_drained_outlives_its_crawl(
    crawlo: Command, redis_url: str, tmp_path: Path
) -> None:
    spider = ROOT / "tests" / "pipelines" / "chaos_spider.py"
    settings = {
        "ITEM_PIPELINES": '{"crawlo_scrapy.pipelines.RedisStreamPipeline": 300}',
        "SCHEDULER_PERSIST": False,
    }
    with (
        ChaosSite(pages=20, delay=0.01) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}", spider=spider, **settings) as fleet,
    ):
        fleet.start()
        assert fleet.wait(PATIENCE) == [0]
        name = f"{fleet.project}:storing:run"
        log = fleet.logs[0].read_text()
    assert f"20 items of {name} that nobody has drained" in log
    assert f"`crawlo-scrapy items drain {name} --to …`" in log
    words = [name, "--redis-url", redis_url]
    done = crawlo("items", "drain", *words, "--to", str(tmp_path / "out.jsonl"))
    assert (done.returncode, len((tmp_path / "out.jsonl").read_text().splitlines())) == (0, 20)
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys(Keys(fleet.project, "storing", "run").prefix + "*") == []


def test_purge_spares_what_nobody_has_drained(crawlo: Command, stream: Stream) -> None:
    stream.set_state("finished")
    stream.add(*numbered(3))
    done = crawlo("purge", stream.words[0], "--yes", *stream.words[1:])
    assert done.returncode == 1
    assert f"3 items of {stream.keys.name} are not drained, 0 are dead" in done.stderr
    assert stream.waiting == 3
    done = crawlo("purge", stream.words[0], "--yes", "--items", *stream.words[1:])
    assert done.returncode == 0
    assert "3 items" in done.stdout
    assert not stream.redis.keys(stream.keys.prefix + "*")


def test_count_and_tail(crawlo: Command, stream: Stream) -> None:
    stream.add(*numbered(20))
    stream.add({"at": b"\xff", "n": float("nan")}, format="msgpack")
    stream.redis.xadd(stream.keys.items, {"json": b"{"})
    stream.redis.xgroup_create(stream.keys.items, "drain", id="0")
    stream.redis.xreadgroup("drain", "somebody", {stream.keys.items: ">"}, count=7)
    told = json.loads(crawlo("items", "count", *stream.words, "--json").stdout)
    [reader] = told.pop("readers")
    assert told == {"crawl": stream.keys.name, "waiting": 22, "held": 7, "dead": 0}
    assert (reader["name"], reader["holds"]) == ("somebody", 7)
    shown = crawlo("items", "count", *stream.words).stdout
    assert "22 items in the stream, 7 of them with a reader, 0 dead" in shown
    lines = crawlo("items", "tail", "-n", "3", *stream.words).stdout.splitlines()
    assert json.loads(lines[0]) == numbered(1, 19)[0]
    assert json.loads(lines[1]) == {"at": "b'\\xff'", "n": "nan"}
    assert "does not decode" in json.loads(lines[2])["error"]
    [line] = crawlo("items", "tail", "-n", "1", "--json", *stream.words).stdout.splitlines()
    assert sorted(json.loads(line)) == ["class", "id", "item", "time"]
    assert stream.waiting == 22


def test_tail_follows(stream: Stream) -> None:
    stream.add(*numbered(1))
    process = subprocess.Popen(
        [sys.executable, "-uc", "from crawlo_scrapy.cli import main; main()", "items", "tail",
         "--follow", *stream.words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == numbered(1)[0]
        stream.add(*numbered(1, 1))
        assert json.loads(process.stdout.readline()) == numbered(1, 1)[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.communicate()


def test_export(crawlo: Command, stream: Stream, tmp_path: Path) -> None:
    stream.add(*numbered(5), *numbered(3), {"other": [1, {"a": None}]})
    done = crawlo("items", "export", *stream.words, "-o", "items.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "Exported 9 items.\n")
    assert json.loads((tmp_path / "items.json").read_text("utf-8"))[:5] == numbered(5)
    done = crawlo("items", "export", *stream.words, "-o", "i.csv.gz", "--once", cwd=tmp_path)
    assert done.stderr == "Exported 6 items; left out 3 repeats.\n"
    rows = list(
        csv.reader(gzip.decompress((tmp_path / "i.csv.gz").read_bytes()).decode().split("\n"))
    )
    assert rows[0] == ["n", "name", "other"]  # each field of any item
    assert len([row for row in rows if row]) == 7
    lines = crawlo("items", "export", *stream.words).stdout.splitlines()
    assert [json.loads(line).get("n") for line in lines] == [0, 1, 2, 3, 4, 0, 1, 2, None]
    assert stream.waiting == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.csv.gz", "items.json"]


def test_export_of_files(crawlo: Command, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n": ')
    (tmp_path / "b.jsonl").write_text('{"n": 2}\n\n[]\n')
    files = ["--from", "a.jsonl", "--from", "b.jsonl"]
    done = crawlo("items", "export", *files, "-o", "out.json", "--once", cwd=tmp_path)
    assert "Exported 2 items; left out 1 repeat; left out 2 that could not be read" in done.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == [{"n": 1}, {"n": 2}]


@pytest.mark.slow
def test_dead_items(crawlo: Command, stream: Stream, table: Table) -> None:
    table.ask(f"CREATE TABLE {table.name} (n INT UNIQUE, name VARCHAR(3))")
    stream.add(*numbered(20))
    told = json.loads(crawlo("items", "drain", *stream.words, *table.words, "--json").stdout)
    assert (told["stored"], told["refused"], told["left"]) == (10, 10, 0)
    shown = crawlo("items", "dead", "list", *stream.words).stdout
    assert "Data too long for column 'name'" in shown
    dead = json.loads(crawlo("items", "dead", "list", "--json", *stream.words).stdout)
    assert [item["item"] for item in dead] == numbered(10, 10)
    assert {(item["storage"], item["class"]) for item in dead} == {("mysql", "builtins.dict")}
    words = stream.words
    done = crawlo("items", "dead", "purge", words[0], dead[0]["id"], "1-1", *words[1:])
    assert (done.returncode, "Removed 1 dead item" in done.stdout) == (1, True)
    assert "1 of the ids given were not there" in done.stderr
    table.ask(f"ALTER TABLE {table.name} MODIFY name VARCHAR(30)")
    done = crawlo("items", "dead", "requeue", words[0], "--all", *words[1:])
    assert "Put 9 items" in done.stdout
    crawlo("items", "drain", *stream.words, *table.words)
    assert table.numbers() == [n for n in range(20) if n != 10]
    assert "No dead items" in crawlo("items", "dead", "list", *words).stdout
    assert crawlo("items", "dead", "purge", *words).returncode == 2
    assert "is not the id" in crawlo("items", "dead", "purge", words[0], "x", *words[1:]).stderr


def test_a_table_that_fits_no_item(crawlo: Command, stream: Stream, table: Table) -> None:
    table.ask(f"CREATE TABLE {table.name} (a INT UNIQUE)")
    stream.add(*numbered(50))
    done = crawlo("items", "drain", *stream.words, *table.words)
    [error] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert (done.returncode, "has no column 'n'; it has a" in error) == (1, True)
    assert stream.waiting == 50


def test_msgpack_keeps_types(crawlo: Command, stream: Stream, table: Table) -> None:
    import datetime as dt
    import decimal

    item = {"at": dt.datetime(2024, 2, 29, 12), "price": decimal.Decimal("1.10"), "raw": b"\xff"}
    stream.add(item, format="msgpack")
    crawlo("items", "drain", *stream.words, *table.words)
    assert table.ask(f"SELECT at, price, raw FROM {table.name}") == [tuple(item.values())]


def test_hostile_items(
    crawlo: Command, stream: Stream, table: Table, mongodb_uri: str, target: str
) -> None:
    """Each is stored, or dead with a reason; none harms the others."""
    table.ask(f"CREATE TABLE {table.name} (n INT UNIQUE, v LONGTEXT)")
    good = {1: "'; DROP TABLE x; --", 2: "\0🕷\\", 3: "x" * 1_000_000}
    hostile: list[dict[str, Any]] = [
        {"n": 11, "v": "'" * (16 * 1024 * 1024)}, {"n": 13, "$set": {"n": 1}}, {"n": 14, "a.b": 1},
        {"n": 12, **{f"f{i}": i for i in range(10_000)}}, {"n": 15, "nu\0ll": 1}, {"n": 2**65},
    ]  # fmt: skip
    for words in (table.words, ["--to", mongodb_uri, "--into", target, "-s", "MONGO_DATABASE=x"]):
        stream.add(*({"n": n, "v": value} for n, value in good.items()), *hostile)
        told = json.loads(crawlo("items", "drain", *stream.words, *words, "--json").stdout)
        # MongoDB takes 10,000 fields, and what a table has no column for.
        refused = len(hostile) - (words is not table.words)
        assert (told["stored"], told["refused"], told["left"]) == (9 - refused, refused, 0)
        dead = json.loads(crawlo("items", "dead", "list", "--json", *stream.words).stdout)
        assert all(item["reason"] for item in dead)
        crawlo("items", "dead", "purge", stream.words[0], "--all", *stream.words[1:])
    assert dict(table.ask(f"SELECT n, v FROM {table.name}")) == good


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (f"mysql://me:{SECRET}@127.0.0.1:1/x", "no answer from MySQL at 127.0.0.1:1"),
        (f"mysql://me:{SECRET}@127.0.0.1:x/x", "does not parse"),
        (f"mysql://me:{SECRET}@h/x?a=1", "takes no options"),
        (f"mongodb://me:{SECRET}/@x/", "MONGO_URI does not parse"),
        (f"ftp://me:{SECRET}@127.0.0.1:1/%(batch_time)s.jsonl", "cannot store a file"),
        (f"ftp://me:{SECRET}@127.0.0.1:1/x.jsonl", "put %(batch_time)s into the name"),
        ("ftp://h/%(batch_time)s%(nope)s.jsonl", "there is no 'nope' in a file's name"),
        ("ftp://h/%(batch_time)s", "there is no format in the file's name"),
        ("ftp:///%(batch_time)s.jsonl", "cannot be used"),
        ("nope://x/%(batch_time)s.jsonl", "there is no scheme nope://"),
        ("items.json", "'items.json' is not a storage"),
        ("{nope}.jsonl", "the path '{nope}.jsonl' holds {nope}"),
        ("/proc/nope/x.jsonl", "cannot write items to"),
    ],
)
def test_errors(crawlo: Command, stream: Stream, tmp_path: Path, to: str, message: str) -> None:
    stream.add(*numbered(1))
    done = crawlo("items", "drain", *stream.words, "--to", to, cwd=tmp_path)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert SECRET not in line
    assert stream.waiting == 1


def test_a_wrong_password(crawlo: Command, stream: Stream, mariadb: MariaDB) -> None:
    stream.add(*numbered(1))
    to = f"mysql://{mariadb.user}:{SECRET}@{mariadb.host}:{mariadb.port}/{mariadb.database}"
    done = crawlo("items", "drain", *stream.words, "--to", to)
    assert "refused user 'crawlo': check MYSQL_USER and MYSQL_PASSWORD" in done.stderr
    assert SECRET not in done.stderr


def test_a_missing_driver(crawlo: Command, stream: Stream, tmp_path: Path) -> None:
    stream.add(*numbered(1))
    (tmp_path / "pymongo.py").write_text("raise ImportError")
    path = f"{tmp_path}:{ROOT}"
    done = crawlo("items", "drain", *stream.words, "--to", "mongodb://h", PYTHONPATH=path)
    assert "pip install 'crawlo_scrapy[mongodb]'" in done.stderr


def test_no_crawl_and_no_stream(crawlo: Command, stream: Stream) -> None:
    done = crawlo("items", "drain", *stream.words, "--to", "x.jsonl")
    assert (done.returncode, "there is no crawl" in done.stderr) == (1, True)
    stream.set_state("running")
    done = crawlo("items", "drain", *stream.words, "--to", "x.jsonl")
    assert (done.returncode, "has no stream of items" in done.stderr) == (1, True)
    assert "RedisStreamPipeline" in done.stderr
    away = [stream.keys.name, "--redis-url", "redis://127.0.0.1:1"]
    for words in (["drain", "--to", "x.jsonl"], ["count"], ["dead", "list"]):
        done = crawlo("items", *words, *away)
        assert (done.returncode, "cannot be reached" in done.stderr) == (1, True)
        assert len(done.stderr.splitlines()) == 1


def test_help_has_examples(crawlo: Command) -> None:
    for words in ([], ["drain"], ["export"], ["dead"]):
        assert "Examples:" in crawlo("items", *words, "--help").stdout
