"""Names that scrapy-redis gives its settings: what they become here, or why nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from scrapy.settings import BaseSettings

from crawlo_scrapy.config.places import ADDON
from crawlo_scrapy.config.redis_url import with_parts

#: Settings that scrapy-redis reads, and what they are here, as reStructuredText.
SETTINGS: dict[str, str] = {
    "REDIS_URL": "the same",
    "REDIS_HOST": "the same",
    "REDIS_PORT": "the same",
    "REDIS_DB": "the same",
    "REDIS_PARAMS": "what each of its entries is: see below. Our own settings win",
    "REDIS_ENCODING": "the same, of start URLs",
    "SCHEDULER_PERSIST": "the same, but True by default. With False the last worker to leave a "
    "*finished* crawl purges it; an interrupted crawl is always kept",
    "SCHEDULER_FLUSH_ON_START": "the same, and refused while other workers live",
    "SCHEDULER_QUEUE_CLASS": "CRAWLO_QUEUE_ORDER: ``lifo`` for ``LifoQueue`` and ``SpiderStack``, "
    "``fifo`` for the others. Priorities always count, as in ``PriorityQueue``; the order is that "
    "inside one priority",
    "SCHEDULER_QUEUE_KEY": "read by ``crawlo-scrapy migrate scrapy-redis``. A crawl's keys follow "
    "from PROJECT_NAME (or BOT_NAME), the spider's name and CRAWLO_CRAWL_ID",
    "SCHEDULER_DUPEFILTER_KEY": "as SCHEDULER_QUEUE_KEY",
    "DUPEFILTER_CLASS": "the shared seen set, once the line is removed. Of a class derived from "
    "``RFPDupeFilter`` only its ``request_fingerprint`` carries over: as a "
    "REQUEST_FINGERPRINTER_CLASS",
    "DUPEFILTER_DEBUG": "as ever",
    "CONCURRENT_REQUESTS": "as ever; also how many start URLs a spider takes at a time",
    "REDIS_START_URLS_KEY": "the same",
    "REDIS_START_URLS_BATCH_SIZE": "the same",
    "REDIS_START_URLS_AS_SET": "read by scrapy-redis's own spiders; ours see what the key is",
    "REDIS_START_URLS_AS_ZSET": "as REDIS_START_URLS_AS_SET",
    "MAX_IDLE_TIME_BEFORE_CLOSE": "the same",
    "REDIS_ITEMS_KEY": "read by scrapy-redis's own ``RedisPipeline``, which still works. Ours is "
    "``crawlo_scrapy.pipelines.RedisStreamPipeline``: a stream, which loses no item",
    "REDIS_ITEMS_SERIALIZER": "as REDIS_ITEMS_KEY",
}

#: Settings of scrapy-redis that have no effect here, and why.
WITHOUT: dict[str, str] = {
    "SCHEDULER_SERIALIZER": "requests travel as msgpack; CRAWLO_SIGNING_KEY lets pickle carry what "
    "msgpack cannot",
    "SCHEDULER_DUPEFILTER_CLASS": "scrapy-redis speaks of it and reads DUPEFILTER_CLASS",
    "SCHEDULER_IDLE_BEFORE_CLOSE": "workers close when the whole crawl is finished; "
    "CRAWLO_KEEP_ALIVE and DISTRIBUTED_WORKER_IDLE_TIMEOUT say otherwise",
    "REDIS_DECODE_RESPONSES": "requests are bytes",
    "STATS_KEY": "the stats of a crawl stand under the crawl's own keys",
}

#: Entries of REDIS_PARAMS, which are arguments of redis-py's client, and what they become.
PARAMS: dict[str, str] = {
    "url": "REDIS_URL",
    "host": "REDIS_HOST",
    "port": "REDIS_PORT",
    "db": "REDIS_DB",
    "username": "REDIS_USER",
    "password": "REDIS_PASSWORD",
    "unix_socket_path": "REDIS_URL",
    "socket_timeout": "CRAWLO_REDIS_TIMEOUT",
    "max_connections": "REDIS_CONNECTION_POOL_SIZE",
    "encoding": "REDIS_ENCODING",
    "ssl": "REDIS_TLS",
    "ssl_ca_certs": "REDIS_TLS_CA_FILE",
    "ssl_certfile": "REDIS_TLS_CERT_FILE",
    "ssl_keyfile": "REDIS_TLS_KEY_FILE",
    "ssl_check_hostname": "REDIS_TLS_CHECK_HOSTNAME",
    "ssl_cert_reqs": "REDIS_TLS_VERIFY",
}

_VALUES: dict[str, Callable[[Any], Any]] = {
    "unix_socket_path": lambda path: f"unix://{quote(str(path))}",
    "ssl_cert_reqs": lambda given: str(given).lower() not in ("none", "0", "verifymode.cert_none"),
}


def apply(settings: BaseSettings) -> None:
    """Set what scrapy-redis's names mean, below whatever the user says by ours."""
    if name := _queue_class(settings):
        order = "lifo" if name in ("LifoQueue", "SpiderStack") else "fifo"
        settings.set("CRAWLO_QUEUE_ORDER", order, ADDON)
    given = _params(settings)
    for param, value in given.items():
        if param in PARAMS and (value is not None or param == "ssl_cert_reqs"):
            value = _VALUES.get(param, lambda same: same)(value)
            settings.set(PARAMS[param], value, ADDON)
    _complete_url(settings, given)


def notes(settings: BaseSettings) -> list[str]:
    """Return at most one sentence: which of them are set and have no effect, and why."""
    found = [
        f"{name}: {why}"
        for name, why in WITHOUT.items()
        if settings.get(name) not in (None, 0, "", False)
    ]
    if unknown := sorted(str(name) for name in _params(settings) if name not in PARAMS):
        found.append(f"{', '.join(unknown)} in REDIS_PARAMS: connections see to that themselves")
    queue_class = settings.get("SCHEDULER_QUEUE_CLASS")
    if queue_class and not _queue_class(settings):
        found.append(f"SCHEDULER_QUEUE_CLASS {queue_class}: a queue of your own takes no part")
    if not found:
        return []
    return ["These settings of scrapy-redis have no effect here:\n    " + "\n    ".join(found)]


def _queue_class(settings: BaseSettings) -> str:
    """Return the name of scrapy-redis's class that is set, or ""."""
    path = str(settings.get("SCHEDULER_QUEUE_CLASS") or "")
    return path.rpartition(".")[2] if path.startswith("scrapy_redis.") else ""


def _params(settings: BaseSettings) -> dict[str, Any]:
    return settings.getdict("REDIS_PARAMS")


def _complete_url(settings: BaseSettings, given: dict[str, Any]) -> None:
    """Give REDIS_URL what it leaves to REDIS_PARAMS, as redis-py does."""
    url = str(settings.get("REDIS_URL") or "")
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        return
    lacking = {
        "username": not parts.username,
        "password": not parts.password,
        "db": parts.path in ("", "/"),
    }
    over = {
        PARAMS[param]: str(given[param])
        for param, lacks in lacking.items()
        if lacks and given.get(param) is not None
    }
    if over:
        settings.set("REDIS_URL", with_parts(url, over), settings.getpriority("REDIS_URL") or 0)
