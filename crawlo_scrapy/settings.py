"""Every setting of ours: name, type, default, unit, and one line on what it does.

The settings page of the documentation is made from `SETTINGS`. Components read their
settings through `get`, never with a default of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


class SettingError(ValueError):
    """A setting has a value that it cannot have. The message names both, and what is allowed."""


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    `kind` is one of ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``; `choices`
    limits a ``str``; `minimum` a number. A default of ``None`` means "not set".
    """

    name: str
    kind: str
    default: Any
    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None


_TABLE = [
    # -- Redis ---------------------------------------------------------------------------
    Setting("REDIS_URL", "str", None, "Address of Redis as one URL: redis://, rediss:// or unix://."),
    Setting("REDIS_HOST", "str", "127.0.0.1", "Host name or address of Redis."),
    Setting("REDIS_PORT", "int", 6379, "Port of Redis.", minimum=1),
    Setting("REDIS_DB", "int", 0, "Number of the Redis database.", minimum=0),
    Setting("REDIS_USER", "str", None, "ACL user to log in as."),
    Setting("REDIS_PASSWORD", "str", None, "Password of Redis."),
    Setting(
        "REDIS_CONNECTION_POOL_SIZE", "int", 20,
        "The most connections that one worker opens.", minimum=1,
    ),
    Setting(
        "CRAWLO_REDIS_TIMEOUT", "float", 10.0,
        "How long one answer of Redis may take before the connection counts as broken.",
        unit="seconds", minimum=0.1,
    ),
    # -- The crawl -----------------------------------------------------------------------
    Setting(
        "PROJECT_NAME", "str", None,
        "First half of a crawl's name. Not set: BOT_NAME.",
    ),
    Setting(
        "CRAWLO_CRAWL_ID", "str", None,
        "Names one crawl of a spider. A worker that starts on a named crawl that is finished "
        "exits at once with status 0.",
    ),
    Setting(
        "CRAWLO_NODE_ID", "str", None,
        "Name of this worker in logs and in the registry. Not set: host, pid, a random part.",
    ),
    Setting(
        "CRAWLO_ROLE", "str", "auto",
        "auto: may seed. control: may seed. worker: never seeds.",
        choices=("auto", "control", "worker"),
    ),
    Setting(
        "CRAWLO_SEEDING", "str", "once",
        "once: the start requests enter the crawl once. every: each worker has its own.",
        choices=("once", "every"),
    ),
    Setting(
        "SCHEDULER_PERSIST", "bool", True,
        "False: the last worker to leave a finished crawl purges it.",
    ),
    Setting(
        "SCHEDULER_FLUSH_ON_START", "bool", False,
        "Purge the crawl before it starts. Refused while other workers live.",
    ),
    # -- Queue and exchange --------------------------------------------------------------
    Setting(
        "CRAWLO_QUEUE_ORDER", "str", "fifo",
        "Order inside one priority.", choices=("fifo", "lifo"),
    ),
    Setting(
        "CRAWLO_MAX_ATTEMPTS", "int", 5,
        "How many workers a request may take down before it becomes a dead letter.", minimum=1,
    ),
    Setting(
        "CRAWLO_PREFETCH", "int", None,
        "The most requests that a worker holds leased but not started. Not set: three times "
        "CONCURRENT_REQUESTS.", unit="requests", minimum=1,
    ),
    Setting(
        "CRAWLO_OUTBOX_LIMIT", "int", 10_000,
        "How many requests may wait in a worker for Redis. Above it no new page is started.",
        unit="requests", minimum=1,
    ),
    Setting(
        "CRAWLO_EXCHANGE_INTERVAL", "float", 0.05,
        "The longest time that finished work waits before Redis is told.",
        unit="seconds", minimum=0.001,
    ),
    Setting(
        "CRAWLO_HEARTBEAT_INTERVAL", "float", 3.0,
        "How often a worker says that it lives.", unit="seconds", minimum=0.05,
    ),
    Setting(
        "CRAWLO_WORKER_TIMEOUT", "float", 15.0,
        "A worker that has been silent for so long is dead, and its requests are taken up by "
        "others.", unit="seconds", minimum=0.1,
    ),
    Setting(
        "CRAWLO_LOCAL_CACHE_SIZE", "int", 100_000,
        "How many URLs a worker remembers to have seen without asking Redis.",
        unit="URLs", minimum=0,
    ),
    # -- Serialisation -------------------------------------------------------------------
    Setting(
        "CRAWLO_SIGNING_KEY", "str", None,
        "Secret that signs payloads. With it, objects that only pickle can carry are pickled.",
    ),
    Setting(
        "CRAWLO_REQUEST_CLASSES", "list", [],
        "Import paths of request classes that may be rebuilt from Redis, besides Scrapy's.",
    ),
]

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _TABLE}

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def get(settings: BaseSettings, name: str) -> Any:
    """Return the value of one of our settings, converted to its type.

    Raises `SettingError` when the value does not parse or is not allowed.
    """
    setting = SETTINGS[name]
    value = settings.get(name)
    if value is None:
        return setting.default
    try:
        return convert(setting, value)
    except (TypeError, ValueError) as exc:
        raise SettingError(f"{name} is {_shown(name, value)}: {exc}") from None


def convert(setting: Setting, value: Any) -> Any:
    """Convert *value*, often a string from a command line, to the setting's type."""
    result = _parse(setting.kind, value)
    if setting.choices and result not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}")
    if setting.minimum is not None and result < setting.minimum:
        raise ValueError(f"must be at least {setting.minimum:g}")
    return result


def _parse(kind: str, value: Any) -> Any:
    if kind == "bool":
        text = str(value).strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise ValueError("must be True or False")
    if kind in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError("must be a number") from None
        if kind == "float":
            return number
        if number != int(number):
            raise ValueError("must be a whole number")
        return int(number)
    if kind == "list":
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return list(value)
    if kind == "dict":
        if isinstance(value, str):
            value = json.loads(value)
        return dict(value)
    return str(value)


def _shown(name: str, value: Any) -> str:
    secret = any(word in name for word in ("PASSWORD", "URL", "URI", "KEY", "TOKEN", "PASS"))
    return "(not shown)" if secret else repr(value)
