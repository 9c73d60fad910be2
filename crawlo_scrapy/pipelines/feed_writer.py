"""Items into files in one of Scrapy's feed storages: S3, Google Cloud, FTP, or a project's own."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scrapy import Spider
from scrapy.exceptions import NotConfigured
from scrapy.extensions.feedexport import FileFeedStorage
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.misc import build_from_crawler, load_object

from crawlo_scrapy.pipelines.errors import StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.exporting import Exporting, all_fields
from crawlo_scrapy.pipelines.fields import plain, to_json
from crawlo_scrapy.pipelines.writer import Row, Writer

if TYPE_CHECKING:
    from scrapy.settings import Settings

#: What makes a file's name one that no other batch has, on any host and at any time.
UNIQUE = "%(batch_time)s"
#: A place to fill in, and how. Any other percent sign is a part of the address.
_PLACE = re.compile(r"%\((\w+)\)([0-9]*[ds])")


class FeedWriter(Writer):
    """Each batch is a file of its own: what was stored once is never written to again.

    The storages need Twisted's reactor to run.
    """

    name = "feed"

    def __init__(
        self, uri: str, settings: Settings, names: Mapping[str, str], format: str | None = None
    ) -> None:
        if UNIQUE not in uri:
            raise StorageError(
                f"put {UNIQUE} into the name of the file: each batch is stored as a file of its "
                "own, and would take the place of the one before"
            )
        self._uri = uri
        self._settings = settings
        self._exporting = Exporting(settings, uri.replace(UNIQUE, "batch"), format)
        self._names = names
        self._batch = 0

    async def open(self) -> None:
        self._spider = Spider.from_crawler(self._exporting.crawler, name=self._names["spider"])
        self._storage()

    def _storage(self) -> Any:
        """Return the storage of a new file."""
        now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H-%M-%S.%f")
        params = {
            **self._names, "name": self._names["spider"], "batch_id": self._batch,
            "batch_time": f"{now}-{secrets.token_hex(4)}",
        }  # fmt: skip
        scheme = self._uri.partition("://")[0] if "://" in self._uri else ""
        storages = self._settings.getwithbase("FEED_STORAGES")
        try:
            uri = _PLACE.sub(lambda place: f"%{place[2]}" % params[place[1]], self._uri)
            return build_from_crawler(
                load_object(storages[scheme]),
                self._exporting.crawler,
                uri,
                feed_options=self._exporting.options,
            )
        except NotConfigured as exc:
            raise StorageError(f"{scheme}:// cannot be used: {exc}") from None
        except KeyError as exc:
            known = ", ".join(f"%({name})s" for name in params)
            raise StorageError(f"there is no {exc} in a file's name; there are {known}") from None
        except (ValueError, TypeError, AssertionError) as exc:
            raise StorageError(f"{scheme}:// with this address cannot be used: {exc}") from None

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        return Row(plain(fields), len(to_json(fields)))

    async def write(self, rows: Sequence[Row]) -> None:
        items, content = [row.payload for row in rows], io.BytesIO()
        await asyncio.to_thread(self._exporting.write, content, items, all_fields(items))
        self._batch += 1
        try:
            storage = self._storage()
            file = storage.open(self._spider)
            await asyncio.to_thread(file.write, content.getvalue())
            if isinstance(storage, FileFeedStorage):
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            stored = storage.store(file)
            if stored is not None:
                await maybe_deferred_to_future(stored)
        except Exception as exc:  # each storage raises errors of its own
            raise StorageUnavailable(f"cannot store a file: {exc or type(exc).__name__}") from exc

    async def close(self) -> None:
        return None
