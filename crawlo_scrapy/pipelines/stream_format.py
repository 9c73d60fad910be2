"""Items to the bytes that stand in the stream, and back."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from typing import Any

from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.pipelines.fields import to_json
from crawlo_scrapy.store.items import StreamItem
from crawlo_scrapy.values import CannotDecode, CannotEncode, Codec

_CODEC = Codec()


def encode(
    fields: Mapping[str, Any], item_class: type, format: str, known_by: bytes | None = None
) -> StreamItem:
    """Return *fields* as an entry; raises `ItemRefused` for what *format* cannot hold."""
    path = f"{item_class.__module__}.{item_class.__qualname__}"
    try:
        payload = to_json(fields) if format == "json" else _CODEC.encode(dict(fields))
    except CannotEncode as exc:
        raise ItemRefused(str(exc)) from None
    return StreamItem(format, path, payload, known_by)


def decode(item: StreamItem) -> tuple[dict[str, Any], type]:
    """Return fields and class of an entry; raises `ItemRefused` for what is no item."""
    try:
        if item.format == "json":
            fields = json.loads(item.payload)
        elif item.format == "msgpack":
            fields = _CODEC.decode(item.payload)
        else:
            raise ItemRefused(f"it is in the format {item.format!r}, not in json or msgpack")
    except (ValueError, RecursionError, CannotDecode) as exc:
        raise ItemRefused(f"it does not decode: {exc}") from None
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise ItemRefused("it is not an object with named fields")
    return fields, _class_at(item.item_class)


@functools.lru_cache(maxsize=1000)
def _class_at(path: str) -> type:
    """Return the class at *path* if its module is imported; else one that only has its name.

    Nothing is imported: the path comes from Redis.
    """
    place = len(path)
    while (place := path.rfind(".", 0, place)) > 0:
        found: Any = sys.modules.get(path[:place])
        for name in path[place + 1 :].split("."):
            # vars() and not getattr: a module's __getattr__ could import anything.
            found = vars(found).get(name) if hasattr(found, "__dict__") else None
        if isinstance(found, type):
            return found
    module, _, name = path.rpartition(".")
    name = name.replace("\0", "")
    return type(name or "unknown", (), {"__module__": module, "__qualname__": name or "unknown"})
