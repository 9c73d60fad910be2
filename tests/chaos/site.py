"""A site in this process that answers slowly and remembers who asked for what."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict

from typing_extensions import Self

from benchmarks.site import SiteProtocol, reply


class _SlowProtocol(SiteProtocol):
    """Answers each request after a delay; answers never overtake on one connection."""

    site: ChaosSite

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            path = self.buffer.split(b" ", 2)[1]
            self.buffer = self.buffer[end + 4 :]
            self.site.requests[path] += 1
            address = self.transport.get_extra_info("sockname")[0]
            self.site.arrivals[address].append(time.monotonic())
            answer = self.replies.get(path, self.not_found)
            asyncio.get_running_loop().call_later(self.site.delay, self.answer, answer)

    def answer(self, answer: bytes) -> None:
        if self.site.holding:
            self.site.held.append((self, answer))
        elif not self.transport.is_closing():
            self.transport.write(answer)
            self.site.answered += 1


class ChaosSite:
    """Serves *pages* pages of ten links, each *delay* seconds after it was asked for.

    `requests` counts what was asked for, `answered` what was sent. After `hold` no answer is
    sent until `release`.
    """

    def __init__(self, pages: int, delay: float) -> None:
        self.pages = pages
        self.requests: Counter[bytes] = Counter()
        #: When requests came, by the address that they came to.
        self.arrivals: dict[str, list[float]] = defaultdict(list)
        self._replies = {b"/page/%d" % page: reply(page, pages) for page in range(pages)}
        self.delay = delay
        self.answered = 0
        self.holding = False
        self.held: list[tuple[_SlowProtocol, bytes]] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/page/0"

    @property
    def fetched_twice(self) -> int:
        """How many requests were for a page that had been asked for before."""
        return sum(self.requests.values()) - len(self.requests)

    def hold(self) -> None:
        self.holding = True

    @property
    def waiting(self) -> int:
        """How many of the answers that are held back somebody still waits for."""
        return sum(not protocol.transport.is_closing() for protocol, _ in self.held)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self.holding = False
        while self.held:
            protocol, answer = self.held.pop(0)
            protocol.answer(answer)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

        def connection() -> _SlowProtocol:
            protocol = _SlowProtocol(self._replies)
            protocol.site = self
            return protocol

        server = await self._loop.create_server(connection, "0.0.0.0", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
