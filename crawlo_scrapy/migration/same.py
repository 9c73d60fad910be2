"""Whether the fingerprints that are moved with a queue are those of the crawl."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crawlo_scrapy.migration.move import BATCH
from crawlo_scrapy.migration.redis_sources import RedisSource
from crawlo_scrapy.migration.requests import Entry
from crawlo_scrapy.payload import InvalidRequest, PlainRequest
from crawlo_scrapy.store.errors import StoreRefused

#: Our class that makes the fingerprints of another scheduler, and the name of that.
SCRAPY_REDISS = ("ScrapyRedisFingerprinter", "scrapy-redis 0.8 or 0.9")
CRAWLOS = ("CrawloFingerprinter", "Crawlo 1.7")


async def same_fingerprints(
    source: RedisSource,
    read: Callable[[Entry], PlainRequest],
    check: Callable[[PlainRequest], bytes],
    settings: Any,
    whose: tuple[str, str],
) -> None:
    """Stop unless the crawl's fingerprints are those that are moved with *source*, if any are.

    Every request in its queue is in its dupefilter, unless it was not to be filtered. One that is
    found there by our fingerprint proves it; where none can be asked for, the class has to. Raises
    `StoreRefused`.
    """
    class_name, owner = whose
    if not await source.seen_total():
        return
    asked = 0
    for entry in await source.read(0, BATCH):
        try:
            request = read(entry)
            fingerprint = check(request)
        except InvalidRequest:
            continue
        if not request.dont_filter:
            asked += 1
            if await source.knows(fingerprint):
                return
    if not asked and class_name in str(settings["REQUEST_FINGERPRINTER_CLASS"]):
        return
    raise StoreRefused(
        "The fingerprints of this project are not, as far as can be told, those in the dupefilter; "
        "they are hashes and cannot be made into others. Set REQUEST_FINGERPRINTER_CLASS = "
        f"'crawlo_scrapy.fingerprints.{class_name}' to keep those of {owner}, or give "
        "--refingerprint to leave them behind: pages that were crawled may then be crawled once "
        "more."
    )
