"""Items as lines in files, on disk before the request that they came from is acked."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.pipelines.append_file import AppendFile
from crawlo_scrapy.pipelines.base import BatchedPipeline, batch_limits
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.fields import plain, to_json
from crawlo_scrapy.pipelines.names import fill_path
from crawlo_scrapy.pipelines.writer import Row, Writer
from crawlo_scrapy.settings import get

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from crawlo_scrapy.pipelines.batching import BatchLimits


class JsonLinesWriter(Writer):
    """One JSON object a line, one write a batch."""

    name = "jsonlines"

    def __init__(self, path: str, fsync: bool = False) -> None:
        self.file = AppendFile(path, fsync)

    async def open(self) -> None:
        try:
            await asyncio.to_thread(self.file.head)
        except OSError as exc:
            raise StorageError(f"cannot write items to {self.file.path}: {exc.strerror}") from exc

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        line = to_json(fields) + b"\n"
        return Row(line, len(line))

    async def write(self, rows: Sequence[Row]) -> None:
        lines = b"".join(row.payload for row in rows)
        try:
            await asyncio.to_thread(self.file.append, lines)
        except OSError as exc:
            raise StorageUnavailable(f"cannot write to {self.file.path}: {exc.strerror}") from exc

    async def close(self) -> None:
        self.file.close()


class CsvWriter(JsonLinesWriter):
    """One item a row. The columns are given, or those of the file, or the first item's."""

    name = "csv"

    def __init__(
        self,
        path: str,
        columns: Sequence[str] = (),
        delimiter: str = ",",
        quotechar: str = '"',
        header: bool = True,
        fsync: bool = False,
    ) -> None:
        super().__init__(path, fsync)
        self.file = AppendFile(
            path, fsync, header=self._header if header else None, whole_end=self._whole_end
        )
        self._columns = list(columns)
        self._has_header = header
        self._started = False
        self._style: dict[str, Any] = {"delimiter": delimiter, "quotechar": quotechar}

    async def open(self) -> None:
        await super().open()
        found = self._names(await asyncio.to_thread(self.file.head))
        if self._has_header and found and self._columns and found != self._columns:
            raise StorageError(
                f"{self.file.path} has the columns {found}, but CSV_FIELDNAMES says "
                f"{self._columns}: move the file away, or set the same columns"
            )

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        if not self._started:
            self._columns = self._columns or list(fields)
            await self._start()
        extra = [name for name in fields if name not in self._columns]
        if extra:
            raise ItemRefused(f"{self.file.path} has no column {', '.join(map(repr, extra))}")
        line = self._line([_cell(fields.get(name), name) for name in self._columns])
        return Row(line, len(line))

    async def _start(self) -> None:
        """Agree with the file's other writers on the columns: the first header counts."""
        try:
            head = await asyncio.to_thread(self.file.start)
        except OSError as exc:
            raise StorageUnavailable(f"cannot write to {self.file.path}: {exc.strerror}") from exc
        if self._has_header:
            self._columns = self._names(head)
        self._started = True

    def _names(self, head: bytes) -> list[str]:
        text = head.decode("utf-8", "replace")
        return next(csv.reader([text], **self._style), [])

    def _header(self) -> bytes:
        return self._line(self._columns)

    def _line(self, cells: Sequence[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n", **self._style).writerow(cells)
        try:
            return text.getvalue().encode("utf-8")
        except UnicodeEncodeError:
            raise ItemRefused("it has text that is not valid Unicode") from None

    def _whole_end(self, fd: int) -> int:
        """Return where the last whole row ends: at a newline outside of quotes."""
        quote, end, quoted = self._style["quotechar"].encode(), 0, False
        with open(os.dup(fd), "rb") as file:
            file.seek(0)
            place = 0
            for line in file:
                place += len(line)
                quoted ^= line.count(quote) % 2 == 1
                if not quoted and line.endswith(b"\n"):
                    end = place
        return end


def _cell(value: Any, name: str) -> Any:
    value = plain(value, name)
    if isinstance(value, (dict, list)):
        return to_json({"": value})[4:-1].decode("utf-8")
    return value


class JsonLinesPipeline(BatchedPipeline):
    """Appends items to ``JSONLINES_FILE``, one JSON object a line."""

    path_setting = "JSONLINES_FILE"

    def make_writer(self, crawler: Crawler) -> Writer:
        return JsonLinesWriter(
            self._path(crawler), fsync=get(crawler.settings, "CRAWLO_ITEM_FSYNC")
        )

    @classmethod
    def make_limits(cls, settings: BaseSettings) -> BatchLimits:
        # A file is written under a lock: a second write could only wait for the first.
        return batch_limits(settings, get(settings, "CRAWLO_ITEM_BATCH_SIZE"), writes=1)

    def _path(self, crawler: Crawler) -> str:
        return fill_path(get(crawler.settings, self.path_setting), self.names)


class JsonPipeline(JsonLinesPipeline):
    """Appends items to ``JSON_FILE``, one JSON object a line, as Crawlo's JsonPipeline does.

    A JSON array cannot be appended to safely by several workers: make one afterwards, with
    ``crawlo-scrapy items export --from FILE -o FILE.json``.
    """

    path_setting = "JSON_FILE"


class CsvPipeline(JsonLinesPipeline):
    """Appends items to ``CSV_FILE``, one row each."""

    path_setting = "CSV_FILE"

    def make_writer(self, crawler: Crawler) -> Writer:
        settings = crawler.settings
        return csv_writer(settings, self._path(crawler), fsync=get(settings, "CRAWLO_ITEM_FSYNC"))


def csv_writer(settings: BaseSettings, path: str, fsync: bool) -> CsvWriter:
    """Return what writes rows to *path*, in the style of the CSV_ settings."""
    return CsvWriter(
        path,
        columns=get(settings, "CSV_FIELDNAMES"),
        delimiter=get(settings, "CSV_DELIMITER"),
        quotechar=get(settings, "CSV_QUOTECHAR"),
        header=get(settings, "CSV_INCLUDE_HEADERS"),
        fsync=fsync,
    )
