"""Names of collections, tables and files that depend on the item, the spider or the worker."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError

_PLACE = re.compile(r"\{(\w+)\}")


def default_node() -> str:
    """Return a name for this process that no other process on any host has at the same time."""
    return f"{socket.gethostname()}-{os.getpid()}"


class NameTemplate:
    """A name with places in braces, or a mapping of item classes to such names.

    ``{spider}`` and what else *known* holds are filled in at once, other places with the
    item's field of that name. A mapping's keys are class names, with or without their
    module; ``*`` stands for all other classes.
    """

    def __init__(self, source: str | Mapping[str, str], known: Mapping[str, str]) -> None:
        by_class = {"*": source} if isinstance(source, str) else dict(source)
        self._by_class = {key: _fill(text, known) for key, text in by_class.items()}
        self._found: dict[type, str] = {}

    def fixed(self) -> list[str]:
        """Return the names that do not depend on a field's value."""
        return [text for text in self._by_class.values() if not _PLACE.search(text)]

    def name(self, fields: Mapping[str, Any], item_class: type) -> str:
        """Return the name for an item; raises `ItemRefused` when it has none."""
        text = self._found.get(item_class)
        if text is None:
            text = self._found[item_class] = self._for_class(item_class)
        if "{" not in text:
            return text
        return _PLACE.sub(lambda match: _value(fields, match[1]), text)

    def _for_class(self, item_class: type) -> str:
        path = f"{item_class.__module__}.{item_class.__qualname__}"
        for key in (path, item_class.__qualname__, "*"):
            if key in self._by_class:
                return self._by_class[key]
        raise ItemRefused(f"no name is configured for items of class {path}")


def _value(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or isinstance(value, (Mapping, list, tuple, set)) or value == "":
        raise ItemRefused(f"its field {name!r}, a part of the target's name, has no simple value")
    return str(value)


def _fill(text: str, known: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: known.get(match[1], match[0]), text)


def fill_path(text: str, known: Mapping[str, str]) -> str:
    """Return the path *text* with its places filled; raises `StorageError` for unknown ones."""
    safe = {key: value.replace("/", "_").replace("\0", "_") for key, value in known.items()}
    path = _fill(text, safe)
    left = _PLACE.search(path)
    if left:
        raise StorageError(
            f"the path {text!r} holds {{{left[1]}}}; known are "
            + ", ".join(f"{{{key}}}" for key in sorted(safe))
        )
    return path
