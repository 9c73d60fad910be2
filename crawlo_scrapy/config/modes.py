"""Whether this process joins a shared crawl, and the components that follow from it."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from scrapy.settings import BaseSettings, default_settings

from crawlo_scrapy import connection
from crawlo_scrapy.config.adapter import Translation
from crawlo_scrapy.config.components import (
    ADDED,
    DUPEFILTER,
    EXTENSIONS,
    ONE_CLASS,
    STATS,
    available,
    is_crawlo,
    path_of,
)
from crawlo_scrapy.config.places import ADDON
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.errors import StoreError

logger = logging.getLogger(__name__)

#: What a shared crawl sets besides its components, and why. Any setting of yours wins.
PRESETS: list[tuple[str, Any, str]] = [
    (
        "CONCURRENT_ITEMS",
        8,
        "Scrapy starts as many tasks for every response, however few items it has: at its default "
        "of 100 a crawl runs at about half the speed",
    ),
    (
        "TWISTED_REACTOR",
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "The exchange with Redis is an asyncio task",
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


def redis_answers(settings: BaseSettings) -> tuple[bool, str]:
    """Ask Redis once, and say in words what came of it."""
    address = connection.address(settings)
    client = BlockingClient(
        dataclasses.replace(address, timeout=min(address.timeout, _PROBE_TIMEOUT)), "probe"
    )
    try:
        client.ping()
    except StoreError as exc:
        return False, str(exc)
    finally:
        client.close()
    return True, f"Redis at {address} answers"


def resolve_mode(settings: BaseSettings) -> str:
    """Return standalone or distributed. For auto, Redis decides, and the log says so."""
    mode = wanted_mode(settings)
    if mode != "auto":
        return mode
    answers, reason = redis_answers(settings)
    mode = "distributed" if answers else "standalone"
    chosen = "the shared crawl" if answers else "Scrapy's own components"
    logger.info("Run mode auto: %s, because %s", chosen, reason)
    return mode


def join(settings: BaseSettings, translation: Translation) -> None:
    """Turn the components of a shared crawl on, below whatever the user says."""
    for setting, path in ONE_CLASS.items():
        if setting != "STATS_CLASS" or available(path):
            settings.set(setting, path, ADDON)
    for setting, path, number in ADDED:
        if available(path):
            _add(settings, setting, path, number)
    for name, value, _ in PRESETS:
        settings.set(name, value, ADDON)
    _choose_filter(settings, translation)
    _choose_stats(settings, translation)


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
    _choose_filter(settings, translation)


def _add(settings: BaseSettings, setting: str, path: str, number: int) -> None:
    entries = settings.getdict(setting)
    if all(path_of(component) != path for component in entries):
        settings.set(setting, {**entries, path: number}, settings.getpriority(setting) or 0)


def _choose_filter(settings: BaseSettings, translation: Translation) -> None:
    path = settings.get("FILTER_CLASS")
    kind = str(settings.get("FILTER_TYPE") or "").lower()
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
    if (kind == "bloom" or "bloom" in str(path or "").lower()) and not available(
        "crawlo_scrapy.store.bloom.Bloom"
    ):
        translation.note(
            "There is no Bloom filter in this version: the exact seen set is used, at 9 bytes a URL"
        )


def _choose_stats(settings: BaseSettings, translation: Translation) -> None:
    backend = str(settings.get("STATS_BACKEND") or "").lower()
    if backend == "memory":
        translation.put("STATS_BACKEND", "STATS_CLASS", default_settings.STATS_CLASS)
    elif backend == "redis" and available(STATS):
        translation.put("STATS_BACKEND", "STATS_CLASS", STATS)
