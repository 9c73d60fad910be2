"""A site in this process that answers slowly and remembers who asked for what."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from typing_extensions import Self

from benchmarks.site import SiteProtocol, reply


class _SlowProtocol(SiteProtocol):
    """Answers each request after a delay; answers never overtake on one connection."""

    delay = 0.0
    requests: Counter[bytes]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            path = self.buffer.split(b" ", 2)[1]
            self.buffer = self.buffer[end + 4 :]
            self.requests[path] += 1
            answer = self.replies.get(path, self.not_found)
            asyncio.get_running_loop().call_later(self.delay, self._answer, answer)

    def _answer(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)


class ChaosSite:
    """Serves *pages* pages of ten links, each *delay* seconds after it was asked for."""

    def __init__(self, pages: int, delay: float) -> None:
        self.pages = pages
        self.requests: Counter[bytes] = Counter()
        self._replies = {b"/page/%d" % page: reply(page, pages) for page in range(pages)}
        self._delay = delay
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/page/0"

    @property
    def fetched_twice(self) -> int:
        """How many requests were for a page that had been asked for before."""
        return sum(self.requests.values()) - len(self.requests)

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
            protocol.delay, protocol.requests = self._delay, self.requests
            return protocol

        server = await self._loop.create_server(connection, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
