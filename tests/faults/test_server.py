"""What one server may suffer while four workers crawl. Nothing is lost.

The table in docs/guarantees.rst says what each of these costs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import redis.exceptions as rex

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST, free_port
from tests.faults.crawling import WORKERS, Crawl, crawl
from tests.faults.proxy import HalfProxy
from tests.servers import default_redis
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

#: Scripts count as busy after so many ms.
BUSY_MS = 100


@pytest.fixture
def server() -> Iterator[LocalRedis]:
    config = {"lua-time-limit": BUSY_MS, "appendfsync": "everysec"}
    with LocalRedis(binary=default_redis(), aof=True, config=config) as server:
        yield server


def say(server: LocalRedis, *words: object) -> object:
    with redis.Redis(port=server.port) as client:
        return client.execute_command(*words)


def full(server: LocalRedis, going: Crawl) -> None:
    """maxmemory is reached, and nothing may be evicted."""
    say(server, "CONFIG SET", "maxmemory", 1)
    going.wait_for_words("cannot serve now: .*(OOM|maxmemory)")
    say(server, "CONFIG SET", "maxmemory", 0)


def read_only(server: LocalRedis, going: Crawl) -> None:
    """It was made a replica; its master is away."""
    say(server, "REPLICAOF", HOST, free_port())
    going.wait_for_words("cannot serve now: .*read only")
    say(server, "REPLICAOF", "NO", "ONE")


def no_replicas(server: LocalRedis, going: Crawl) -> None:
    """min-replicas-to-write is not met."""
    say(server, "CONFIG SET", "min-replicas-to-write", 1)
    going.wait_for_words("cannot serve now: .*NOREPLICAS|Not enough good replicas")
    say(server, "CONFIG SET", "min-replicas-to-write", 0)


def busy(server: LocalRedis, going: Crawl) -> None:
    """Somebody's script does not end."""

    def loop() -> None:
        with redis.Redis(port=server.port) as client, pytest.raises(rex.ResponseError):
            client.eval("while true do end", 0)

    script = threading.Thread(target=loop)
    script.start()
    going.wait_for_words("cannot serve now: .*(BUSY|busy)")
    wait_until(lambda: say(server, "SCRIPT KILL"), "the script ends")
    script.join()


def no_script(server: LocalRedis, going: Crawl) -> None:
    """Somebody empties the cache of scripts, again and again."""
    for _ in range(10):
        say(server, "SCRIPT FLUSH")
        going.wait_for_pages(10)
    assert not going.count("cannot")


def hung(server: LocalRedis, going: Crawl) -> None:
    server.suspend()
    going.wait_for_words("cannot be reached .Timeout")
    server.resume()


def loading(server: LocalRedis, going: Crawl) -> None:
    """It was killed, and takes long to read its file."""
    say(server, "MSET", *(word for number in range(1000) for word in (f"heavy:{number}", "x")))
    say(server, "BGREWRITEAOF")
    wait_until(lambda: not persistence(server)["aof_rewrite_in_progress"], "it is written anew")
    server.kill()
    # Microseconds for each key; and so many bytes between two looks at who asks.
    server.config.update({"key-load-delay": 3000, "loading-process-events-interval-bytes": 1024})
    start = threading.Thread(target=server.start)
    start.start()

    def knocked() -> bool:
        with redis.Redis(port=server.port) as client:
            info = client.info()
        return bool(info["loading"]) and info["total_connections_received"] > 2 * WORKERS

    wait_until(knocked, "workers meet a server that loads")
    start.join()


def persistence(server: LocalRedis) -> dict[str, int]:
    with redis.Redis(port=server.port) as client:
        found: dict[str, int] = client.info("persistence")
    return found


FAULTS = [full, read_only, no_replicas, busy, no_script, hung, loading]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault(
    tmp_path: Path, server: LocalRedis, fault: Callable[[LocalRedis, Crawl], None]
) -> None:
    with crawl(tmp_path, server.url) as going:
        fault(server, going)
        going.finish()


def test_answers_that_end_in_the_middle(tmp_path: Path, server: LocalRedis) -> None:
    with HalfProxy(server.port) as proxy, crawl(tmp_path, proxy.url) as going:
        while proxy.halved < 20 and going.site.answered < going.site.pages // 2:
            proxy.halve()
            time.sleep(0.05)
        assert proxy.halved > 5
        going.finish()
