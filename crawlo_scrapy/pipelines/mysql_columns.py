"""What a table's columns can hold, what a new table looks like, and values for them."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import types
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.pipelines.fields import to_json

#: Column that holds an item's fingerprint, where a table has it.
FINGERPRINT = "item_fingerprint"

_SQL_TYPES: list[tuple[type, str]] = [
    (bool, "BOOLEAN"),
    (int, "BIGINT"),
    (float, "DOUBLE"),
    (decimal.Decimal, "DECIMAL(65,30)"),
    (dt.datetime, "DATETIME(6)"),
    (dt.date, "DATE"),
    (dt.time, "TIME(6)"),
    (dt.timedelta, "TIME(6)"),
    (bytes, "LONGBLOB"),
    (bytearray, "LONGBLOB"),
    (dict, "JSON"),
    (list, "JSON"),
    (tuple, "JSON"),
    (set, "JSON"),
    (uuid.UUID, "CHAR(36)"),
]
_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})


class Shape(NamedTuple):
    """What items of one table and the same fields have in common.

    `types` are those of the fields' columns; with `fingerprinted` one column more follows.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    fingerprinted: bool


@dataclass(frozen=True)
class Table:
    """A table's columns: lower-case name to name and data type. `unique`: it has a unique key."""

    name: str
    columns: Mapping[str, tuple[str, str]]
    unique: bool

    def column(self, field: str) -> tuple[str, str]:
        """Return name and type of the column for *field*, or raise `ItemRefused`."""
        try:
            return self.columns[field.lower()]
        except KeyError:
            raise ItemRefused(
                f"table {self.name!r} has no column {field!r}; it has "
                f"{', '.join(name for name, _ in self.columns.values())}"
            ) from None

    def shape(self, fields: Iterable[str]) -> Shape:
        """Return the shape of items with *fields*, or raise `ItemRefused`."""
        found = [self.column(field) for field in fields]
        columns = [name for name, _ in found]
        fingerprinted = FINGERPRINT in self.columns and FINGERPRINT not in columns
        if fingerprinted:
            columns.append(FINGERPRINT)
        types = tuple(data_type for _, data_type in found)
        return Shape(self.name, tuple(columns), types, fingerprinted)


def quote(identifier: str) -> str:
    """Return *identifier* so that SQL takes it for a name, whatever it holds."""
    return "`" + identifier.replace("`", "``") + "`"


def create_table(name: str, fields: Mapping[str, Any], item_class: type) -> str:
    """Return the statement that makes a table for items like this one.

    A type that the item's class declares counts more than the value's; what neither tells is
    text. Repeats are recognised by the fingerprint's column.
    """
    hints = _hints(item_class)
    columns = [
        f"{quote(field)} {_sql_type(hints.get(field), value)} NULL"
        for field, value in fields.items()
    ]
    lines = [
        "`_id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
        *columns,
        f"{quote(FINGERPRINT)} CHAR(32) CHARACTER SET ascii NOT NULL UNIQUE",
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {quote(name)} ({', '.join(lines)}) "
        "ENGINE=InnoDB CHARACTER SET utf8mb4"
    )


def insert(shape: Shape, rows: int, updated: Sequence[str], keep: bool) -> str:
    """Return the statement that inserts so many *rows*, with a place for each value.

    A row whose key is there gets the new values of *updated*; without any, *keep* leaves it.
    """
    names = ", ".join(map(quote, shape.columns))
    one = "(" + ", ".join(["%s"] * len(shape.columns)) + ")"
    head = f"INSERT INTO {quote(shape.table)} ({names}) VALUES ".replace("%", "%%")
    tail = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in updated)
    if not tail and keep and shape.columns:
        # Not INSERT IGNORE, which also cuts off text and zeroes numbers that do not fit.
        tail = f"{quote(shape.columns[0])} = {quote(shape.columns[0])}"
    if tail:
        tail = f" ON DUPLICATE KEY UPDATE {tail}".replace("%", "%%")
    return head + ", ".join([one] * rows) + tail


def _hints(item_class: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(item_class)
    except Exception:  # annotations may name anything, even what does not exist
        return {}


def _sql_type(hint: Any, value: Any) -> str:
    for python_type in (*_declared(hint), type(value)):
        for known, sql in _SQL_TYPES:
            if issubclass(python_type, known) and not issubclass(python_type, enum.Enum):
                return sql
    return "LONGTEXT"


def _declared(hint: Any) -> Iterable[type]:
    """Return the one type that *hint* allows besides None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = others[0] if len(others) == 1 else None
    hint = typing.get_origin(hint) or hint
    return (hint,) if isinstance(hint, type) and hint is not object else ()


def to_sql(value: Any, field: str, data_type: str) -> Any:
    """Return *value* as the driver takes it, or raise `ItemRefused`.

    Nested values become JSON, datetimes with a zone UTC. A number that a whole-number column
    would round is refused: the server would do so without a word.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, (float, decimal.Decimal)):
        finite = math.isfinite(value) if isinstance(value, float) else value.is_finite()
        if not finite:
            raise ItemRefused(f"its field {field!r} is {value}, which MySQL cannot hold")
        if data_type in _WHOLE and value != int(value):
            raise ItemRefused(f"its field {field!r} is {value}, and the column is a {data_type}")
        return value
    if isinstance(value, dt.datetime):
        return (
            value
            if value.tzinfo is None
            else value.astimezone(dt.timezone.utc).replace(tzinfo=None)
        )
    if isinstance(value, (dt.date, dt.time, dt.timedelta)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    # Refused with the field's name, where to_json only knows of an item.
    return to_json({field: value})[len(to_json({field: 0})) - 2 : -1].decode("utf-8")


def _text(value: str, field: str) -> str:
    try:
        if not value.isascii():
            value.encode("utf-8")
    except UnicodeEncodeError:
        raise ItemRefused(f"its field {field!r} is not valid Unicode (a lone surrogate)") from None
    return str(value)


#: What any number or date takes at most in a statement, in bytes.
_SHORT = 40


def most_bytes(values: Iterable[Any], enough: int) -> int:
    """Return a bound on what *values* take in a statement; exact only above *enough*."""
    values = list(values)
    size = sum(2 * _length(value) + _SHORT for value in values)
    if size > enough:
        size = sum(_length(value) + _escapes(value) + _SHORT for value in values)
    return size


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8"))
    if isinstance(value, bytes):
        return len(value)
    return len(format(value, "f")) if isinstance(value, decimal.Decimal) else 0


def _escapes(value: Any) -> int:
    if isinstance(value, str):
        return sum(map(value.count, "\0\n\r\x1a\"'\\"))
    if isinstance(value, bytes):
        return sum(map(value.count, b"\0\n\r\x1a\"'\\"))
    return 0
