"""Items into a file of any format that Scrapy has an exporter for."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.utils.conf import feed_complete_default_values_from_settings
from scrapy.utils.misc import build_from_crawler, load_object

from crawlo_scrapy.pipelines.errors import StorageError

if TYPE_CHECKING:
    from scrapy.settings import Settings

_COMPRESSION: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


class Exporting:
    """How items become a file: Scrapy's FEED_EXPORT settings, and a format that *path* may name.

    A further ``.gz``, ``.bz2`` or ``.xz`` compresses. Raises `StorageError` for a format that
    Scrapy has no exporter for.
    """

    def __init__(self, settings: Settings, path: str, format: str | None = None) -> None:
        suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
        self._compress = _COMPRESSION.get(suffixes[-1]) if suffixes else None
        if self._compress:
            del suffixes[-1]
        self.format = format or (suffixes[-1][1:] if suffixes else "")
        exporters = settings.getwithbase("FEED_EXPORTERS")
        if not exporters.get(self.format):
            known = ", ".join(sorted(name for name, found in exporters.items() if found))
            what = f"no format {self.format!r}" if self.format else "no format in the file's name"
            raise StorageError(f"there is {what}: give --format, one of {known}")
        self._exporter = load_object(exporters[self.format])
        self.crawler = Crawler(Spider, settings)
        self.options = feed_complete_default_values_from_settings(
            {"format": self.format, "overwrite": True}, settings
        )

    def write(
        self, file: IO[bytes], items: Iterable[Mapping[str, Any]], columns: Sequence[str]
    ) -> int:
        """Write *items* and return how many; *columns* count where no setting names the fields."""
        target = self._compress(file, "wb") if self._compress else file
        exporter: Any = build_from_crawler(
            self._exporter,
            self.crawler,
            target,
            fields_to_export=self.options["fields"] or list(columns) or None,
            encoding=self.options["encoding"] or "utf-8",
            indent=self.options["indent"],
            **self.options["item_export_kwargs"],
        )
        count = 0
        exporter.start_exporting()
        for item in items:
            exporter.export_item(dict(item))
            count += 1
        exporter.finish_exporting()
        if self._compress:
            target.close()
        return count


def all_fields(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all fields that *items* have, in the order in which they come."""
    return list(dict.fromkeys(name for item in items for name in item))
