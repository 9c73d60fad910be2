"""A proxy that loses the second half of an answer."""

from __future__ import annotations

import queue
import socket
import time

from benchmarks.delayproxy import CHUNK, DelayProxy


class HalfProxy(DelayProxy):
    """After `halve` the next answer ends in its middle, and so does its connection."""

    halved = 0
    _armed = False

    def halve(self) -> None:
        self._armed = True

    def _read(self, source: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
                from_server = source.getpeername() == self._target
            except OSError:
                data, from_server = b"", False
            if self._armed and from_server and len(data) > 1:
                self._armed, data = False, data[: len(data) // 2]
                self.halved += 1
                line.put((time.monotonic(), data))
                data = b""
            line.put((time.monotonic() + self.delay, data))
