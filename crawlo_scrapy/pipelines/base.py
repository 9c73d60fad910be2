"""The base of our item pipelines: `process_item` returns when the item is stored.

So the ack of the request that an item came from waits for the item, and a worker that is
killed loses neither.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

import scrapy
from scrapy import signals
from scrapy.exceptions import CloseSpider, DropItem
from scrapy.utils.defer import deferred_from_coro

from crawlo_scrapy.connection import node_id
from crawlo_scrapy.engine import WrongReactor, fail_command, require_asyncio
from crawlo_scrapy.pipelines.batching import Backoff, Batcher, BatchLimits
from crawlo_scrapy.pipelines.dead_items import DeadItem, DeadItems, DeadItemsFile
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.fields import fields_of
from crawlo_scrapy.pipelines.names import fill_path
from crawlo_scrapy.settings import SettingError, get

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from twisted.internet.defer import Deferred
    from typing_extensions import Self

    from crawlo_scrapy.pipelines.writer import Row, Writer

logger = logging.getLogger(__name__)

#: If so many items are refused before one was stored, the storage and the items do not fit
#: together, and the crawl closes instead of filling the dead items.
MISFIT_AFTER = 10
#: New objects after which Python looks for garbage in cycles. Its own 700 suit programs with
#: few objects; a crawl keeps some ten thousand while its items wait, and would look through
#: all of them so often that it took a quarter of the time.
GC_THRESHOLD = 10_000


def batch_limits(settings: BaseSettings, count: int, writes: int | None = None) -> BatchLimits:
    """Return the limits that *settings* ask for; *count* and *writes* are the storage's own."""
    most = get(settings, "CRAWLO_ITEM_CONCURRENT_WRITES")
    return BatchLimits(
        count=count,
        size=get(settings, "CRAWLO_ITEM_BATCH_BYTES"),
        interval=get(settings, "CRAWLO_ITEM_BATCH_INTERVAL"),
        writes=most if writes is None else min(most, writes),
        buffer=get(settings, "CRAWLO_ITEM_BUFFER_BYTES"),
    )


def names_for(crawler: Crawler) -> dict[str, str]:
    """Return what may stand in braces in names of tables, collections and files."""
    spider = crawler.spider.name if crawler.spider else crawler.spidercls.name
    return {
        "spider": spider,
        "node": node_id(crawler.settings),
        "project": get(crawler.settings, "PROJECT_NAME") or crawler.settings["BOT_NAME"],
    }


class BatchedPipeline:
    """Stores items through a `Writer`, in batches.

    Subclasses implement `make_writer` and `make_limits`. An item that its storage refuses
    goes to the dead items and is dropped; all others pass on to the next pipeline.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.names = names_for(crawler)
        self._wrong: Exception | None = None
        try:
            self._set_up(crawler)
        except (StorageError, SettingError) as exc:
            self._wrong = exc  # told when the spider opens, in one line
        self._is_away = False
        self._is_open = False
        self._closing: asyncio.Future[None] | None = None
        self._stored = self._refused = 0

    def _set_up(self, crawler: Crawler) -> None:
        settings = crawler.settings
        self._dead: DeadItems = self.make_dead_items(crawler)
        self.writer = self.make_writer(crawler)
        limits, backoff = self.make_limits(settings), self.make_backoff(settings)
        self._batcher = Batcher(self.writer.write, self, limits, backoff)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def make_writer(self, crawler: Crawler) -> Writer:
        """Return the storage."""
        raise NotImplementedError

    @classmethod
    def make_limits(cls, settings: BaseSettings) -> BatchLimits:
        """Return when a batch is full."""
        return batch_limits(settings, get(settings, "CRAWLO_ITEM_BATCH_SIZE"))

    @classmethod
    def make_backoff(cls, settings: BaseSettings) -> Backoff:
        """Return the pauses between attempts while the storage is away."""
        return Backoff(
            get(settings, "CRAWLO_ITEM_RETRY_DELAY"), get(settings, "CRAWLO_ITEM_RETRY_MAX_DELAY")
        )

    def make_dead_items(self, crawler: Crawler) -> DeadItems:
        """Return where refused items are kept."""
        return DeadItemsFile(fill_path(get(crawler.settings, "CRAWLO_DEAD_ITEMS_FILE"), self.names))

    # Scrapy passes the spider up to 2.13 and warns of a *required* spider argument from 2.14 on.

    def open_spider(self, spider: Spider | None = None) -> Awaitable[None] | Deferred[None]:
        return as_scrapy_expects(self._open())

    async def process_item(self, item: Any, spider: Spider | None = None) -> Any:
        """Return *item* once it is stored; raise `DropItem` once it is kept as a dead item."""
        await self._batcher.room()
        try:
            await self._batcher.store(await self._row(item))
        except Exception as exc:  # a value that nobody thought of must not be lost either
            reason = str(exc) if isinstance(exc, ItemRefused) else f"it cannot be stored: {exc!r}"
            await self._bury(item, reason)
            raise DropItem(f"{self.writer.name} refused it: {reason}", log_level="DEBUG") from None
        return item

    async def _row(self, item: Any) -> Row:
        fields = fields_of(item)
        return await self._batcher.persist(lambda: self.writer.prepare(fields, type(item)))

    def close_spider(self, spider: Spider | None = None) -> Awaitable[None] | Deferred[None]:
        return as_scrapy_expects(self._close())

    async def _open(self) -> None:
        if self._wrong is not None:
            refuse_start(self.crawler, self, self._wrong)
        try:
            require_asyncio()
            await self.writer.open()
        except (StorageError, WrongReactor) as exc:
            await self.writer.close()
            refuse_start(self.crawler, self, exc)
        first, *others = gc.get_threshold()
        if 0 < first < GC_THRESHOLD:  # 0: somebody has turned it off
            gc.set_threshold(GC_THRESHOLD, *others)
        self._is_open = True

    async def _close(self) -> None:
        if self._is_open:
            await self._batcher.close()
            await self.writer.close()
            await self._dead.close()
        self._is_open = False

    async def _bury(self, item: Any, reason: str) -> None:
        try:
            fields = fields_of(item)
        except Exception:
            fields = {"repr": repr(item)}
        item_class = f"{type(item).__module__}.{type(item).__qualname__}"
        dead = DeadItem(
            self.writer.name, reason, item_class, fields,
            self.names["spider"], self.names["node"],
        )  # fmt: skip
        logger.error("%s refused an item of class %s: %s", self.writer.name, item_class, reason)
        self._count("refused")
        try:
            await self._dead.put(dead)
        except (OSError, StorageUnavailable) as exc:
            logger.critical("cannot keep a dead item (%s): %s", exc, dead.to_json().decode())
        self._refused += 1
        if self._refused == MISFIT_AFTER and not self._stored:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        logger.critical(
            "%s refused each of the first %d items, so the crawl closes; the last reason: %s",
            self.writer.name, MISFIT_AFTER, reason,
        )  # fmt: skip
        engine, spider = self.crawler.engine, self.crawler.spider
        assert engine is not None
        assert spider is not None
        # Not awaited: closing waits for the items that are being processed, this one too.
        if hasattr(engine, "close_spider_async"):
            closing = engine.close_spider_async(reason="items_refused")
            self._closing = asyncio.ensure_future(closing)
        else:  # Scrapy 2.13
            engine.close_spider(spider, "items_refused")

    # What the batcher tells.

    def stored(self, count: int) -> None:
        self._stored += count
        self._count("stored", count)
        self._count("batches")

    def away(self, error: StorageUnavailable, delay: float) -> None:
        self._count("retries")
        if not self._is_away:
            self._is_away = True
            logger.warning("%s is away, items wait for it: %s", self.writer.name, error)

    def back(self) -> None:
        self._is_away = False
        logger.info("%s is back, waiting items are being stored", self.writer.name)

    def _count(self, what: str, count: int = 1) -> None:
        if self.crawler.stats is not None:
            self.crawler.stats.inc_value(f"items/{self.writer.name}/{what}", count)


def refuse_start(crawler: Crawler, component: object, why: Exception) -> NoReturn:
    """Keep the spider from starting, with one line in the log and exit status 1."""
    logger.error("%s: %s", type(component).__name__, why)
    # Strongly held: the signal's own reference is weak.
    crawler.signals.connect(lambda: fail_command(crawler), signals.spider_closed, weak=False)
    if scrapy.version_info >= (2, 19):
        raise CloseSpider("storage_unusable") from None
    raise StorageError(str(why)) from None  # which earlier ones do not start the spider after


def as_scrapy_expects(coro: Coroutine[Any, Any, None]) -> Awaitable[None] | Deferred[None]:
    """Scrapy up to 2.13 does not await what these methods return; later ones want it to."""
    if scrapy.version_info >= (2, 14):
        return coro
    deferred: Deferred[None] = deferred_from_coro(coro)
    return deferred
