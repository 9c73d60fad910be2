"""From what follows ``--to`` to a storage: a database, a file, or a feed storage of Scrapy's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from crawlo_scrapy.pipelines.batching import Backoff, BatchLimits
from crawlo_scrapy.pipelines.drain import Target
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.feed_writer import UNIQUE, FeedWriter
from crawlo_scrapy.pipelines.jsonlines import JsonLinesPipeline, JsonLinesWriter, csv_writer
from crawlo_scrapy.pipelines.mongodb import MongoPipeline, mongo_writer
from crawlo_scrapy.pipelines.mysql import MySQLPipeline, mysql_writer
from crawlo_scrapy.pipelines.names import fill_path
from crawlo_scrapy.settings import get

if TYPE_CHECKING:
    from scrapy.settings import Settings

_LINES = re.compile(r"\.(jsonl|jsonlines|jl)$", re.IGNORECASE)
_TABLE = re.compile(r"\.csv$", re.IGNORECASE)
#: Items, bytes and seconds that make a file in a feed storage.
FEED_ITEMS, FEED_BYTES, FEED_SECONDS = 10_000, 64 * 1024 * 1024, 60.0


def target_for(
    to: str,
    settings: Settings,
    names: Mapping[str, str],
    *,
    into: str | None = None,
    format: str | None = None,
) -> Target:
    """Return the storage that *to* names; *settings* say the rest, and are changed.

    *into* is a table or a collection, *format* one of a feed. Raises `StorageError`.
    """
    scheme = to.partition("://")[0].lower() if "://" in to else ""
    if scheme in ("mongodb", "mongodb+srv") or to == "mongodb":
        return _mongodb(to, settings, names, into)
    if scheme in ("mysql", "mariadb") or to == "mysql":
        return _mysql(to, settings, names, into)
    if into:
        raise StorageError("--into names a table or a collection, and this is neither")
    path = unquote(urlsplit(to).path) if scheme == "file" and UNIQUE not in to else to
    if scheme in ("", "file") and UNIQUE not in to:
        return _file(path, settings, names, format)
    storages = settings.getwithbase("FEED_STORAGES")
    # What went to the standard output is not stored.
    known = sorted(name for name in storages if storages[name] and name not in ("", "stdout"))
    if scheme and scheme not in known:
        schemes = ", ".join(f"{name}://" for name in ["mongodb", "mysql", *known])
        raise StorageError(f"there is no scheme {scheme}://; there are {schemes}")
    limits = BatchLimits(
        count=settings.getint("FEED_EXPORT_BATCH_ITEM_COUNT") or FEED_ITEMS,
        size=FEED_BYTES,
        writes=1,
    )
    writer = FeedWriter(to, settings, names, format)
    return Target(label(to), writer, limits, _backoff(settings), FEED_SECONDS, probe=True)


def _mongodb(
    to: str, settings: Settings, names: Mapping[str, str], collection: str | None
) -> Target:
    if to != "mongodb":
        settings.set("MONGO_URI", to, "cmdline")
        if database := unquote(_split(to).path.strip("/")):
            settings.set("MONGO_DATABASE", database, "cmdline")
    if collection:
        settings.set("MONGO_COLLECTION", collection, "cmdline")
    return Target(
        label(to if to != "mongodb" else get(settings, "MONGO_URI")),
        mongo_writer(settings, names),
        MongoPipeline.make_limits(settings),
        MongoPipeline.make_backoff(settings),
    )


def _mysql(to: str, settings: Settings, names: Mapping[str, str], table: str | None) -> Target:
    if to != "mysql":
        url = _split(to)
        if url.query or url.fragment:
            raise StorageError("a mysql:// address takes no options: use -s MYSQL_…=VALUE")
        given = {
            "MYSQL_HOST": url.hostname,
            "MYSQL_PORT": url.port,
            "MYSQL_USER": unquote(url.username or ""),
            "MYSQL_PASSWORD": unquote(url.password or ""),
            "MYSQL_DB": unquote(url.path.strip("/")),
        }
        for name, value in given.items():
            if value:
                settings.set(name, value, "cmdline")
    if table:
        settings.set("MYSQL_TABLE", table, "cmdline")
    writer = mysql_writer(settings, names)
    host, port, database = (get(settings, f"MYSQL_{part}") for part in ("HOST", "PORT", "DB"))
    return Target(
        f"mysql://{host}:{port}/{database}",
        writer,
        MySQLPipeline.make_limits(settings),
        MySQLPipeline.make_backoff(settings),
    )


def _file(path: str, settings: Settings, names: Mapping[str, str], format: str | None) -> Target:
    limits, backoff = JsonLinesPipeline.make_limits(settings), _backoff(settings)
    # Nobody has the items but this file once they are out of Redis: it must survive a power cut.
    if _LINES.search(path) and format in (None, "jsonlines", "jsonl", "jl"):
        lines = JsonLinesWriter(fill_path(path, names), fsync=True)
        return Target(str(lines.file.path), lines, limits, backoff)
    if _TABLE.search(path) and format in (None, "csv"):
        table = csv_writer(settings, fill_path(path, names), fsync=True)
        return Target(str(table.file.path), table, limits, backoff)
    raise StorageError(
        f"{path!r} is not a storage: give mongodb://…, mysql://…, a file that ends in .jsonl or "
        f".csv, or an address of Scrapy's feed storages with {UNIQUE} in it, such as "
        f"s3://bucket/{UNIQUE}.jsonl.gz. (`crawlo-scrapy items export` makes one file of any "
        "format.)"
    )


def _backoff(settings: Settings) -> Backoff:
    return JsonLinesPipeline.make_backoff(settings)


def _split(url: str):  # type: ignore[no-untyped-def]
    try:
        parts = urlsplit(url)
        _ = parts.port if parts.scheme in ("mysql", "mariadb") else None
    except ValueError:
        raise StorageError(
            "the address does not parse: percent-encode special characters in user and password"
        ) from None
    return parts


def label(uri: str) -> str:
    """Return the address, or path, without user, password and options."""
    scheme, separator, rest = uri.rpartition("://")
    return f"{scheme}{separator}{rest.partition('?')[0].rpartition('@')[2]}"
