"""A host name that leads to another server than before.

Simulated: this process's resolver answers with another port. That a name resolves to another
address is the same to a client, which asks for both at each connect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST, free_port
from tests.crawling import crawl_settings, make_crawler, run, start, until
from tests.servers import default_redis
from tests.site import Site
from tests.test_outage import Tree
from tests.waiting import wait_until

NAME = "redis-service.test"


@pytest.fixture
def master() -> Iterator[LocalRedis]:
    with LocalRedis(binary=default_redis(), config={"repl-diskless-sync-delay": 0}) as server:
        yield server


@pytest.fixture
def replica(master: LocalRedis) -> Iterator[LocalRedis]:
    config = {"replicaof": f"{HOST} {master.port}"}
    with LocalRedis(binary=default_redis(), config=config) as server:
        wait_until(lambda: _info(server)["master_link_status"] == "up", "it is in sync")
        yield server


def _info(server: LocalRedis) -> dict[str, Any]:
    with redis.Redis(port=server.port) as client:
        found: dict[str, Any] = client.info("replication")
    return found


def say(server: LocalRedis, *words: object) -> None:
    with redis.Redis(port=server.port) as client:
        client.execute_command(*words)


def scripts_run(server: LocalRedis) -> int:
    with redis.Redis(port=server.port) as client:
        return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


class Names:
    """Where `NAME` leads."""

    def __init__(self, server: LocalRedis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        real = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host == NAME:
                host, port = HOST, self.server.port
            return real(host, port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def names(master: LocalRedis, monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(master, monkeypatch)


class Half:
    """Lets a crawl of `Tree` pause at its tenth page."""

    def __init__(self, project: str, site: Site) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        settings = crawl_settings(f"redis://{NAME}", project, CRAWLO_REDIS_TIMEOUT=2)
        self.crawler = make_crawler(Tree, settings)
        self._task = start(run(self.crawler, site=site.url, at=self._at))

    async def _at(self, number: int, spider: Tree) -> None:
        if number == 10:
            self.reached.set()
            await self.go_on.wait()

    async def finish(self) -> None:
        self.go_on.set()
        assert await self._task == "finished"
        assert set(self.crawler.spider.crawled) == set(range(Tree.pages))


@pytest.mark.parametrize("old", ["dead", "demoted"])
async def test_the_master_moves(
    old: str, names: Names, master: LocalRedis, replica: LocalRedis, project: str, site: Site
) -> None:
    half = Half(project, site)
    await half.reached.wait()
    with redis.Redis(port=master.port) as client:
        assert client.wait(1, 10_000) == 1
    say(replica, "REPLICAOF", "NO", "ONE")
    names.server = replica
    if old == "dead":
        master.kill()
    else:
        # Its connections stay, and it may be read, but not written.
        say(master, "REPLICAOF", HOST, replica.port)
    await half.finish()


async def test_a_replica_that_is_still_empty_is_not_the_end(
    names: Names, master: LocalRedis, project: str, site: Site
) -> None:
    """It has no crawl, and that does not mean that the crawl is gone."""
    half = Half(project, site)
    await half.reached.wait()
    with LocalRedis(binary=default_redis(), config={"replicaof": f"{HOST} {free_port()}"}) as empty:
        names.server = empty
        say(master, "CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: scripts_run(empty) > 2, "the worker asks it, and asks again")
        names.server = master
    await half.finish()
