"""Items into a stream in Redis, from where `crawlo-scrapy items drain` takes them further."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crawlo_scrapy import connection
from crawlo_scrapy.pipelines.base import BatchedPipeline, batch_limits
from crawlo_scrapy.pipelines.errors import StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.fields import fingerprint
from crawlo_scrapy.pipelines.names import default_node
from crawlo_scrapy.pipelines.stream_format import encode
from crawlo_scrapy.pipelines.writer import Row, Writer
from crawlo_scrapy.settings import get
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError, StoreRefused
from crawlo_scrapy.store.items import Items, ItemsFull

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from crawlo_scrapy.pipelines.batching import BatchLimits


class RedisStreamWriter(Writer):
    """Appends items to a crawl's stream. A batch that is sent twice is stored once."""

    name = "redis"

    def __init__(
        self,
        items: Items,
        format: str = "json",
        limit: int = 0,
        once: bool = False,
        key: Sequence[str] = (),
    ) -> None:
        self._items = items
        self._format = format
        self._limit = limit
        self._once = once
        self._key = key
        self._writer = f"{default_node()}-{secrets.token_hex(4)}"
        self._batch = 0
        self._sending: Sequence[Row] | None = None

    async def open(self) -> None:
        try:
            await self._items.client.check_server()
            await self._items.count()
        except StoreError as exc:
            raise StorageError(str(exc)) from None

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        known_by = bytes.fromhex(fingerprint(fields, self._key)) if self._once else None
        item = encode(fields, item_class, self._format, known_by)
        return Row(item, len(item.payload) + 100)

    async def write(self, rows: Sequence[Row]) -> None:
        if rows is not self._sending:  # not another attempt at the same batch
            self._sending = rows
            self._batch += 1
        try:
            await self._items.append(
                self._writer, self._batch, [row.payload for row in rows], self._limit
            )
        except (StoreError, ItemsFull) as exc:
            raise StorageUnavailable(str(exc)) from exc

    async def close(self) -> None:
        with contextlib.suppress(StoreError):  # a few bytes stay until the crawl is purged
            await self._items.forget_writer(self._writer)
        await self._items.client.close()


class RedisStreamPipeline(BatchedPipeline):
    """Appends items to the crawl's stream in Redis; waits while the stream is full."""

    def make_writer(self, crawler: Crawler) -> Writer:
        settings = crawler.settings
        return RedisStreamWriter(
            crawl_items(crawler),
            format=get(settings, "CRAWLO_ITEMS_FORMAT"),
            limit=get(settings, "CRAWLO_ITEMS_LIMIT"),
            once=get(settings, "CRAWLO_ITEMS_ONCE"),
            key=get(settings, "CRAWLO_ITEM_KEY"),
        )

    @classmethod
    def make_limits(cls, settings: BaseSettings) -> BatchLimits:
        # One write at a time: batches are numbered, and a repeat is known by its number.
        return batch_limits(settings, get(settings, "CRAWLO_ITEM_BATCH_SIZE"), writes=1)


def crawl_items(crawler: Crawler) -> Items:
    """Return the stream of the crawl, over a client of its own. Raises `StorageError`."""
    settings = crawler.settings
    spider = crawler.spider.name if crawler.spider else crawler.spidercls.name
    address = connection.address(settings)
    # What the queue, the heartbeat and the stats leave, in halves: there are two pipelines.
    left = address.max_connections - connection.fixed_connections(settings)
    share = max(1, left // 2)
    try:
        client = Client.connect(address, f"items-{spider}", connections=share)
    except StoreRefused as exc:
        raise StorageError(str(exc)) from None
    return Items(client, connection.keys(settings, spider))
