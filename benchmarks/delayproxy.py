"""A TCP proxy that adds latency, and that can be cut or made to hang.

Threads and `time.sleep` rather than asyncio, whose timers round up to whole milliseconds.
Good for about 8,000 round trips a second: measure saturation without it.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time

from crawlo_scrapy.serverprocess import HOST, free_port

#: How much is read at once, in bytes.
CHUNK = 64 * 1024


class DelayProxy:
    """Forwards a free port of 127.0.0.1 to *host*:*port*, *delay* seconds later each way.

    The order of bytes is kept. A round trip costs twice *delay* and about 0.3 ms. `cut`
    drops all connections and refuses new ones; `hang` keeps them and lets nothing through;
    `restore` ends both.
    """

    def __init__(self, port: int, *, host: str = HOST, delay: float = 0.0) -> None:
        self.delay = delay
        self._target = (host, port)
        self._flowing = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0

    def __enter__(self) -> DelayProxy:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Listen, on the same port after a `cut`. Nothing happens when it listens already."""
        self._flowing.set()
        if self._listener is None:
            self._listener = self._listen()
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    restore = start

    def stop(self) -> None:
        """Drop all connections and stop listening: clients are refused from now on."""
        with self._lock:
            listener, self._listener = self._listener, None
            sockets = list(self._sockets)
        self._flowing.set()  # threads that wait in a hang see that their sockets are gone
        for one in [*sockets, *([listener] if listener else [])]:
            _shut(one)
        if listener:
            listener.close()

    cut = stop

    def hang(self) -> None:
        """Let nothing through, in either direction. New connections open and get no answer."""
        self._flowing.clear()

    def _listen(self) -> socket.socket:
        while True:
            port = self.port or free_port()
            try:
                return socket.create_server((HOST, port), backlog=512)
            except OSError:
                if self.port:
                    raise

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            if not self._adopt(listener, client, server):
                return
            self._forward(client, server)
            self._forward(server, client)

    def _adopt(self, listener: socket.socket, *pair: socket.socket) -> bool:
        """Remember *pair* for `cut`, unless that was called meanwhile."""
        with self._lock:
            if self._listener is listener:
                self._sockets.update(pair)
                return True
        for one in pair:
            one.close()
        return False

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(source, line), daemon=True).start()
        threading.Thread(target=self._send, args=(sink, line, source), daemon=True).start()

    def _read(self, source: socket.socket, line: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(CHUNK)
            except OSError:
                data = b""
            line.put((time.monotonic() + self.delay, data))

    def _send(
        self,
        sink: socket.socket,
        line: queue.SimpleQueue[tuple[float, bytes]],
        source: socket.socket,
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = line.get()
                if (wait := due - time.monotonic()) > 0:
                    time.sleep(wait)
                self._flowing.wait()
                if not data:
                    break
                sink.sendall(data)
        # One side has closed, or was cut: so is the other. Its own threads end by that.
        _shut(sink)
        _shut(source)
        with self._lock:
            self._sockets.discard(source)
        source.close()


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
