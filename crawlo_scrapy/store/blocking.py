"""Redis from a thread: for the heartbeat, and for callers that are not asynchronous."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.exceptions as rex
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from crawlo_scrapy.store.address import Address, invalid_url
from crawlo_scrapy.store.errors import CLIENT_ERRORS, StoreError, StoreUnavailable, translate
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import script


class BlockingClient:
    """One connection that waits for its answers. As with `Client` nothing is tried twice.

    Raises `StoreRefused` for an address that cannot be one.
    """

    def __init__(self, address: Address, name: str = "") -> None:
        self.address = str(address)
        self._where = address
        self._name = name
        self._sentinels: list[redis.Redis] = []
        # One of a cluster connects as soon as it is made, and this may not be the thread for it.
        self._redis: Any = None if address.cluster_nodes else self._open_server()
        if address.cluster_nodes:
            address.cluster_options(name)
            address.cluster_places()

    def _open_server(self) -> redis.Redis:
        address = self._where
        if address.sentinels:
            self._sentinels = address.sentinel_clients(_sentinel_client)
            guide = _Guide([])  # type: ignore[no-untyped-call]
            guide.sentinels = self._sentinels
            options = {**address.options(self._name), "ssl": address.tls is not None}
            pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
                address.service, guide, retry=_never(), **options
            )
            return redis.Redis.from_pool(pool)
        url = address.server_url()
        options = {**address.options(self._name, url), "retry": _never()}
        try:
            return redis.Redis.from_pool(redis.ConnectionPool.from_url(url, **options))
        except ValueError:
            raise invalid_url() from None

    def _open_cluster(self) -> RedisCluster:
        options = self._where.cluster_options(self._name)
        places = self._where.cluster_places()
        nodes = [ClusterNode(*place) for place in places]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, retry=_never(), **options)

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Raises `StoreError`."""
        code = script(name)

        def send(client: Any) -> Any:
            try:
                return client.evalsha(code.sha, len(keys), *keys, *args)
            except rex.NoScriptError:
                return client.eval(code.source, len(keys), *keys, *args)

        return self._call(send)

    def ping(self) -> None:
        """Return when Redis has answered. Raises `StoreError`."""
        self._call(lambda client: client.ping())

    def _call(self, send: Callable[[Any], Any]) -> Any:
        try:
            if self._redis is None:
                self._redis = self._open_cluster()
            return send(self._redis)
        except CLIENT_ERRORS as exc:
            error = translate(exc, self.address, self._where.settings)
            if isinstance(error, StoreUnavailable):
                self._renew()
            raise error from exc

    def _renew(self) -> None:
        """Connect anew before the next call: another server may have taken over."""
        if self._where.cluster_nodes:
            self.close()
            self._redis = None
        else:
            self._redis.connection_pool.disconnect()

    def close(self) -> None:
        for client in (self._redis, *self._sentinels):
            if client is not None:
                client.close()


class _Guide(Sentinel):
    def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            return super().discover_master(service_name)  # type: ignore[no-any-return,no-untyped-call]
        except MasterNotFoundError:
            pass  # its text shows passwords, and not the reason
        raise MasterNotFoundError(service_name) from self._reason()

    def _reason(self) -> BaseException | None:
        for sentinel in self.sentinels:
            try:
                sentinel.ping()
            except CLIENT_ERRORS as exc:
                return exc
        return None


def _never() -> Retry:
    return Retry(NoBackoff(), 0)


def _sentinel_client(url: str, **options: Any) -> redis.Redis:
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 1), **options)


class Heartbeat(threading.Thread):
    """Says that a worker lives, from a thread: a callback may keep the reactor busy for long.

    It beats in all partitions that one server has. A Redis that is away is the exchange's to
    report.
    """

    def __init__(self, address: Address, name: str, *, interval: float, timeout: float) -> None:
        super().__init__(name=f"heartbeat-{name}", daemon=True)
        self._client = BlockingClient(address, name=f"beat-{name}")
        self._silence = round(timeout * 1000)
        self._interval = interval
        self._places: dict[str, tuple[str, list[str], Callable[[list[str] | None], None]]] = {}
        self._stopped = threading.Event()

    def beat_for(
        self, worker_id: str, keys: Keys, report: Callable[[list[str] | None], None]
    ) -> None:
        """Beat for *worker_id* in the partition of *keys*, and for nobody else there.

        *report* is called in this thread after each beat, with the ids of dead workers, or None
        when this worker itself was struck off.
        """
        names = [keys.meta, keys.workers, keys.worker(worker_id), keys.leases(worker_id)]
        self._places[keys.prefix] = (worker_id, names, report)

    def run(self) -> None:
        while not self._stopped.wait(self._interval):
            for place in list(self._places.values()):
                self._beat(*place)
        self._client.close()

    def _beat(
        self, worker_id: str, names: list[str], report: Callable[[list[str] | None], None]
    ) -> None:
        try:
            reply = self._client.run("worker_beat", names, [worker_id, self._silence])
        except StoreError:
            return
        if not self._stopped.is_set():
            report([w.decode() for w in reply[2]] if reply[0] else None)

    def stop(self) -> None:
        """Stop beating; the thread ends after the beat that may be on its way."""
        self._stopped.set()
