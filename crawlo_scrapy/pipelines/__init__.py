"""Item pipelines that return when an item is safe in its storage.

The classes are imported when they are asked for: nobody needs the driver of a database that
they do not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "AsyncmyMySQLPipeline": "mysql",
    "BatchedPipeline": "base",
    "ConsolePipeline": "console",
    "CsvPipeline": "jsonlines",
    "JsonLinesPipeline": "jsonlines",
    "JsonPipeline": "jsonlines",
    "MongoPipeline": "mongodb",
    "MySQLPipeline": "mysql",
    "RedisDedupPipeline": "redis_dedup",
    "RedisStreamPipeline": "redis_stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
