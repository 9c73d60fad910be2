"""The folder in which Scrapy keeps a paused crawl (JOBDIR)."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from queuelib.queue import FifoDiskQueue, FifoSQLiteQueue, LifoDiskQueue, LifoSQLiteQueue

from crawlo_scrapy.migration.requests import Entry

#: A queue of one priority; with an s: of start requests.
_QUEUE = re.compile(r"-?\d+s?")
_SQLITE = b"SQLite format 3\0"
#: What the queue is called once it was moved: Scrapy no longer finds it. Later ones have a number.
MOVED = "requests.queue.moved"
#: How many fingerprints are yielded at a time.
STEP = 1000


class JobDirError(ValueError):
    """A folder is not that of a paused crawl; the message says why."""


class JobDirSource:
    """The requests and fingerprints in *folder*. A copy is read; the folder stays as it is.

    Queues are in the order in which Scrapy would have taken requests out. *lifo*: also those of
    SQLite, whose files do not tell.
    """

    def __init__(self, folder: Path, *, lifo: bool = True, with_seen: bool = True) -> None:
        self._folder = folder
        self._lifo = lifo
        self._with_seen = with_seen
        self._queue = folder / "requests.queue"
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._queues: list[Any] = []
        self._entries: Iterator[bytes] = iter(())
        self._total = self._place = 0
        self.id = ""

    async def open(self, crawl: str) -> None:
        """Copy the queue. Raises `JobDirError`."""
        moved = (self._folder / MOVED).exists()
        if not self._queue.is_dir():
            if moved:
                return
            raise JobDirError(f"{self._folder} has no folder requests.queue: it is no JOBDIR.")
        if not (self._queue / "active.json").exists():
            raise JobDirError(
                f"{self._queue} has no active.json: the crawl was killed, or it still runs. Start "
                "it again with Scrapy and stop it with Ctrl-C, once."
            )
        self._copy = tempfile.TemporaryDirectory(prefix="crawlo-jobdir-")
        copy = Path(self._copy.name, "q")
        shutil.copytree(self._queue, copy)
        self.id = self._name()
        self._queues = [self._opened(path) for path in _queues_in(copy)]
        self._total = sum(map(len, self._queues))
        self._entries = self._popped()

    def _name(self) -> str:
        """Return what tells this pause of the crawl from all others."""
        active = (self._queue / "active.json").stat()
        name = f"{self._queue.resolve()} {active.st_mtime_ns} {active.st_ino}"
        return hashlib.sha256(name.encode()).hexdigest()[:16]

    def _opened(self, path: Path) -> Any:
        if path.is_dir():
            return FifoDiskQueue(str(path))
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                lifo = self._lifo and not path.name.endswith("s")
                return (LifoSQLiteQueue if lifo else FifoSQLiteQueue)(str(path))
        return LifoDiskQueue(str(path))

    def _popped(self) -> Iterator[bytes]:
        for queue in self._queues:
            while (data := queue.pop()) is not None:
                yield data

    async def begin(self, crawl: str) -> None:
        """Nothing needs to be set aside."""

    async def total(self) -> int:
        return self._total

    async def read(self, start: int, count: int) -> list[Entry]:
        """Return entries from *start* on, which may not be before what was read."""
        while self._place < start and next(self._entries, None) is not None:
            self._place += 1
        entries = [Entry(data) for data in islice(self._entries, count)]
        self._place += len(entries)
        return entries

    async def seen_total(self) -> int:
        return sum(1 for _ in self._fingerprints())

    async def seen(self) -> AsyncIterator[list[bytes]]:
        """Yield all fingerprints, hexadecimal."""
        page: list[bytes] = []
        for fingerprint in self._fingerprints():
            page.append(fingerprint.hex().encode())
            if len(page) == STEP:
                yield page
                page = []
        yield page

    def _fingerprints(self) -> Iterator[bytes]:
        """Read requests.seen: lines of hexadecimal, or, of later Scrapys, sizes and bytes."""
        path = self._folder / "requests.seen"
        if not path.exists() or not self._with_seen or not self.id:
            return
        with path.open("rb") as file:
            first = file.read(1)
            file.seek(0)
            if first in b"0123456789abcdef":
                for line in file:
                    # A crash may have left half a line at the end.
                    if line.endswith(b"\n"):
                        yield bytes.fromhex(line.decode("ascii"))
                return
            while len(size := file.read(2)) == 2:
                length = int.from_bytes(size, "big")
                fingerprint = file.read(length)
                if len(fingerprint) == length:
                    yield fingerprint

    async def finish(self) -> None:
        """Take the queue out of Scrapy's way."""
        if self.id:
            number, moved = 1, self._folder / MOVED
            while moved.exists():
                number += 1
                moved = self._folder / f"{MOVED}.{number}"
            self._queue.rename(moved)

    def close(self) -> None:
        """Remove the copy."""
        for queue in self._queues:
            queue.close()
        if self._copy is not None:
            self._copy.cleanup()


def _queues_in(folder: Path) -> list[Path]:
    """Return the queues of all hosts, those of the highest priority (the lowest number) first."""
    found = (path for path in folder.rglob("*") if _QUEUE.fullmatch(path.name))
    return sorted(found, key=lambda path: (int(path.name.rstrip("s")), str(path)))
