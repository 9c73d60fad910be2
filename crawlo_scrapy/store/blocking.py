"""Redis from a thread: for the heartbeat, and for callers that are not asynchronous."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import redis
import redis.exceptions as rex
from redis.backoff import NoBackoff
from redis.retry import Retry

from crawlo_scrapy.store.client import Address, client_options, invalid_url
from crawlo_scrapy.store.errors import StoreError, translate
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import script


class BlockingClient:
    """One connection that waits for its answers."""

    def __init__(self, address: Address, name: str = "") -> None:
        self.address = str(address)
        options = client_options(address, name) | {
            "retry": Retry(NoBackoff(), 0),
            "max_connections": 1,
        }
        if address.url is None:
            self._redis = redis.Redis(host=address.host, port=address.port, **options)
            return
        try:
            self._redis = redis.Redis.from_url(address.url, **options)
        except ValueError:
            raise invalid_url() from None

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script. Raises `StoreError`."""
        code = script(name)
        try:
            try:
                return self._redis.evalsha(code.sha, len(keys), *keys, *args)
            except rex.NoScriptError:
                return self._redis.eval(code.source, len(keys), *keys, *args)
        except (rex.RedisError, OSError) as exc:
            raise translate(exc, self.address) from exc

    def ping(self) -> None:
        """Return when Redis has answered. Raises `StoreError`."""
        try:
            self._redis.ping()
        except (rex.RedisError, OSError) as exc:
            raise translate(exc, self.address) from exc

    def close(self) -> None:
        self._redis.close()


class Heartbeat(threading.Thread):
    """Says that a worker lives, from a thread: a callback may keep the reactor busy for long.

    *report* is called in this thread after each beat, with the ids of dead workers, or None
    when this worker itself was struck off. A Redis that is away is the exchange's to report.
    """

    def __init__(
        self,
        address: Address,
        keys: Keys,
        worker_id: str,
        *,
        interval: float,
        timeout: float,
        report: Callable[[list[str] | None], None],
    ) -> None:
        super().__init__(name=f"heartbeat-{worker_id}", daemon=True)
        self._client = BlockingClient(address, name=f"beat-{worker_id}")
        self._keys = [keys.meta, keys.workers, keys.worker(worker_id), keys.leases(worker_id)]
        self._args = [worker_id, round(timeout * 1000)]
        self._interval = interval
        self._report = report
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._interval):
            try:
                reply = self._client.run("worker_beat", self._keys, self._args)
            except StoreError:
                continue
            if not self._stopped.is_set():
                self._report([w.decode() for w in reply[2]] if reply[0] else None)
        self._client.close()

    def stop(self) -> None:
        """Stop beating; the thread ends after the beat that may be on its way."""
        self._stopped.set()
