"""A site in the test's own event loop, with a page for every way that a download can go."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

HOST = "127.0.0.1"


class Site:
    """Answers by the first part of the path; what follows only tells pages apart.

    ``/ok`` is a page. ``/redirect/x`` leads to ``/ok/x``. ``/flaky`` is 503 once, then a page.
    ``/missing`` is 404. ``/broken`` closes the connection. ``/never`` says nothing.
    ``/gate`` is a page once `open_gate` was called. `hits` counts what was asked for. `robots` is
    what stands in ``/robots.txt``; None closes the connection.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.robots: bytes | None = b""
        self._gate = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def open_gate(self) -> None:
        self._gate.set()

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def stop(self) -> None:
        self._server.close()
        self._gate.set()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.split(b" ", 2)[1].decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        self.hits[path] += 1
        kind = path.split("/")[1]
        if kind == "never":
            return
        if kind == "broken" or (kind == "robots.txt" and self.robots is None):
            raise ConnectionResetError
        if kind == "gate":
            await self._gate.wait()
        status, extra = "200 OK", ""
        if kind == "redirect":
            status, extra = "302 Found", f"Location: {path.replace('redirect', 'ok', 1)}\r\n"
        elif kind == "missing":
            status = "404 Not Found"
        elif kind == "flaky" and self.hits[path] == 1:
            status = "503 Service Unavailable"
        body = self.robots or b"" if kind == "robots.txt" else b"<html>page</html>"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
