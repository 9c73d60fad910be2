"""The pipeline that stores items in MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlo_scrapy.pipelines.base import BatchedPipeline, batch_limits
from crawlo_scrapy.pipelines.batching import Backoff
from crawlo_scrapy.pipelines.mongodb_writer import MongoOptions, MongoWriter
from crawlo_scrapy.pipelines.names import NameTemplate
from crawlo_scrapy.settings import get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from crawlo_scrapy.pipelines.batching import BatchLimits
    from crawlo_scrapy.pipelines.writer import Writer


class MongoPipeline(BatchedPipeline):
    """Stores each item in ``MONGO_COLLECTION``, once, however often it comes."""

    def make_writer(self, crawler: Crawler) -> Writer:
        return mongo_writer(crawler.settings, self.names)

    @classmethod
    def make_limits(cls, settings: BaseSettings) -> BatchLimits:
        count = get(settings, "MONGO_BATCH_SIZE") if get(settings, "MONGO_USE_BATCH") else 1
        return batch_limits(settings, count, writes=get(settings, "MONGO_MAX_POOL_SIZE"))

    @classmethod
    def make_backoff(cls, settings: BaseSettings) -> Backoff:
        first = get(settings, "MONGO_EXECUTE_RETRY_DELAY")
        return Backoff(first, get(settings, "CRAWLO_ITEM_RETRY_MAX_DELAY"))


def mongo_writer(settings: BaseSettings, names: Mapping[str, str]) -> MongoWriter:
    """Return what writes to where *settings* say; *names* may stand in the collection's name."""
    source = get(settings, "MONGO_COLLECTION") or "{spider}"
    return MongoWriter(mongo_options(settings), NameTemplate(source, names))


def mongo_options(settings: BaseSettings) -> MongoOptions:
    """Return what *settings* say about the connection and the mode."""
    return MongoOptions(
        uri=get(settings, "MONGO_URI"),
        database=get(settings, "MONGO_DATABASE") or get(settings, "MONGO_DB"),
        mode=get(settings, "MONGO_DEDUPLICATE_MODE"),
        key=get(settings, "MONGO_UPSERT_KEY"),
        write_concern=get(settings, "MONGO_WRITE_CONCERN"),
        client={
            "maxPoolSize": get(settings, "MONGO_MAX_POOL_SIZE"),
            "minPoolSize": min(
                get(settings, "MONGO_MIN_POOL_SIZE"), get(settings, "MONGO_MAX_POOL_SIZE")
            ),
            "connectTimeoutMS": get(settings, "MONGO_CONNECT_TIMEOUT_MS"),
            "serverSelectionTimeoutMS": get(settings, "MONGO_CONNECT_TIMEOUT_MS"),
            "socketTimeoutMS": get(settings, "MONGO_SOCKET_TIMEOUT_MS"),
        },
    )
