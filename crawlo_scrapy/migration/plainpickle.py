"""Pickles of strangers, read as plain data or not at all."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

#: The largest pickle that is looked at, in bytes.
MOST_BYTES = 16 * 1024 * 1024
#: The most values in one: a small pickle may refer to itself until nobody could write it out.
MOST_VALUES = 200_000


class NotPlain(ValueError):
    """A pickle that is damaged, too large, or holds more than plain data."""


class Bag:
    """Stands for an object whose class is not here: takes its attributes and does nothing."""


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """What old pickles make bytes by; any other codec is refused."""
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise NotPlain(f"it asks for the codec {encoding!r:.40}")
    return text.encode("latin1")


def _bytearray(*given: Any) -> bytes:
    """Old pickles make bytes and bytearrays by calls; a number would be a size."""
    if not given:
        return b""
    if isinstance(given[0], str):
        return _latin1(*given)
    if not isinstance(given[0], bytes):
        raise NotPlain("it makes bytes of something else")
    return given[0]


_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin1,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "bytes"): _bytearray,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("collections", "OrderedDict"): OrderedDict,
    ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): UUID,
    **{("datetime", c.__name__): c for c in (date, datetime, time, timedelta, timezone)},
}

#: Operations that number a value, to be referred to.
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
_LEAVES = (bool, int, float, complex, type(None), Decimal, UUID, date, datetime, time, timedelta)
_LISTS = (list, tuple, set, frozenset)


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, bags: frozenset[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(data))
        self._bags = bags

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)  # of old protocols
        if (module, name) in self._bags:
            return Bag
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise NotPlain(f"it holds {module}.{name}, which is no plain data") from None


def loads(data: bytes, bags: frozenset[tuple[str, str]] = frozenset()) -> Any:
    """Return the plain data that *data* holds; nothing in it is imported or called.

    Objects of a class in *bags*, as (module, name), come as a `Bag` with their attributes. Only
    the outermost object may be one. Raises `NotPlain`.
    """
    if len(data) > MOST_BYTES:
        raise NotPlain(f"it has {len(data):,} bytes, more than {MOST_BYTES:,}")
    try:
        _check_operations(data)
        value = _Unpickler(data, bags).load()
        _check_values(vars(value) if type(value) is Bag else value)
    except NotPlain:
        raise
    except RecursionError:
        raise NotPlain("it is nested too deeply") from None
    except Exception as exc:
        # A damaged pickle raises what it likes.
        raise NotPlain(f"it is damaged: {type(exc).__name__}: {exc}") from None
    return value


def _check_operations(data: bytes) -> None:
    """Refuse what would take memory beyond the pickle's own size before a value is made."""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in _MEMO and int(argument or 0) > len(data):
            raise NotPlain("it numbers its values beyond its size")


def _check_values(value: Any) -> None:
    left, size, waiting = MOST_VALUES, 0, [value]
    while waiting:
        one = waiting.pop()
        left -= 1
        if isinstance(one, (str, bytes)):
            size += len(one)
        elif type(one) in (dict, OrderedDict):
            waiting += one.keys()
            waiting += one.values()
        elif type(one) in _LISTS:
            waiting += one
        elif type(one) not in _LEAVES:
            raise NotPlain(f"it holds a {type(one).__name__}, which is no plain data")
        if left - len(waiting) < 0 or size > MOST_BYTES:
            raise NotPlain("it is too large once it is written out")
