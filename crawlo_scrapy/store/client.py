"""One way to a Redis client, whether there is one server, a master that moves, or a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Any

import redis.asyncio
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from crawlo_scrapy.store.address import Address, Tls, invalid_url
from crawlo_scrapy.store.errors import (
    CLIENT_ERRORS,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    translate,
)

__all__ = ["Address", "Client", "Tls"]

OLDEST_REDIS = (6, 2)
OLDEST_VALKEY = (7, 2)


class Client:
    """A Redis client and the address to name in messages.

    Nothing is tried twice in silence: a reconnect that nobody notices would hide that the server
    lost what it had confirmed. But after an error that says that Redis cannot serve now, idle
    connections are closed, since another server may have taken over: the next call resolves
    names, and asks Sentinels and clusters, anew.
    """

    def __init__(self, address: Address, name: str = "", connections: int = 1) -> None:
        self.address = str(address)
        self._where = address
        self._sentinels: list[redis.asyncio.Redis] = []
        self._cluster: RedisCluster | None = None
        #: The client below. It does not keep to the number of connections: use `call` and `send`.
        self.redis: Any
        if address.cluster_nodes:
            self._open_cluster = functools.partial(_open_cluster, address, name, connections)
            self._cluster = self.redis = self._open_cluster()
        else:
            self.redis = redis.asyncio.Redis.from_pool(self._open_pool(address, name))
        self._turns = asyncio.Semaphore(connections)
        self._users: Counter[Any] = Counter()  # how many calls are under way, by the client below

    @classmethod
    def connect(cls, address: Address, name: str = "", *, connections: int = 1) -> Client:
        """Return a client; nothing is sent yet. *name* shows in CLIENT LIST.

        It opens *connections* to one server at most; further calls wait for one that is free.
        With a cluster it has one more, to learn who serves what. Raises `StoreRefused` for an
        address that cannot be one.
        """
        return cls(address, name, connections)

    def _open_pool(self, address: Address, name: str) -> redis.asyncio.ConnectionPool:
        if address.sentinels:
            self._sentinels = address.sentinel_clients(_sentinel_client)
            guide = _Guide([])  # type: ignore[no-untyped-call]
            guide.sentinels = self._sentinels
            options = {**address.options(name), "retry": _never(), "ssl": address.tls is not None}
            return SentinelConnectionPool(  # type: ignore[no-untyped-call]
                address.service, guide, **options
            )
        url = address.server_url()
        options = {**address.options(name, url), "retry": _never()}
        try:
            return redis.asyncio.ConnectionPool.from_url(url, **options)
        except ValueError:
            # The text of the error may hold the URL, and so a password.
            raise invalid_url() from None

    async def check_server(self) -> str:
        """Return name and version of the server. Raises `StoreRefused` when it is too old."""
        info = await self.call("info", "server", near="")
        if "valkey_version" in info:
            name, version, oldest = "Valkey", str(info["valkey_version"]), OLDEST_VALKEY
        else:
            name, version, oldest = "Redis", str(info.get("redis_version", "0")), OLDEST_REDIS
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < oldest:
            raise StoreRefused(
                f"{name} {version} at {self.address} is too old: crawlo_scrapy needs "
                "Redis 6.2 or newer, or Valkey 7.2 or newer."
            )
        return f"{name} {version}"

    async def check_master(self, near: str) -> None:
        """Return if the server of the key *near* is a master. Raises `StoreUnavailable`.

        A replica may be empty because it has not copied its master yet.
        """
        info = await self.call("info", "replication", near=near)
        if info.get("role") != "master":
            await self._renew()
            raise StoreUnavailable(
                f"Redis at {self.address} cannot serve now: it is a replica that has not copied "
                "its master yet"
            )

    async def call(self, method: str, *args: Any, near: str | None = None, **kwargs: Any) -> Any:
        """Call one method of the client, with our errors. Raises `StoreError`.

        A command without keys needs *near*: of a cluster, the server of that key gets it.
        """
        try:
            async with self._turn() as client:
                if self._cluster is not None and near is not None:
                    kwargs["target_nodes"] = await _node(client, near)
                return await getattr(client, method)(*args, **kwargs)
        except CLIENT_ERRORS as exc:
            raise await self.failure(exc) from exc

    async def send(
        self,
        commands: Iterable[Sequence[Any]],
        *,
        near: str | None = None,
        transaction: bool = False,
    ) -> list[Any]:
        """Send *commands* in one round trip and return their results, errors among them.

        Those without keys need *near*, as in `call`. A *transaction* is of one crawl. Raises
        `StoreError` when they could not be sent, or no answer came.
        """
        try:
            async with self._turn() as client:
                targets = {}
                if self._cluster is not None and near is not None:
                    targets["target_nodes"] = [await _node(client, near)]
                pipeline = client.pipeline(transaction=transaction)
                for command in commands:
                    pipeline.execute_command(*command, **targets)
                results: list[Any] = await pipeline.execute(raise_on_error=False)
        except CLIENT_ERRORS as exc:
            raise await self.failure(exc) from exc
        return results

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[Any]:
        """Wait for a connection that is free; what came in its place since is for the next."""
        async with self._turns:
            client = self.redis
            self._users[client] += 1
            try:
                yield client
            finally:
                self._users[client] -= 1
                if client is not self.redis and not self._users[client]:
                    del self._users[client]
                    await _close_cluster(client)

    async def failure(self, exc: BaseException) -> StoreError:
        """Return what an error of `send` means; the next call connects anew if that may help."""
        error = translate(exc, self.address, self._where.settings)
        if isinstance(error, StoreUnavailable):
            await self._renew()
        return error

    async def _renew(self) -> None:
        try:
            if self._cluster is not None and self._users[self._cluster]:
                # It would close the connections of other calls, too.
                self._cluster = self.redis = self._open_cluster()
            elif self._cluster is not None:
                await self._cluster.aclose()
            else:
                await self.redis.connection_pool.disconnect(inuse_connections=False)
        except CLIENT_ERRORS:
            return  # of connections that were broken anyway

    async def server_of(self, key: str) -> str:
        """Return which server of a cluster has *key*; "" where there is only one."""
        if self._cluster is None:
            return ""
        try:
            return (await _node(self._cluster, key)).name
        except CLIENT_ERRORS as exc:
            raise await self.failure(exc) from exc

    async def servers(self) -> list[Address]:
        """Return the address of each master; where there is only one, that of this client."""
        if self._cluster is None:
            return [self._where]
        await self.server_of("")
        nodes = self._cluster.get_primaries()
        return [
            replace(
                self._where, url=None, host=str(node.host), port=int(node.port), cluster_nodes=()
            )
            for node in nodes
        ]

    async def scan(
        self, match: str, step: int, *, near: str | None = None
    ) -> AsyncIterator[list[bytes]]:
        """Yield the names of all keys that *match*, in lists; some may come twice.

        A server looks at *step* keys at a time, or a few more.

        Where all that can match are of one crawl, *near* is one of them, and of a cluster only
        the server of that crawl is asked. Raises `StoreError`.
        """
        while True:
            before = await self.server_of(near or "")
            for node in self._scanned(near):
                async for page in self._scan_server(match, step, node):
                    yield page
            if near is None or self._cluster is None:
                return
            # A cursor means nothing to another server, and only commands with keys tell of a move.
            await self.call("exists", near)
            if await self.server_of(near) == before:
                return

    def _scanned(self, near: str | None) -> list[ClusterNode | None]:
        if self._cluster is None:
            return [None]
        if near is None:
            return list(self._cluster.get_primaries())
        return [self._cluster.get_node_from_key(near)]

    async def _scan_server(
        self, match: str, step: int, node: ClusterNode | None
    ) -> AsyncIterator[list[bytes]]:
        target: dict[str, Any] = {} if node is None else {"target_nodes": node}
        cursor = 0
        while True:
            reply = await self.call("scan", cursor, match=match, count=step, **target)
            cursor, page = reply if node is None else (reply[0][node.name], reply[1])
            yield page
            if not int(cursor):
                return

    async def close(self) -> None:
        """Close all connections; never raises for a server that is gone."""
        if self._cluster is not None:
            for cluster in {self._cluster, *self._users}:
                await _close_cluster(cluster)
            return
        for client in (self.redis, *self._sentinels):
            with contextlib.suppress(*CLIENT_ERRORS, RuntimeError):
                await client.aclose()


class _Guide(Sentinel):
    async def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            found: tuple[str, int] = await super().discover_master(service_name)
            return found
        except MasterNotFoundError:
            pass  # its text shows passwords, and not the reason
        raise MasterNotFoundError(service_name) from await self._reason()

    async def _reason(self) -> BaseException | None:
        for sentinel in self.sentinels:
            try:
                await sentinel.ping()
            except CLIENT_ERRORS as exc:
                return exc
        return None


def _never() -> Retry:
    return Retry(NoBackoff(), 0)


def _sentinel_client(url: str, **options: Any) -> redis.asyncio.Redis:
    # A connection that has become stale since it was last asked is no sign that it is down.
    return redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 1), **options)


async def _node(cluster: RedisCluster, key: str) -> ClusterNode:
    await cluster.initialize()
    node = cluster.get_node_from_key(key)
    assert node is not None
    return node


async def _close_cluster(cluster: RedisCluster) -> None:
    # It leaves connections open after an error.
    asked = cluster.nodes_manager.startup_nodes.values()
    nodes = [node.disconnect for node in (*asked, *cluster.get_nodes())]
    for close in (cluster.aclose, *nodes):
        with contextlib.suppress(*CLIENT_ERRORS, RuntimeError):
            await close()


def _open_cluster(address: Address, name: str, connections: int) -> RedisCluster:
    options = address.cluster_options(name)
    nodes = [ClusterNode(*place) for place in address.cluster_places()]
    return RedisCluster(startup_nodes=nodes, max_connections=connections, retry=_never(), **options)
