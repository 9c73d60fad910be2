"""From a crawler's settings to the store: address, keys, and who this worker is."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from crawlo_scrapy import settings as ours
from crawlo_scrapy.store.client import Address
from crawlo_scrapy.store.keys import Keys

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

_IMPORTED = time.monotonic()


def address(settings: BaseSettings) -> Address:
    """Return where Redis is, by the settings. Raises `SettingError`."""

    def get(name: str):  # type: ignore[no-untyped-def]
        return ours.get(settings, name)

    return Address(
        url=get("REDIS_URL"),
        host=get("REDIS_HOST"),
        port=get("REDIS_PORT"),
        db=get("REDIS_DB"),
        username=get("REDIS_USER"),
        password=get("REDIS_PASSWORD"),
        max_connections=get("REDIS_CONNECTION_POOL_SIZE"),
        timeout=get("CRAWLO_REDIS_TIMEOUT"),
    )


def keys(settings: BaseSettings, spider_name: str) -> Keys:
    """Return the keys of the crawl of *spider_name*."""
    project = ours.get(settings, "PROJECT_NAME") or settings.get("BOT_NAME") or "scrapybot"
    return Keys(project, spider_name, ours.get(settings, "CRAWLO_CRAWL_ID"))


def node_id(settings: BaseSettings) -> str:
    """Return the name of this worker: CRAWLO_NODE_ID, else host, pid and a random part."""
    given = ours.get(settings, "CRAWLO_NODE_ID")
    return given or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def process_age() -> float:
    """Return how many seconds ago this process started."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED
