"""The pipeline that stores items in MySQL or MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crawlo_scrapy.pipelines.base import BatchedPipeline, batch_limits
from crawlo_scrapy.pipelines.batching import Backoff
from crawlo_scrapy.pipelines.mysql_writer import MySQLOptions, MySQLWriter
from crawlo_scrapy.pipelines.names import NameTemplate
from crawlo_scrapy.settings import get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from crawlo_scrapy.pipelines.batching import BatchLimits
    from crawlo_scrapy.pipelines.writer import Writer


class MySQLPipeline(BatchedPipeline):
    """Stores each item in ``MYSQL_TABLE``, once where the table has a unique key."""

    def make_writer(self, crawler: Crawler) -> Writer:
        return mysql_writer(crawler.settings, self.names)

    @classmethod
    def make_limits(cls, settings: BaseSettings) -> BatchLimits:
        count = get(settings, "MYSQL_BATCH_SIZE") if get(settings, "MYSQL_USE_BATCH") else 1
        return batch_limits(settings, count, writes=get(settings, "MYSQL_POOL_MAX"))

    @classmethod
    def make_backoff(cls, settings: BaseSettings) -> Backoff:
        first = get(settings, "MYSQL_EXECUTE_RETRY_DELAY")
        return Backoff(first, get(settings, "CRAWLO_ITEM_RETRY_MAX_DELAY"))


#: Crawlo's name for the same.
AsyncmyMySQLPipeline = MySQLPipeline


def mysql_writer(settings: BaseSettings, names: Mapping[str, str]) -> MySQLWriter:
    """Return what writes to where *settings* say; *names* may stand in the table's name."""
    source = get(settings, "MYSQL_TABLE") or "{spider}"
    return MySQLWriter(mysql_options(settings), NameTemplate(source, names))


def mysql_options(settings: BaseSettings) -> MySQLOptions:
    """Return what *settings* say about the connection and the mode."""
    return MySQLOptions(
        host=get(settings, "MYSQL_HOST"),
        port=get(settings, "MYSQL_PORT"),
        user=get(settings, "MYSQL_USER"),
        password=get(settings, "MYSQL_PASSWORD"),
        database=get(settings, "MYSQL_DB"),
        auto_update=get(settings, "MYSQL_AUTO_UPDATE"),
        insert_ignore=get(settings, "MYSQL_INSERT_IGNORE"),
        update_columns=get(settings, "MYSQL_UPDATE_COLUMNS"),
        key=get(settings, "MYSQL_UNIQUE_KEY"),
        check_table=get(settings, "MYSQL_CHECK_TABLE_EXISTS"),
        create_table=get(settings, "MYSQL_CREATE_TABLE"),
        pool_min=get(settings, "MYSQL_POOL_MIN"),
        pool_max=get(settings, "MYSQL_POOL_MAX"),
        read_timeout=get(settings, "MYSQL_BATCH_TIMEOUT"),
    )
