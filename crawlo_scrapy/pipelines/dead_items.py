"""Where items go that no storage takes: kept with their reason, for a person to look at."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from crawlo_scrapy.pipelines.append_file import AppendFile


@dataclass(frozen=True)
class DeadItem:
    """An item that was refused, why, by which storage, and when."""

    storage: str
    reason: str
    item_class: str
    fields: Mapping[str, Any]
    spider: str = ""
    node: str = ""
    time: str = field(default_factory=lambda: dt.datetime.now(dt.timezone.utc).isoformat())

    def to_json(self) -> bytes:
        """Return one line of JSON. What JSON cannot hold stands in it as its ``repr``."""
        return shown_json(vars(self)).encode("ascii")


class DeadItems(Protocol):
    """A place for dead items."""

    async def put(self, item: DeadItem) -> None:
        """Return when *item* is kept. Raises `OSError` or `StorageUnavailable` if it is not."""

    async def close(self) -> None:
        """Let go of files and connections."""


class DeadItemsFile:
    """Keeps dead items as JSON lines in *path*, which any number of workers may share."""

    def __init__(self, path: str) -> None:
        self._file = AppendFile(path)

    async def put(self, item: DeadItem) -> None:
        await asyncio.to_thread(self._file.append, item.to_json() + b"\n")

    async def close(self) -> None:
        self._file.close()


def shown_json(fields: Mapping[str, Any]) -> str:
    """Return *fields* as JSON in ASCII, whatever they hold."""
    return json.dumps(_shown(fields), separators=(",", ":"))


def _shown(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if depth > 50:
        return "(nested too deeply)"
    if isinstance(value, Mapping):
        return {str(key): _shown(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_shown(inner, depth + 1) for inner in value]
    return repr(value)
