"""From a crawler's settings to the store: address, keys, and who this worker is."""

from __future__ import annotations

import functools
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from crawlo_scrapy import settings as ours
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.client import Address, Tls
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import MOST_PARTITIONS, Layout
from crawlo_scrapy.store.seen import SeenChoice
from crawlo_scrapy.store.slots import SlotLimit

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

_IMPORTED = time.monotonic()


def address(settings: BaseSettings) -> Address:
    """Return where Redis is, by the settings. Raises `SettingError`."""

    def get(name: str) -> Any:
        return ours.get(settings, name)

    sentinels = _places("REDIS_SENTINEL_URLS", get("REDIS_SENTINEL_URLS"))
    nodes = _places("REDIS_CLUSTER_NODES", get("REDIS_CLUSTER_NODES"))
    if sentinels and nodes:
        raise SettingError(
            "REDIS_SENTINEL_URLS and REDIS_CLUSTER_NODES are both set: a crawl is in one Redis. "
            "Unset one of them."
        )
    return Address(
        url=get("REDIS_URL"),
        host=get("REDIS_HOST"),
        port=get("REDIS_PORT"),
        db=get("REDIS_DB"),
        username=get("REDIS_USER"),
        password=get("REDIS_PASSWORD"),
        max_connections=get("REDIS_CONNECTION_POOL_SIZE"),
        timeout=get("CRAWLO_REDIS_TIMEOUT"),
        tls=_tls(get),
        sentinels=sentinels,
        service=get("REDIS_SENTINEL_SERVICE"),
        sentinel_username=get("REDIS_SENTINEL_USER"),
        sentinel_password=get("REDIS_SENTINEL_PASSWORD"),
        cluster_nodes=nodes,
    )


def _tls(get: Callable[[str], Any]) -> Tls | None:
    """Return how to speak TLS, or None. Who names a certificate wants it."""
    names = ("REDIS_TLS_CA_FILE", "REDIS_TLS_CERT_FILE", "REDIS_TLS_KEY_FILE")
    files = [get(name) for name in names]
    secure = str(get("REDIS_URL")).lower().startswith(("rediss:", "valkeys:"))
    if not (get("REDIS_TLS") or secure or any(files)):
        return None
    for name, path in zip(names, files, strict=True):
        if path and not os.access(path, os.R_OK):
            raise SettingError(f"{name} is {path!r}: there is no such file that can be read")
    ca, cert, key = files
    return Tls(ca, cert, key, get("REDIS_TLS_CHECK_HOSTNAME"), get("REDIS_TLS_VERIFY"))


def _places(name: str, given: list[Any]) -> tuple[str, ...]:
    """Return hosts with ports, or URLs, as text."""
    places = []
    for entry in given:
        if isinstance(entry, Mapping):
            entry = (entry.get("host"), entry.get("port"))
        if isinstance(entry, (list, tuple)):
            if len(entry) != 2:
                raise SettingError(f"{name} must be a list of addresses such as 'host:7000'")
            entry = f"{entry[0]}:{entry[1]}"
        places.append(str(entry))
    return tuple(places)


def keys(settings: BaseSettings, spider_name: str) -> Keys:
    """Return the keys of the crawl of *spider_name*."""
    project = ours.get(settings, "PROJECT_NAME") or settings.get("BOT_NAME") or "scrapybot"
    return Keys(project, spider_name, ours.get(settings, "CRAWLO_CRAWL_ID"))


def layout(settings: BaseSettings) -> Layout:
    """Return how the settings divide a crawl. Raises `SettingError`."""
    count = ours.get(settings, "CRAWLO_PARTITIONS")
    if count > MOST_PARTITIONS:
        raise SettingError(
            f"CRAWLO_PARTITIONS is {count}; it must be {MOST_PARTITIONS} or less. Two or three for "
            "each master of a cluster are enough."
        )
    by = ours.get(settings, "CRAWLO_PARTITION_BY")
    if count == 1 or by == "slot":
        return Layout(count)
    for name in ("CRAWLO_SLOT_DELAY", "CRAWLO_SLOT_CONCURRENCY", "CRAWLO_SLOTS",
                 "CRAWLO_AUTOTHROTTLE", "CRAWLO_ROBOTS_DELAY"):  # fmt: skip
        if ours.get(settings, name):
            raise SettingError(
                f"{name} limits slots, and CRAWLO_PARTITION_BY = 'fingerprint' spreads each slot "
                "over all partitions, of which none can tell how the others stand. Divide the "
                "crawl by 'slot', or unset it."
            )
    return Layout(count, by)


def fixed_connections(settings: BaseSettings) -> int:
    """Return how many connections a worker has in any case.

    One for each partition of its queue, and for its heartbeat, its stats and its alerts.
    """
    return layout(settings).count + 3


def slot_limits(settings: BaseSettings) -> dict[str, SlotLimit]:
    """Return the limits of slots, by name; "" is for all others. Raises `SettingError`."""
    default = SlotLimit(
        ours.get(settings, "CRAWLO_SLOT_DELAY"), ours.get(settings, "CRAWLO_SLOT_CONCURRENCY")
    )
    limits = {"": default} if default != SlotLimit(0.0, 0) else {}
    for slot, given in ours.get(settings, "CRAWLO_SLOTS").items():
        limits[str(slot)] = _slot_limit(slot, given)
    return limits


def _slot_limit(slot: Any, given: Any) -> SlotLimit:
    try:
        delay, concurrency = given.get("delay"), given.get("concurrency")
        limit = SlotLimit(
            None if delay is None else float(delay),
            None if concurrency is None else int(concurrency),
        )
        unknown = set(given) - {"delay", "concurrency"}
        if unknown or (limit.delay or 0) < 0 or (limit.concurrency or 0) < 0:
            raise ValueError
    except (AttributeError, TypeError, ValueError):
        raise SettingError(
            f"CRAWLO_SLOTS: the limits of {slot!r} are {given!r}; they must be a dict with "
            '"delay" (seconds, 0 or more), "concurrency" (0 or more), or both.'
        ) from None
    return limit


def seen_choice(settings: BaseSettings) -> SeenChoice:
    """Return what kind of seen set the crawl is to have. Raises `SettingError`."""
    choice = SeenChoice(
        kind=ours.get(settings, "CRAWLO_SEEN"),
        capacity=ours.get(settings, "BLOOM_FILTER_CAPACITY"),
        error_rate=ours.get(settings, "BLOOM_FILTER_ERROR_RATE"),
        ttl=ours.get(settings, "REDIS_TTL"),
        urls=ours.get(settings, "CRAWLO_SEEN_URLS"),
    )
    if choice.kind == "bloom" and not 1e-9 <= choice.error_rate < 0.5:
        raise SettingError(
            f"BLOOM_FILTER_ERROR_RATE is {choice.error_rate:g}: must be at least 1e-9 and less "
            "than 0.5"
        )
    if choice.kind == "bloom" and choice.urls:
        raise SettingError(
            "CRAWLO_SEEN_URLS is for `crawlo-scrapy seen forget`, and the Bloom filter of "
            "CRAWLO_SEEN = 'bloom' cannot forget a URL: unset one of the two"
        )
    return choice


def node_id(settings: BaseSettings) -> str:
    """Return the name of this worker: CRAWLO_NODE_ID, else host, pid and a random part.

    Registry, logs, stats and files get the same one: a process keeps its name.
    """
    return ours.get(settings, "CRAWLO_NODE_ID") or _process_name(os.getpid())


@functools.cache
def _process_name(pid: int) -> str:
    # By pid: a forked child is another process.
    return f"{socket.gethostname()}-{pid}-{secrets.token_hex(2)}"


def process_age() -> float:
    """Return how many seconds ago this process started."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED
