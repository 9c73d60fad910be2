"""A MariaDB and a MongoDB-compatible server for the tests of the item pipelines."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import pymongo

from crawlo_scrapy.serverprocess import HOST, ServerError, ServerProcess, free_port
from tests.waiting import missing, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self


class _Database(ABC):
    """A server in a temporary folder. Port and data stay the same over `kill` and `restart`."""

    user = "crawlo"
    password = "p@ss:w/rd"
    database = "crawl"
    host = HOST

    def __init__(self) -> None:
        self.port = 0
        self.folder = Path()
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="crawlo-database-"))
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @abstractmethod
    def prepare(self) -> None:
        """Put into the folder what the first start needs."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that starts the server on `port`."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server on `port` is ready for clients."""

    def start(self) -> None:
        """Start the server and return once it is ready. Nothing happens while it runs."""
        if self._process is not None:
            if self._process.alive:
                return
            self._process.kill()  # it died by itself: its watchdog must not outlive it
        for _ in range(1 if self.port else 5):
            # A server that ends at once may have lost its port to somebody else.
            before, self.port = self.port, self.port or free_port()
            log = self.folder / "server.log"
            self._process = ServerProcess(self.command(), log, self.folder)
            wait_until(self._settled, f"the server on port {self.port} answers or ends")
            if self._process.alive:
                return
            self.port = before
            self._process.kill()
        raise ServerError(f"the server ended at once; it said:\n{self.process.log_tail(20)}")

    def _settled(self) -> bool:
        return not self.process.alive or self.answers()

    def stop(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None:
            self._process.terminate()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server as `kill -9` does. `start` brings it up again with its data."""
        self.process.kill()

    def restart(self) -> None:
        """End the server in good order, and start it again with its data."""
        self.process.terminate()
        self.start()


class MariaDB(_Database):
    """MariaDB of the system, with a `database` that belongs to `user`."""

    def prepare(self) -> None:
        install = shutil.which("mariadb-install-db")
        if install is None or _mariadbd() is None:
            missing("MariaDB", "apt install mariadb-server")
        (self.folder / "init.sql").write_text(
            f"CREATE DATABASE IF NOT EXISTS {self.database} CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS {self.user}@'{HOST}' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO {self.user}@'{HOST}';\n"
        )
        if os.geteuid() == 0:
            # The server refuses to run as root, and the folder must be its user's.
            shutil.chown(self.folder, "mysql", "mysql")
        subprocess.run(
            [
                install,
                *self._common(),
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
        )

    def command(self) -> Sequence[str | Path]:
        return [
            str(_mariadbd()),
            *self._common(),
            f"--port={self.port}",
            f"--bind-address={HOST}",
            f"--socket={self.folder / 'db.sock'}",
            f"--pid-file={self.folder / 'db.pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
        ]

    def answers(self) -> bool:
        # The server greets: a packet of protocol version 10. The last step of its start.
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            greeting = connection.recv(5)
        return len(greeting) == 5 and greeting[4] == 10 and (self.folder / "db.pid").exists()

    def _common(self) -> list[str]:
        user = ["--user=mysql"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.folder / 'data'}", *user]


class GivenMySQL:
    """A MySQL or MariaDB of one's own, as mysql://USER:PASSWORD@HOST:PORT/DATABASE."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or HOST, parts.port or 3306
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self.database = unquote(parts.path.strip("/"))


def _mariadbd() -> str | None:
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec")


class MongoServer(_Database):
    """SecantusDB, which speaks MongoDB's protocol. It is not mongod: say so where it matters.

    What it acknowledges is on disk. With *auth* only `user` may log in.
    """

    def __init__(self, *, auth: bool = False) -> None:
        super().__init__()
        self._auth = auth
        self._users_exist = False

    @property
    def uri(self) -> str:
        """The address for clients, password included."""
        who = f"{self.user}:{quote(self.password, safe='')}@" if self._users_exist else ""
        where = f"mongodb://{who}{HOST}:{self.port}/{self.database}"
        return f"{where}?authSource=admin" if self._users_exist else where

    def prepare(self) -> None:
        if _secantus() is None:
            missing("SecantusDB", "pip install 'crawlo_scrapy[test]'")
        if self._auth:
            # A user can be made only while nobody has to log in.
            self.start()
            with pymongo.MongoClient(self.uri) as client:
                client.admin.command("createUser", self.user, pwd=self.password, roles=["root"])
            self._users_exist = True
            self.process.terminate()

    def command(self) -> Sequence[str | Path]:
        return [
            str(_secantus()),
            f"--host={HOST}",
            f"--port={self.port}",
            f"--storage-path={self.folder / 'data'}",
            "--log-level=WARNING",
            "--cache-size=64M",
            "--sync-on-commit",
            *(["--auth"] if self._users_exist else []),
        ]

    def answers(self) -> bool:
        with (
            contextlib.suppress(pymongo.errors.PyMongoError),
            pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=500) as client,
        ):
            return bool(client.admin.command("ping")["ok"])
        return False


def _secantus() -> str | None:
    scripts = f"{sysconfig.get_path('scripts')}:{os.environ.get('PATH', '')}"
    return shutil.which("secantusd-py", path=scripts)
