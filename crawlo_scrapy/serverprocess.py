"""Run a server as a child process that does not outlive its parent. Standard library only."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
#: How long a server may take to end after SIGTERM, in seconds.
STOP_TIMEOUT = 10.0
#: Ports are drawn from here. Together with the cluster bus (port + 10000) they stay below
#: 32768, where Linux begins to hand out ports to outgoing connections: nobody takes the
#: port of a server that is down between `kill` and `restart`.
PORT_RANGE = range(10_000, 22_000)

#: Ends the server ($1) and removes its temporary folder ($2) once its standard input, a pipe
#: that the parent holds, is closed. Unlike PR_SET_PDEATHSIG this does not fire when the thread
#: that started the server ends, and it works on macOS.
_WATCHDOG = 'read -r _; kill -9 "$1"; [ -z "$2" ] || rm -rf -- "$2"'


class ServerError(RuntimeError):
    """A server could not be found, started or used. The message says why."""


class PortInUse(ServerError):
    """Another process listens on the port that the server was to have."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens now. Somebody may a moment later."""
    for _ in range(1000):
        port = PORT_RANGE.start + secrets.randbelow(len(PORT_RANGE))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port on {HOST} from {PORT_RANGE.start} to {PORT_RANGE.stop - 1}")


class ServerProcess:
    """A server as a child process, which is killed when its parent dies, in whatever way.

    What it prints is appended to *log*. *remove* is a folder that goes when the parent dies.
    """

    def __init__(self, argv: Sequence[str | Path], log: Path, remove: Path | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            # In a session of its own, so that Ctrl-C reaches the parent only.
            self._child = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(self.pid), str(remove or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._child.poll()

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of what the server printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def terminate(self, timeout: float = STOP_TIMEOUT) -> None:
        """Ask the server to end, wait for it, and kill it when it does not within *timeout*."""
        self._end_watchdog()
        self._child.send_signal(signal.SIGTERM)
        self._child.send_signal(signal.SIGCONT)  # a suspended process does not hear SIGTERM
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server at once, as `kill -9` does."""
        self._end_watchdog()
        self._child.kill()
        self._child.wait()

    def suspend(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended server run on."""
        self._child.send_signal(signal.SIGCONT)

    def _end_watchdog(self) -> None:
        self._watchdog.kill()
        self._watchdog.wait()
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
