"""A site for benchmarks: N pages of ten links, every page reachable from the first.

    python -m benchmarks.site --pages 5000

prints its URL as the first line and serves until it is stopped. Replies are rendered
before the first request, so that the site costs the machine as little as can be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random

LINKS = 10

_TEXT = "<p>All work and no play makes a crawler a dull page to read.</p>\n" * 8


def links(page: int, pages: int) -> list[int]:
    """Return the pages that *page* links to, the same at every call.

    The first is the next page, which makes all reachable; the others are drawn at random.
    """
    draw = random.Random(page)
    return [(page + 1) % pages, *(draw.randrange(pages) for _ in range(LINKS - 1))]


def reply(page: int, pages: int) -> bytes:
    """Return the whole HTTP reply for *page*."""
    anchors = "".join(f'<li><a href="/page/{n}">Page {n}</a></li>\n' for n in links(page, pages))
    body = (
        f"<!DOCTYPE html>\n<html><head><title>Page {page}</title></head><body>\n"
        f"<h1>Page {page}</h1>\n{_TEXT}<ul>\n{anchors}</ul>\n</body></html>\n"
    )
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


class SiteProtocol(asyncio.Protocol):
    """One connection, kept open for as long as the client likes."""

    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def __init__(self, replies: dict[bytes, bytes]) -> None:
        self.replies = replies
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            path = self.buffer.split(b" ", 2)[1]
            self.buffer = self.buffer[end + 4 :]
            self.transport.write(self.replies.get(path, self.not_found))


async def serve(port: int, pages: int) -> None:
    replies = {b"/page/%d" % page: reply(page, pages) for page in range(pages)}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SiteProtocol(replies), "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/page/0", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--pages", type=int, default=5000)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, options.pages))


if __name__ == "__main__":
    main()
