"""A file that many processes append to, and that holds whole lines only."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: How much of a file's end is read at once when a torn line is looked for, in bytes.
_STEP = 64 * 1024


class AppendFile:
    """Appends whole lines to *path*, one write a call, under a lock that other writers respect.

    A process that is killed in the middle of a write leaves half a line. The next writer
    takes it away: its item was never confirmed. With *fsync* a line survives a power cut too.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fsync: bool = False,
        header: Callable[[], bytes] | None = None,
        whole_end: Callable[[int], int] | None = None,
    ) -> None:
        self.path = Path(path)
        self._fsync = fsync
        self._header = header
        self._whole_end = whole_end or self._last_line_end
        self._fd = -1
        # A lock on a file does not keep a process's own threads from each other.
        self._mutex = threading.Lock()

    def append(self, lines: bytes) -> None:
        """Write *lines*, which end in a newline. On `OSError` nothing of them is in the file."""
        with self._locked() as fd:
            start = self._mend(fd)
            data = self._header() + lines if start == 0 and self._header else lines
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                if self._fsync:
                    os.fsync(fd)
            except OSError:
                os.ftruncate(fd, start)
                raise

    def head(self) -> bytes:
        """Return the first line, or nothing when the file is empty."""
        with self._locked() as fd:
            return _first_line(fd)

    def start(self) -> bytes:
        """Write the header if the file is empty; return the first line that it then has."""
        with self._locked() as fd:
            if self._mend(fd) == 0 and self._header:
                os.write(fd, self._header())
            return _first_line(fd)

    def close(self) -> None:
        """Close the file; `append` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield the descriptor of the file that *path* names now, locked."""
        with self._mutex:
            self._lock_current()
            try:
                yield self._fd
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock_current(self) -> None:
        while True:
            if self._fd < 0:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self.path, flags, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._is_current():
                return
            self.close()  # the file was moved away, by logrotate for example

    def _is_current(self) -> bool:
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._fd))

    def _mend(self, fd: int) -> int:
        """Cut off half a line that a dead writer left; return the file's size after that."""
        size = os.fstat(fd).st_size
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return size
        end = self._whole_end(fd)
        os.ftruncate(fd, end)
        return end

    @staticmethod
    def _last_line_end(fd: int) -> int:
        end = os.fstat(fd).st_size
        while end > 0:
            start = max(0, end - _STEP)
            place = os.pread(fd, end - start, start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
        return 0


def _first_line(fd: int) -> bytes:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.readline()
