"""Local feed files when several workers on a host have the same FEEDS, or the same ``-o``."""

from __future__ import annotations

import fcntl
import io
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from scrapy.extensions.feedexport import FileFeedStorage

from crawlo_scrapy.connection import node_id
from crawlo_scrapy.pipelines.append_file import AppendFile

if TYPE_CHECKING:
    from scrapy import Spider

logger = logging.getLogger(__name__)

#: Formats of which each item is a line of its own, so that many may append to one file.
SHARED_FORMATS = ("jsonlines", "jsonl", "jl", "csv")


class WorkerFileStorage(FileFeedStorage):
    """Scrapy's storage for local files, for more than one writer.

    JSON lines and CSV: the workers share the file. An item is in it, whole, when it was exported,
    before its request is acked. Any other format, and a file that is to be overwritten, has one
    writer; whoever comes second writes a file of its own beside it, and the log says so.
    """

    def __init__(self, uri: str, *, feed_options: dict[str, Any] | None = None) -> None:
        super().__init__(uri, feed_options=feed_options)
        options = feed_options or {}
        self._format = options.get("format")
        self._header = (options.get("item_export_kwargs") or {}).get("include_headers_line", True)
        self._shared = (
            self._format in SHARED_FORMATS
            and self.write_mode == "ab"
            and not options.get("postprocessing")
        )

    def open(self, spider: Spider) -> IO[bytes]:
        paths = _paths(Path(self.path), node_id(spider.settings))
        if self._shared:
            header = self._format == "csv" and self._header
            return cast("IO[bytes]", _SharedFile(paths, header))
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        file = next(filter(None, map(_open_alone, paths)))
        if Path(file.name) != Path(self.path):
            logger.warning(
                "%s is being written by another worker, and a file of this kind has one writer: "
                "this worker writes to %s. Workers can share a file of JSON lines or CSV",
                self.path, file.name,
            )  # fmt: skip
        if self.write_mode == "wb":
            file.truncate(0)
        return file


def _paths(path: Path, node: str) -> Iterator[Path]:
    """The path that was asked for, and those that this worker turns to, one after the other."""
    yield path
    for number in itertools.count(1):
        more = "" if number == 1 else f"-{number}"  # for more than one crawl in the process
        yield path.with_name(f"{path.stem}-{node}{more}{path.suffix}")


def _open_alone(path: Path) -> IO[bytes] | None:
    """Open *path* to append, locked until it is closed. None if somebody else has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class _SharedFile(io.RawIOBase):
    """What an exporter writes to: each write is a whole line, or several.

    With *header* the first write is the header of a CSV file. One that is there already is not
    written again; a file with other columns is left alone, and the rows go to the next path.
    """

    def __init__(self, paths: Iterator[Path], header: bool) -> None:
        super().__init__()
        self._paths = paths
        self._starts = header
        self._file = AppendFile(next(paths))
        self._file.head()  # an error of the path's shows now, and an empty crawl has its file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        lines = bytes(data)
        if self._starts:
            self._start(lines)
            self._starts = False
        else:
            self._file.append(lines)
        return len(lines)

    def _start(self, header: bytes) -> None:
        path = self._file.path
        self._file.close()
        self._file = AppendFile(path, header=lambda: header)
        while self._file.start() != header:
            self._file.close()
            self._file = AppendFile(next(self._paths), header=lambda: header)
        if self._file.path != path:
            logger.warning("%s has other columns: this worker writes to %s", path, self._file.path)

    def close(self) -> None:
        self._file.close()
        super().close()
