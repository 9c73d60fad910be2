"""A TCP proxy that loses a chosen request, or the answer to it."""

from __future__ import annotations

import asyncio
import contextlib


class CutProxy:
    """Forwards a port of its own to *port*.

    `lose` makes the next request that holds *word* the last on its connection: ``before`` the
    server gets it, or ``after``, when the server has answered and the client does not hear it.
    """

    def __init__(self, port):
        self._target = port
        self._when = self._word = None
        self._pipes = set()
        self.cuts = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        for task in self._pipes:
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    def lose(self, when, word):
        self._when, self._word = when, word

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._pipes.add(task)
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
        both = [
            asyncio.ensure_future(self._requests(reader, there, there_reader)),
            asyncio.ensure_future(self._answers(there_reader, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, there):
                end.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()
            self._pipes.discard(task)

    async def _requests(self, reader, there, there_reader):
        while data := await reader.read(1 << 20):
            if self._when == "before" and self._word in data:
                self._when, self.cuts = None, self.cuts + 1
                return
            self._swallow = self._when == "after" and self._word in data
            there.write(data)
            await there.drain()

    async def _answers(self, there_reader, writer):
        while data := await there_reader.read(1 << 20):
            if getattr(self, "_swallow", False):
                self._when, self._swallow, self.cuts = None, False, self.cuts + 1
                return
            writer.write(data)
            await writer.drain()
