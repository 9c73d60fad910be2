"""Whether this process joins a shared crawl, and the components that follow from it."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from scrapy.settings import BaseSettings, default_settings

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.config import scrapy_redis
from crawlo_scrapy.config.adapter import Translation
from crawlo_scrapy.config.components import (
    ADDED,
    DUPEFILTER,
    EXTENSIONS,
    METRICS,
    ONE_CLASS,
    REPLACED,
    STATS,
    available,
    is_crawlo,
    path_of,
)
from crawlo_scrapy.config.places import ADDON
from crawlo_scrapy.extensions.metrics import wanted
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.errors import StoreError, StoreUnavailable

logger = logging.getLogger(__name__)

#: What a shared crawl sets besides its components, and why, as reStructuredText. Any setting of
#: yours wins.
PRESETS: list[tuple[str, Any, str]] = [
    (
        "CONCURRENT_ITEMS",
        8,
        "Scrapy starts as many tasks for every response, however few items it has: at its default "
        "of 100 a worker does 0.7 of the pages: 398 a second against 573, the best of eight crawls "
        "each on a busy machine of two cores (``python -m benchmarks.crawl --pages 2000 --repeat 8 "
        "--round-trips 0 --variants memory crawlo_scrapy --concurrent-items 100``, and 8)",
    ),
    (
        "TWISTED_REACTOR",
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "The exchange with Redis is an asyncio task",
    ),
    (
        "FEED_STORAGES",
        dict.fromkeys(("", "file"), "crawlo_scrapy.pipelines.feedstorage.WorkerFileStorage"),
        "Workers on one host have the same FEEDS: they share a local file of JSON lines or CSV, "
        "and do not write into each other's file of any other format",
    ),
    (
        "FEED_URI_PARAMS",
        "crawlo_scrapy.pipelines.feeds.uri_params",
        "``%(node)s`` in the name of a feed is the name of the worker",
    ),
]
#: Longest wait for Redis in mode auto, in seconds.
_PROBE_TIMEOUT = 2.0


def wanted_mode(settings: BaseSettings) -> str:
    """Return standalone, distributed or auto, as RUN_MODE and QUEUE_TYPE say.

    The one from the higher place counts, at the same place QUEUE_TYPE, which is the narrower
    word, unless it is auto. The add-on alone means distributed.
    """
    mode, queue = settings.get("RUN_MODE"), settings.get("QUEUE_TYPE")
    over = (settings.getpriority("QUEUE_TYPE") or 0) >= (settings.getpriority("RUN_MODE") or 0)
    if queue and str(queue).lower() != "auto" and (over or not mode):
        return "standalone" if str(queue).lower() == "memory" else "distributed"
    if mode:
        return str(mode).lower()
    return "auto" if queue else "distributed"


def redis_answers(settings: BaseSettings) -> str:
    """Ask Redis once, and say in words that it answers. Raises `StoreError`."""
    address = connection.address(settings)
    client = BlockingClient(
        dataclasses.replace(address, timeout=min(address.timeout, _PROBE_TIMEOUT)), "probe"
    )
    try:
        client.ping()
    finally:
        client.close()
    return f"Redis at {address} answers"


def resolve_mode(settings: BaseSettings) -> str:
    """Return standalone or distributed. For auto, Redis decides, and the log says so."""
    mode = wanted_mode(settings)
    if mode != "auto":
        return mode
    try:
        logger.info("Run mode auto: the shared crawl, because %s", redis_answers(settings))
    except StoreError as exc:
        # A Redis that is there and refuses is not what anybody wants.
        level = logging.INFO if isinstance(exc, StoreUnavailable) else logging.WARNING
        logger.log(level, "Run mode auto: Scrapy's own components, because %s", exc)
        return "standalone"
    return "distributed"


def join(settings: BaseSettings, translation: Translation) -> None:
    """Turn the components of a shared crawl on, below whatever the user says."""
    for setting, path in ONE_CLASS.items():
        if setting != "STATS_CLASS" or available(path):
            settings.set(setting, path, ADDON)
    for setting, path, number in ADDED:
        if available(path):
            _add(settings, setting, path, number, REPLACED.get(path))
    if ours.get(settings, "CRAWLO_SHARED_COOKIES"):
        cookies = "crawlo_scrapy.cookies.SharedCookiesMiddleware"
        _add(settings, "DOWNLOADER_MIDDLEWARES", cookies, 700, REPLACED[cookies])
    for name, value, _ in PRESETS:
        settings.set(name, value, ADDON)
    _choose_filter(settings, translation)
    _choose_stats(settings, translation)
    _note_strangers(settings, translation)
    for note in scrapy_redis.notes(settings):
        translation.note(note)


def _note_strangers(settings: BaseSettings, translation: Translation) -> None:
    """Say what follows from a component of Scrapy or scrapy-redis in a place that is ours."""
    consequences = {
        "SCHEDULER": "this process takes no part in the shared crawl",
        "DUPEFILTER_CLASS": "each worker may crawl what others have seen",
        "STATS_CLASS": "the crawl has no statistics of its own",
    }
    for setting, consequence in consequences.items():
        path = path_of(settings[setting])
        # Scrapy's collector is a choice that one may make.
        theirs = "scrapy_redis." if setting == "STATS_CLASS" else ("scrapy.", "scrapy_redis.")
        if path.startswith(theirs):
            translation.note(
                f"{setting} is {path}, so that {consequence}. Remove it, for the add-on to set "
                f"{ONE_CLASS[setting]}"
            )


def stay_out(settings: BaseSettings, *, below: int | None = None, tool: Any = None) -> None:
    """Take every component of a shared crawl out of *settings*.

    With *below*, only what was set at a priority up to it: an explicit SCHEDULER on the command
    line beats the RUN_MODE of a file.
    """
    defaults = {name: getattr(default_settings, name) for name in ONE_CLASS}
    defaults.update(getattr(tool, "default_settings", {}))
    for setting in ONE_CLASS:
        priority = settings.getpriority(setting) or 0
        if path_of(settings[setting]).startswith("crawlo_scrapy.") and (
            below is None or priority <= below
        ):
            settings.set(setting, defaults[setting], priority)
    joined = {c.ours for c in EXTENSIONS if c.ours and c.joins} | {path for _, path, _ in ADDED}
    joined -= {c.ours for c in EXTENSIONS if not c.joins}
    for setting in ("EXTENSIONS", "SPIDER_MIDDLEWARES"):
        entries = settings.getdict(setting)
        kept = {c: number for c, number in entries.items() if path_of(c) not in joined}
        if kept != entries:
            settings.set(setting, kept, settings.getpriority(setting) or 0)


def standalone(settings: BaseSettings, translation: Translation) -> None:
    """Scrapy's own components, and a dupefilter of the project's if FILTER_CLASS names one."""
    mode_priority = max(
        settings.getpriority("RUN_MODE") or 0, settings.getpriority("QUEUE_TYPE") or 0
    )
    stay_out(settings, below=mode_priority)
    if wanted(settings):
        _add(settings, "EXTENSIONS", METRICS, 0, None)
    _choose_filter(settings, translation)


def _add(
    settings: BaseSettings, setting: str, path: str, number: int, replaced: str | None
) -> None:
    """Add a component of ours in the place of Scrapy's that it replaces, if any.

    One that stands there keeps its number, None too. Where Scrapy's is turned off, so is ours:
    somebody wants none, or has one of their own.
    """
    entries = settings.getdict(setting)
    named: dict[str | None, Any] = {path_of(component): component for component in entries}
    mine, theirs = named.get(path, path), named.get(replaced, replaced)
    changed = {mine: entries.get(theirs, number), **entries}
    if theirs and changed[mine] is not None:
        changed[theirs] = None
    if changed != entries and changed[mine] is not None:
        settings.set(setting, changed, settings.getpriority(setting) or 0)


def _choose_filter(settings: BaseSettings, translation: Translation) -> None:
    path = settings.get("FILTER_CLASS")
    kind = str(settings.get("FILTER_TYPE") or "").lower()
    if kind == "bloom" or (is_crawlo(str(path or "")) and "bloom" in str(path).lower()):
        named = "FILTER_TYPE" if kind == "bloom" else "FILTER_CLASS"
        translation.put(named, "CRAWLO_SEEN", "bloom")
    if path and not is_crawlo(path):
        translation.put("FILTER_CLASS", "DUPEFILTER_CLASS", path)
        return
    if path_of(settings["DUPEFILTER_CLASS"]) != DUPEFILTER:
        return
    if kind == "memory" or str(path or "").endswith(("MemoryFilter", "MemoryFileFilter")):
        translation.note(
            "A filter in memory would let each worker crawl what others have: the shared seen set "
            "is used. Set RUN_MODE = 'standalone' for a crawl of one process"
        )


def _choose_stats(settings: BaseSettings, translation: Translation) -> None:
    backend = str(settings.get("STATS_BACKEND") or "").lower()
    if backend == "memory":
        translation.put("STATS_BACKEND", "STATS_CLASS", default_settings.STATS_CLASS)
    elif backend in ("redis", "prometheus") and available(STATS):
        translation.put("STATS_BACKEND", "STATS_CLASS", STATS)
