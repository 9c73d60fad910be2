"""Masters that are replaced while four workers crawl. Nothing is lost.

The table in docs/guarantees.rst says what each of these costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST
from tests.faults.crawling import Crawl, crawl
from tests.servers import RedisCluster, RedisSentinel
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FORGOTTEN = "Redis has forgotten the last moments"


def role(server: LocalRedis) -> str:
    with redis.Redis(port=server.port, socket_timeout=1) as client:
        return str(client.info("replication")["role"])


# Sentinel.


@pytest.fixture
def sentinel() -> Iterator[RedisSentinel]:
    with RedisSentinel(config={"appendonly": "yes"}) as sentinel:
        yield sentinel


def crawl_of_sentinel(folder: Path, sentinel: RedisSentinel) -> AbstractContextManager[Crawl]:
    places = ",".join(f"{host}:{port}" for host, port in sentinel.sentinels)
    return crawl(folder, "redis://nobody.invalid", REDIS_SENTINEL_URLS=places)


def master_and_replica(sentinel: RedisSentinel) -> tuple[LocalRedis, LocalRedis]:
    one, other = sentinel.data_servers
    return (one, other) if one.port == sentinel.master()[1] else (other, one)


def test_a_master_that_dies(tmp_path: Path, sentinel: RedisSentinel) -> None:
    with crawl_of_sentinel(tmp_path, sentinel) as going:
        dead = sentinel.kill_master()
        sentinel.wait_for_failover(dead)
        going.wait_for_words("Redis is back after")
        going.finish()


def test_a_master_that_hangs_and_comes_back(tmp_path: Path, sentinel: RedisSentinel) -> None:
    """For a moment there are two. Nobody works with the old one."""
    with crawl_of_sentinel(tmp_path, sentinel) as going:
        master, replica = master_and_replica(sentinel)
        master.suspend()
        sentinel.wait_for_failover(master)
        going.wait_for_words("Redis is back after")
        master.resume()
        wait_until(lambda: role(master) == "slave", "the old master is a replica")
        going.finish()
        assert role(replica) == "master"


def test_a_replica_without_the_last_writes(tmp_path: Path, sentinel: RedisSentinel) -> None:
    """What it lacks had been confirmed. Workers notice, and do again what may be concerned."""
    with crawl_of_sentinel(tmp_path, sentinel) as going:
        master, replica = master_and_replica(sentinel)
        replica.kill()
        going.wait_for_pages(100)
        master.kill()
        replica.start()
        sentinel.wait_for_failover(master)
        going.wait_for_words(FORGOTTEN, workers=1)
        going.finish()


# Cluster.


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(replicas=1) as cluster:
        yield cluster


def crawl_of_cluster(folder: Path, cluster: RedisCluster) -> AbstractContextManager[Crawl]:
    places = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes if node.alive)
    return crawl(folder, "redis://nobody.invalid", REDIS_CLUSTER_NODES=places)


def owner(cluster: RedisCluster, key: str) -> LocalRedis:
    """Return the node that has the slot of *key*, by what another says."""
    asked = next(node for node in cluster.nodes if node.alive)
    with redis.RedisCluster(host=HOST, port=asked.port) as client:
        port = client.get_node_from_key(key).port
    return next(node for node in cluster.nodes if node.port == port)


def test_a_slot_that_moves(tmp_path: Path, cluster: RedisCluster) -> None:
    """The crawl's keys go to another master one by one, and back, while it crawls."""
    with crawl_of_cluster(tmp_path, cluster) as going:
        here = owner(cluster, going.key())
        there = next(node for node in cluster.nodes[:3] if node is not here)
        for source, target in ((here, there), (there, here)):
            move(going.key(), source, target, cluster)
            going.wait_for_pages(100)
        going.finish()


def move(key: str, source: LocalRedis, target: LocalRedis, cluster: RedisCluster) -> None:
    """Move the slot of *key*, as ``redis-cli --cluster reshard`` does."""
    clients = {node: redis.Redis(port=node.port) for node in cluster.nodes}
    ids = {node: client.execute_command("CLUSTER MYID") for node, client in clients.items()}
    slot = clients[source].cluster("KEYSLOT", key)

    def say(node: LocalRedis, *words: object) -> None:
        clients[node].execute_command("CLUSTER SETSLOT", slot, *words)

    say(target, "IMPORTING", ids[source])
    say(source, "MIGRATING", ids[target])
    while keys := clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 10):
        clients[source].execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source):
        say(node, "NODE", ids[target])
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("blow", ["kill", "suspend"])
def test_a_master_of_a_cluster_that_is_gone(
    tmp_path: Path, cluster: RedisCluster, blow: str
) -> None:
    with crawl_of_cluster(tmp_path, cluster) as going:
        ride_out(going, owner(cluster, going.key()), blow)


def ride_out(going: Crawl, victim: LocalRedis, blow: str) -> None:
    """Strike *victim*, see the crawl to its end without it, and have it back as a replica."""
    getattr(victim, blow)()
    going.wait_for_words("Redis is back after")
    going.finish()
    if blow == "kill":
        victim.start()
    else:
        victim.resume()
    wait_until(lambda: role(victim) == "slave", "it is a replica now")
