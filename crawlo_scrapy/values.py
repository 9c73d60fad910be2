"""Plain and not so plain values to msgpack and back, as what they were.

msgpack knows None, bool, int, float, str, bytes, list and dict with text keys. The rest of
what stands in `meta` and `cb_kwargs` goes into extension types. Nothing is executed on the way
back: classes are looked up among modules that are imported already, only item classes and
enumerations are accepted, and an item's fields are set without calling its constructor.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack


class CannotEncode(Exception):
    """A value that msgpack and our extensions cannot carry; the message says where and what."""


class CannotDecode(Exception):
    """A payload that is damaged, or needs something that this worker does not have.

    `reason` is the reason of the dead letter that becomes of it.
    """

    reason = "decode"


#: How many values of our extension types may lie in each other: each is copied out of its parent.
MOST_NESTED = 32
#: Bytes of a number or a time as text: what Python makes an integer of, and a sign. More digits
#: take their square in time.
MOST_DIGITS = 4301
#: So many keys of a dict, or members of a set, may have the hash of another one. Whoever chooses
#: them can make all equal, and then each is compared with each.
MOST_COLLISIONS = 1000

_OPTIONS = (
    ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_ENUM
)

# Numbers of extension types; they stand in Redis, so they never change their meaning.
(
    _TUPLE, _SET, _FROZENSET, _DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _BIGINT,
    _ITEM, _ENUM, _DICT, _ORDERED, _UNUSED, _SURROGATES, _COMPLEX, REQUEST,
) = range(1, 19)  # fmt: skip


class Codec:
    """Encodes and decodes values. A request inside `meta` is left to the two functions given."""

    def __init__(
        self,
        encode_request: Callable[[Any], bytes] | None = None,
        decode_request: Callable[[bytes], Any] | None = None,
    ) -> None:
        self._encode_request = encode_request
        self._decode_request = decode_request
        # ormsgpack says of an extension that fails only that it failed.
        self._culprit: Exception | None = None
        self._depth = 0

    def encode(self, value: Any) -> bytes:
        """Return *value* as msgpack. Raises `CannotEncode`."""
        try:
            return ormsgpack.packb(value, default=self._extend, option=_OPTIONS)
        except (TypeError, ValueError, RecursionError):
            # Keys that are not text, integers beyond 64 bits and lone surrogates are rare:
            # only what failed is walked through and rewritten. The walk also finds the culprit.
            return self._pack_rewritten(value, "")

    def decode(self, payload: bytes) -> Any:
        """Return the value that *payload* holds. Raises `CannotDecode`."""
        self._culprit = None
        self._depth += 1
        try:
            if self._depth > MOST_NESTED:
                raise CannotDecode("it is nested too deeply")
            return ormsgpack.unpackb(payload, ext_hook=self._restore)
        except Exception as exc:
            culprit, self._culprit = self._culprit or exc, None
            if isinstance(culprit, CannotDecode):
                raise culprit from None
            raise CannotDecode(f"not a valid payload ({culprit!s:.200})") from culprit
        finally:
            self._depth -= 1

    def _pack_rewritten(self, value: Any, where: str) -> bytes:
        try:
            rewritten = self._rewrite(value, where)
            return ormsgpack.packb(rewritten, default=self._extend, option=_OPTIONS)
        except CannotEncode:
            raise
        except RecursionError:
            raise CannotEncode(f"{where or 'value'} is nested too deeply") from None
        except (TypeError, ValueError) as exc:
            raise CannotEncode(f"{where or 'value'}: {exc}") from None

    def _rewrite(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind is dict:
            if all(type(key) is str and _is_unicode(key) for key in value):
                return {k: self._rewrite(v, f"{where}[{k!r}]") for k, v in value.items()}
            pairs = [part for pair in value.items() for part in pair]
            return ormsgpack.Ext(_DICT, self._pack_rewritten(pairs, where))
        if kind is list:
            return [self._rewrite(v, f"{where}[{i}]") for i, v in enumerate(value)]
        if kind is int and not -(2**63) <= value < 2**64:
            return ormsgpack.Ext(_BIGINT, _digits(str(value).encode()))
        if kind is str and not _is_unicode(value):
            return ormsgpack.Ext(_SURROGATES, value.encode("utf-8", "surrogatepass"))
        if kind in _PLAIN:
            return value
        try:
            return self._extend(value)
        except CannotEncode as exc:
            raise CannotEncode(f"{where}{': ' if where else ''}{exc}") from None

    def _extend(self, value: Any) -> Any:
        """Return *value*, which msgpack does not know, as an extension."""
        kind = type(value)
        if kind in _SEQUENCES:
            return ormsgpack.Ext(_SEQUENCES[kind], self.encode(list(value)))
        if kind in _WRITERS:
            number, write = _WRITERS[kind]
            return ormsgpack.Ext(number, _digits(write(value)))
        if kind is datetime or kind is time:
            return ormsgpack.Ext(*self._encode_time(value))
        if kind is OrderedDict:
            return ormsgpack.Ext(_ORDERED, self.encode([x for kv in value.items() for x in kv]))
        if isinstance(value, str) and kind.__module__ == "lxml.etree":
            # The text of a link, as CrawlSpider puts it into meta; it drags its page along.
            return str(value)
        if isinstance(value, enum.Enum):
            return ormsgpack.Ext(_ENUM, self.encode([_class_path(kind), value.value]))
        if (fields := _fields(value)) is not None:
            return ormsgpack.Ext(_ITEM, self.encode([_class_path(kind), fields]))
        if self._encode_request and hasattr(value, "to_dict") and hasattr(value, "cb_kwargs"):
            return ormsgpack.Ext(REQUEST, self._encode_request(value))
        raise CannotEncode(f"a value of type {kind.__module__}.{kind.__qualname__}")

    def _encode_time(self, value: datetime | time) -> tuple[int, bytes]:
        zone = value.tzinfo
        number = _DATETIME if isinstance(value, datetime) else _TIME
        if zone is None or type(zone) is timezone:
            return number, self.encode([value.isoformat(), value.fold])
        key = getattr(zone, "key", None)
        if type(zone) is not ZoneInfo or key is None:
            raise CannotEncode(f"a time with a time zone of type {type(zone).__qualname__}")
        return number, self.encode([value.replace(tzinfo=None).isoformat(), value.fold, key])

    def _restore(self, number: int, data: bytes) -> Any:
        try:
            return self._build(number, data)
        except Exception as exc:
            # Time zones, enumerations and models raise what they like for foreign data.
            self._culprit = exc
            raise

    def _build(self, number: int, data: bytes) -> Any:
        if number in _READERS:
            if len(data) > MOST_DIGITS and number != _SURROGATES:
                raise CannotDecode(f"a number or a time of {len(data)} bytes")
            return _READERS[number](data)
        if number == REQUEST:
            if self._decode_request is None:
                raise CannotDecode("a request inside a value that cannot hold one")
            return self._decode_request(data)
        content = self.decode(data)
        if number in _BUILDERS:
            return _BUILDERS[number](content)
        if number == _ITEM:
            return _build_item(*content)
        if number == _ENUM:
            return _find_class(content[0], enum.Enum)(content[1])
        raise CannotDecode(f"extension type {number} is not known")


def _digits(text: bytes) -> bytes:
    if len(text) > MOST_DIGITS:
        raise CannotEncode(f"a number of {len(text)} bytes")
    return text


def _spread(keys: list[Any]) -> list[Any]:
    """Return *keys*, or refuse those that were chosen to collide."""
    if len(keys) > MOST_COLLISIONS and len(keys) - len(set(map(hash, keys))) > MOST_COLLISIONS:
        raise CannotDecode("keys that collide")
    return keys


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _class_path(kind: type) -> str:
    path = f"{kind.__module__}:{kind.__qualname__}"
    try:
        if _lookup(path) is kind:
            return path
    except CannotDecode:
        pass
    raise CannotEncode(f"a value of the class {path}, which cannot be found under that name")


def _lookup(path: str) -> Any:
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        # vars() and not getattr: a module's __getattr__ could import anything.
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    if found is None:
        raise CannotDecode(f"class {path} is not imported in this worker")
    return found


def _find_class(path: str, base: type) -> Any:
    found = _lookup(path)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise CannotDecode(f"{path} is not a class that may come from Redis")
    return found


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of an item; None if *value* is none."""
    # Not at the top: itemadapter imports Scrapy, which programs that only feed a crawl lack.
    from itemadapter import ItemAdapter
    from scrapy import Item

    if isinstance(value, Item):
        return dict(value)
    if isinstance(value, dict) or not ItemAdapter.is_item(value):
        return None
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value)]
    else:
        names = list(ItemAdapter(value).field_names())
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _build_item(path: str, fields: dict[str, Any]) -> Any:
    from itemadapter import ItemAdapter
    from scrapy import Item

    kind = _find_class(path, object)
    if not ItemAdapter.is_item_class(kind) or issubclass(kind, dict):
        raise CannotDecode(f"{path} is not an item class")
    known = set(ItemAdapter.get_field_names_from_class(kind) or ())
    if unknown := set(fields) - known:
        raise CannotDecode(f"{path} has no field {sorted(unknown)[0]!r}")
    if issubclass(kind, Item):
        item = Item.__new__(kind)
        object.__setattr__(item, "_values", dict(fields))
        return item
    if hasattr(kind, "model_construct"):
        return kind.model_construct(**fields)
    item = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(item, name, value)
    return item


def _restore_time(kind: Any) -> Callable[[list[Any]], Any]:
    def build(content: list[Any]) -> Any:
        value = kind.fromisoformat(content[0]).replace(fold=content[1])
        return value.replace(tzinfo=ZoneInfo(content[2])) if len(content) > 2 else value

    return build


def _pairs(kind: Any) -> Callable[[list[Any]], Any]:
    return lambda flat: kind(zip(_spread(flat[::2]), flat[1::2], strict=True))


# msgpack has one type for bytes: a bytearray comes back as bytes.
_PLAIN = {type(None), bool, int, float, str, bytes, bytearray}
_SEQUENCES: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
_WRITERS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    date: (_DATE, lambda v: str(v).encode()),
    timedelta: (_TIMEDELTA, lambda v: f"{v.days} {v.seconds} {v.microseconds}".encode()),
    Decimal: (_DECIMAL, lambda v: str(v).encode()),
    UUID: (_UUID, lambda v: v.bytes),
    complex: (_COMPLEX, lambda v: f"{v.real!r} {v.imag!r}".encode()),
}
_READERS: dict[int, Callable[[bytes], Any]] = {
    _DATE: lambda d: date.fromisoformat(d.decode()),
    _TIMEDELTA: lambda d: timedelta(*(int(part) for part in d.split())),
    _DECIMAL: lambda d: Decimal(d.decode()),
    _UUID: lambda d: UUID(bytes=d),
    _COMPLEX: lambda d: complex(*(float(part) for part in d.split())),
    _BIGINT: lambda d: int(d.decode()),
    _SURROGATES: lambda d: d.decode("utf-8", "surrogatepass"),
}
_BUILDERS: dict[int, Callable[[list[Any]], Any]] = {
    _TUPLE: tuple,
    _SET: lambda members: set(_spread(members)),
    _FROZENSET: lambda members: frozenset(_spread(members)),
    _DICT: _pairs(dict),
    _ORDERED: _pairs(OrderedDict),
    _DATETIME: _restore_time(datetime),
    _TIME: _restore_time(time),
}
