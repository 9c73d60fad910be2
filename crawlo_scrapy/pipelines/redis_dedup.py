"""Drops items that the crawl has stored already, on whichever worker."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.exceptions import DropItem

from crawlo_scrapy.engine import require_asyncio
from crawlo_scrapy.pipelines.base import as_scrapy_expects, refuse_start
from crawlo_scrapy.pipelines.batching import Backoff, Batcher, BatchLimits
from crawlo_scrapy.pipelines.errors import (
    ItemRefused,
    RowsRefused,
    StorageUnavailable,
)
from crawlo_scrapy.pipelines.fields import fields_of, fingerprint
from crawlo_scrapy.pipelines.redis_stream import crawl_items
from crawlo_scrapy.pipelines.writer import Row
from crawlo_scrapy.settings import get
from crawlo_scrapy.store.errors import StoreError

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from twisted.internet.defer import Deferred
    from typing_extensions import Self

logger = logging.getLogger(__name__)

_LIMITS = BatchLimits(count=1000, writes=1)
#: Items whose end nobody told, because a later pipeline passed on another object.
_MOST_UNDER_WAY = 100_000


class RedisDedupPipeline:
    """Put it before the pipelines that store.

    A fingerprint is recorded when the item has passed all pipelines, before the request is
    acked. So a crash may let a repeat through, which the storage's key then catches, and
    never loses an item. Pipelines after this one must pass on the same object.
    """

    def __init__(self, crawler: Crawler) -> None:
        settings = crawler.settings
        self._crawler = crawler
        self._items = crawl_items(crawler)
        self._key: Sequence[str] = get(settings, "CRAWLO_ITEM_KEY")
        backoff = Backoff(
            get(settings, "CRAWLO_ITEM_RETRY_DELAY"), get(settings, "CRAWLO_ITEM_RETRY_MAX_DELAY")
        )
        self._looks = Batcher(self._look, self, _LIMITS, backoff)
        self._records = Batcher(self._record, self, _LIMITS, backoff)
        # The item is kept so that its id stays its own.
        self._under_way: OrderedDict[int, tuple[Any, bytes]] = OrderedDict()
        self._busy: dict[bytes, int] = {}
        self._is_away = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        pipeline = cls(crawler)
        crawler.signals.connect(pipeline.item_scraped, signals.item_scraped)
        crawler.signals.connect(pipeline.item_failed, signals.item_dropped)
        crawler.signals.connect(pipeline.item_failed, signals.item_error)
        return pipeline

    def open_spider(self, spider: Spider | None = None) -> Awaitable[None] | Deferred[None]:
        return as_scrapy_expects(self._open())

    async def process_item(self, item: Any, spider: Spider | None = None) -> Any:
        """Return *item* unless it was stored, or is on its way through this worker now."""
        try:
            known_by = bytes.fromhex(fingerprint(fields_of(item), self._key))
        except ItemRefused as exc:
            logger.warning("an item cannot be told from others, so it passes: %s", exc)
            return item
        if known_by in self._busy:
            # Should the first one be lost with this worker, its request comes again.
            raise self._repeat("on its way to the storage")
        self._begin(item, known_by)
        try:
            await self._looks.store(Row(known_by, len(known_by)))
        except ItemRefused:
            self._end(item)
            raise self._repeat("stored") from None
        return item

    async def item_scraped(self, item: Any) -> None:
        """Record that *item* is stored. Scrapy waits for this before the page is done."""
        _, known_by = self._under_way.get(id(item), (None, b""))
        if known_by:
            try:
                await self._records.store(Row(known_by, len(known_by)))
            finally:
                self._end(item)

    def item_failed(self, item: Any) -> None:
        """Let another one like *item* try."""
        self._end(item)

    def close_spider(self, spider: Spider | None = None) -> Awaitable[None] | Deferred[None]:
        return as_scrapy_expects(self._close())

    async def _open(self) -> None:
        try:
            require_asyncio()
            await self._items.client.check_server()
        except StoreError as exc:
            await self._items.client.close()
            refuse_start(self._crawler, self, exc)

    async def _close(self) -> None:
        await self._looks.close()
        await self._records.close()
        await self._items.client.close()

    def _begin(self, item: Any, known_by: bytes) -> None:
        self._under_way[id(item)] = (item, known_by)
        self._busy[known_by] = id(item)
        if len(self._under_way) > _MOST_UNDER_WAY:
            _, (_, oldest) = self._under_way.popitem(last=False)
            self._busy.pop(oldest, None)

    def _end(self, item: Any) -> None:
        _, known_by = self._under_way.pop(id(item), (None, b""))
        self._busy.pop(known_by, None)

    def _repeat(self, where: str) -> DropItem:
        if self._crawler.stats is not None:
            self._crawler.stats.inc_value("items/repeats")
        return DropItem(f"one like it is {where} already", log_level="DEBUG")

    async def _look(self, rows: Sequence[Row]) -> None:
        try:
            seen = await self._items.seen([row.payload for row in rows])
        except StoreError as exc:
            raise StorageUnavailable(str(exc)) from exc
        if any(seen):
            raise RowsRefused({place: "stored" for place, value in enumerate(seen) if value})

    async def _record(self, rows: Sequence[Row]) -> None:
        try:
            await self._items.record([row.payload for row in rows])
        except StoreError as exc:
            raise StorageUnavailable(str(exc)) from exc

    # What the batchers tell.

    def stored(self, count: int) -> None:
        pass

    def away(self, error: StorageUnavailable, delay: float) -> None:
        if not self._is_away:
            self._is_away = True
            logger.warning("repeats cannot be told, items wait: %s", error)

    def back(self) -> None:
        self._is_away = False
        logger.info("repeats can be told again, items go on")
