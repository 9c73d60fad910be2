"""For other programs: feed a crawl, look at it, steer it. Imports no Scrapy.

::

    with CrawlClient("shop", "myspider", redis_url="redis://10.0.0.5") as crawl:
        crawl.push(["https://example.com/1", {"url": "https://example.com/2", "priority": 5}])
        print(crawl.status().queued)
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from crawlo_scrapy.payload import (
    MOST_BYTES,
    SCHEMES,
    InvalidRequest,
    PlainRequest,
    batches,
    push_of,
)
from crawlo_scrapy.payload import fingerprint as default_fingerprint
from crawlo_scrapy.store.address import Address
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, NotPossible
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import StoreError, StoreRefused, StoreUnavailable
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.frontier import PUSH_BATCH, Push
from crawlo_scrapy.store.inspect import CrawlState, inspect
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.seen import SeenChoice
from crawlo_scrapy.values import Codec

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncCrawlClient", "CrawlClient", "CrawlState", "InvalidRequest", "NotPossible", "Pushed",
    "SeenChoice", "StoreError", "StoreRefused", "StoreUnavailable",
]  # fmt: skip

T = TypeVar("T")
Given = str | Mapping[str, Any]

#: The most bytes of payload in one push, unless a single request is larger.
PUSH_BYTES = 1 << 20
#: First and longest pause between two tries to reach Redis, in seconds.
RETRY_PAUSE = (0.1, 2.0)


@dataclass
class Pushed:
    """What became of requests: queued, seen before, or no requests at all."""

    queued: int = 0
    duplicates: int = 0
    invalid: int = 0


class AsyncCrawlClient:
    """One crawl, for a program with an event loop. Nothing is sent before the first call.

    *project* is the crawl's PROJECT_NAME or BOT_NAME; *redis_url* is a URL, or an `Address` for
    what a URL cannot say (Sentinels, a cluster, certificates). *order* is the project's
    CRAWLO_QUEUE_ORDER. URLs with other *schemes* are refused (None: any will do), and so are
    requests of more than *most_bytes*: workers take neither unless their settings allow it, by
    CRAWLO_ALLOWED_SCHEMES and CRAWLO_MAX_REQUEST_SIZE. *patience* is
    how many seconds a push tries to reach a Redis that is away. *fingerprint* replaces Scrapy's
    default for a project with a REQUEST_FINGERPRINTER_CLASS of its own. *seen* is what the project
    sets of CRAWLO_SEEN, REDIS_TTL and CRAWLO_SEEN_URLS, and *layout* of CRAWLO_PARTITIONS, for a
    crawl that a push begins.

    All methods raise `StoreError` when Redis cannot serve.
    """

    def __init__(
        self,
        project: str,
        spider: str,
        crawl_id: str | None = None,
        *,
        redis_url: str | Address = "redis://127.0.0.1:6379",
        order: str = "fifo",
        schemes: Collection[str] | None = SCHEMES,
        most_bytes: int = MOST_BYTES,
        patience: float = 30.0,
        fingerprint: Callable[[PlainRequest], bytes] = default_fingerprint,
        seen: SeenChoice | None = None,
        layout: Layout | None = None,
    ) -> None:
        address = redis_url if isinstance(redis_url, Address) else Address(url=redis_url)
        self.keys = Keys(project, spider, crawl_id)
        self._client = Client.connect(address, "crawlo-client")
        self._control = Control(self._client, self.keys)
        self._order = order
        self._schemes = schemes
        self._most_bytes = most_bytes
        self._patience = patience
        self._fingerprint = fingerprint
        self._seen = seen
        self._layout = layout
        self._codec = Codec()
        self._feed: Feed | None = None
        self._turn = asyncio.Lock()

    async def push(
        self,
        requests: Iterable[Given],
        *,
        on_invalid: Callable[[int, str], None] | None = None,
        on_batch: Callable[[Pushed], None] | None = None,
        **defaults: Any,
    ) -> Pushed:
        """Queue *requests*, each unless it was seen; begin the crawl if there is none.

        A request is a URL, or a mapping with ``url`` and what else Scrapy's `Request` takes;
        callbacks go by their names. *defaults* hold where it does not say. Read and sent in
        batches, so *requests* may be endless. A connection that breaks loses nothing and
        queues nothing twice; only a push that raised may have queued what came before.

        Raises `InvalidRequest` for the first that is none, unless *on_invalid* is there to be
        called with its place and what is wrong. *on_batch* is called with the sums so far.
        """
        total = Pushed()
        for batch in self._batches(requests, defaults, on_invalid, total):
            await self._push(batch, total)
            if on_batch is not None:
                on_batch(total)
        return total

    def _batches(
        self,
        requests: Iterable[Given],
        defaults: Mapping[str, Any],
        on_invalid: Callable[[int, str], None] | None,
        total: Pushed,
    ) -> Iterator[list[Push]]:
        if isinstance(requests, (str, Mapping)):
            raise InvalidRequest("push() takes a list of requests, not a single one")
        PlainRequest.check_names(defaults)
        pushes = self._pushes(requests, defaults, on_invalid, total)
        return batches(pushes, PUSH_BATCH, PUSH_BYTES)

    def _pushes(
        self,
        requests: Iterable[Given],
        defaults: Mapping[str, Any],
        on_invalid: Callable[[int, str], None] | None,
        total: Pushed,
    ) -> Iterator[Push]:
        for place, given in enumerate(requests):
            try:
                request = PlainRequest.read(given, defaults, self._schemes)
                print_ = self._fingerprint(request)
                push = push_of(request, self._codec, print_, self._most_bytes)
            except InvalidRequest as exc:
                if on_invalid is None:
                    raise InvalidRequest(f"request {place}: {exc}") from None
                total.invalid += 1
                on_invalid(place, str(exc))
            else:
                yield push

    async def _push(self, batch: list[Push], total: Pushed) -> None:
        async with self._turn:
            fed = await self._send(batch)
        total.queued += fed.queued
        total.duplicates += len(fed.duplicates)

    async def _send(self, batch: list[Push]) -> Any:
        deadline = time.monotonic() + self._patience
        pause, longest = RETRY_PAUSE
        feed = self._feed or Feed(
            self._client, self.keys, order=self._order, choice=self._seen, layout=self._layout
        )
        # Whatever ends this early, Redis may have the batch: the next one needs another name.
        self._feed = None
        while True:
            try:
                fed = await feed.push(batch)
            except StoreUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                self._feed = feed
                return fed

    async def status(self) -> CrawlState:
        """Return how the crawl stands; its `exists` is false if there is none."""
        return await inspect(self._client, self.keys)

    async def dead_letters(self) -> int:
        """Return how many requests were given up and wait for somebody to look at them."""
        return await DeadLetters(self._client, self.keys).count()

    async def pause(self) -> None:
        """Have nobody start a request, until `resume`. Raises `NotPossible`."""
        await self._control.pause(_who())

    async def resume(self) -> None:
        """Go on after `pause`, or take `stop` back. Raises `NotPossible`."""
        await self._control.resume(_who())

    async def stop(self, *, now: bool = False, reason: str = "stopped") -> None:
        """Have all workers leave: when they are through, or *now*. Raises `NotPossible`."""
        await self._control.stop(_who(), now=now, reason=reason)

    async def close(self) -> None:
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class CrawlClient:
    """One crawl, for a program without an event loop; otherwise as `AsyncCrawlClient`.

    It has a thread of its own, so it may also be used where a loop runs. Not by two threads at
    the same time. In a process that was forked it makes itself a connection of its own.
    """

    def __init__(
        self, project: str, spider: str, crawl_id: str | None = None, **options: Any
    ) -> None:
        self._names, self._options = (project, spider, crawl_id), options
        # What belongs to the processes that this one was forked from: not to be touched, nor freed.
        self._parents: list[object] = []
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"crawl-client-{self._names[1]}", daemon=True
        )
        self._thread.start()
        try:
            self._client = self._wait(_made(self._names, self._options))
        except BaseException:
            self._stop()
            raise

    @property
    def _here(self) -> AsyncCrawlClient:
        """The client of this process."""
        if self._loop.is_closed():
            raise RuntimeError("this CrawlClient is closed; make another one")
        if self._process != os.getpid():
            # Threads do not come along, and the connection is the parent's.
            self._parents.append((self._loop, self._thread, self._client))
            self._start()
        return self._client

    def push(
        self,
        requests: Iterable[Given],
        *,
        on_invalid: Callable[[int, str], None] | None = None,
        on_batch: Callable[[Pushed], None] | None = None,
        **defaults: Any,
    ) -> Pushed:
        """Queue *requests*, as `AsyncCrawlClient.push` does; they are read in this thread."""
        total, client = Pushed(), self._here
        for batch in client._batches(requests, defaults, on_invalid, total):
            self._wait(client._push(batch, total))
            if on_batch is not None:
                on_batch(total)
        return total

    def status(self) -> CrawlState:
        """Return how the crawl stands; its `exists` is false if there is none."""
        return self._wait(self._here.status())

    def dead_letters(self) -> int:
        """Return how many requests were given up and wait for somebody to look at them."""
        return self._wait(self._here.dead_letters())

    def pause(self) -> None:
        """Have nobody start a request, until `resume`. Raises `NotPossible`."""
        self._wait(self._here.pause())

    def resume(self) -> None:
        """Go on after `pause`, or take `stop` back. Raises `NotPossible`."""
        self._wait(self._here.resume())

    def stop(self, *, now: bool = False, reason: str = "stopped") -> None:
        """Have all workers leave: when they are through, or *now*. Raises `NotPossible`."""
        self._wait(self._here.stop(now=now, reason=reason))

    def close(self) -> None:
        """Close connections and end the thread; may be called again."""
        if not self._loop.is_closed() and self._process == os.getpid():
            self._wait(self._client.close())
            self._stop()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


async def _made(names: tuple[str, str, str | None], options: Mapping[str, Any]) -> AsyncCrawlClient:
    return AsyncCrawlClient(*names, **options)


def _who() -> str:
    """Return who steers, for the crawl's audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{socket.gethostname()} (client)"
