"""Pickles of strangers, read as plain data or not at all."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

#: The largest pickle that is looked at, in bytes.
MOST_BYTES = 16 * 1024 * 1024
#: The most values in one: a small pickle may refer to itself until nobody could write it out.
MOST_VALUES = 200_000
#: The most operations in one; each value takes one and what puts it in its place.
MOST_OPERATIONS = 5 * MOST_VALUES
#: The most keys, and members of sets, whose hashes a stranger can have chosen to be equal.
MOST_ODD_KEYS = 2_000
#: The largest integer, in bits, and the longest text of a number: they are slow to work with.
MOST_BITS = 4096
MOST_DIGITS = 2048


class NotPlain(ValueError):
    """A pickle that is damaged, too large, or holds more than plain data."""


class Bag:
    """Stands for an object whose class is not here: takes its attributes and does nothing."""


def _latin1(text: str = "", encoding: str = "latin1") -> bytes:
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


_BYTES = (_latin1, _bytearray)
_NUMBERS = (complex, Decimal, UUID, date, datetime, time, timedelta, timezone)
_CONTAINERS = (set, frozenset, OrderedDict)
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
#: Whose hashes nobody can choose, or not many of.
_PLAIN_KEYS = (str, bytes, bool, float, type(None))
#: What would come from elsewhere, or is made by no plain data.
_REFUSED = (
    pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEWOBJ_EX,
    pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
)  # fmt: skip


#: The unpickler of the standard library that can be looked over the shoulder.
_InPython: Any = pickle._Unpickler


class _Unpickler(_InPython):  # type: ignore[misc]
    """The unpickler that is written in Python: each step that could be without end is looked at.

    In C a tuple of tuples of tuples is hashed, and an attribute of a function set, without asking.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: step for code, step in _InPython.dispatch.items() if bytes([code]) not in _REFUSED
    }

    def __init__(self, data: bytes, bags: frozenset[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(data))
        self._bags = bags
        self._values, self._bytes, self._odd_keys = MOST_VALUES, MOST_BYTES, MOST_ODD_KEYS

    def find_class(self, module: str, name: str) -> Any:
        module = {"__builtin__": "builtins"}.get(module, module)  # of old protocols
        if (module, name) in self._bags:
            return Bag
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise NotPlain(f"it holds {module:.80}.{name:.80}, which is no plain data") from None

    # What is called.

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if function in _CONTAINERS:
            for given in arguments:
                pairs = given if function is OrderedDict else ()
                if any(type(one) not in (list, tuple) for one in (given, *pairs)):
                    raise NotPlain("it makes a set or a dictionary of something else")
                self._hashed([pair[0] for pair in given] if pairs else given)
        elif function in _BYTES or function in _NUMBERS:
            for given in arguments:
                self._check_argument(given, MOST_BYTES if function in _BYTES else MOST_DIGITS)
        elif function is not Bag or arguments:
            raise NotPlain("it calls what it has made")
        return function(*arguments)

    def _check_argument(self, given: Any, longest: int) -> None:
        if isinstance(given, (str, bytes)):
            self._bytes -= len(given)
            if len(given) > longest or self._bytes < 0:
                raise NotPlain("it makes too much of text")
        elif isinstance(given, int):
            _check_integer(given)
        elif type(given) not in (*_LEAVES, timezone):
            raise NotPlain("it makes a plain value of something else")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        if type(arguments) is not tuple:
            raise NotPlain("it is damaged: what to call a class with is no tuple")
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _newobj(self) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if cls not in (Bag, UUID) or arguments != ():
            raise NotPlain("it makes an object of no plain data")
        self.append(cls.__new__(cls))

    def _instantiate(self, cls: Any, arguments: list[Any]) -> None:
        self.append(self._call(cls, tuple(arguments)))

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is Bag:
            state, slots = state if type(state) is tuple else (state, None)
            for fields in (state or {}, slots or {}):
                if type(fields) is not dict:
                    raise NotPlain("it has attributes without names")
                self._hashed(fields)
                vars(made).update(fields)
        elif type(made) is UUID and type(state) is dict and type(state.get("int")) is int:
            made.__setstate__({"int": UUID(int=state["int"]).int})  # type: ignore[attr-defined]
        else:
            raise NotPlain("it gives attributes to what has none")

    # What is hashed.

    def _hashed(self, keys: Iterable[Any]) -> None:
        """Refuse keys whose hashing or comparing would take long."""
        for key in keys:
            self._values -= 1
            odd = type(key) not in _PLAIN_KEYS and not (type(key) is int and abs(key) < 1 << 60)
            if odd:
                self._odd_keys -= 1
                self._spread(key)
            if self._values < 0 or self._odd_keys < 0:
                raise NotPlain("it has too many keys")

    def _spread(self, key: Any) -> None:
        waiting = [key]
        while waiting and self._values >= 0:
            one = waiting.pop()
            self._values -= 1
            if isinstance(one, (tuple, frozenset)):
                waiting += one
            elif isinstance(one, int):
                _check_integer(one)

    def _setitem(self) -> None:
        self._hashed(self.stack[-2:-1])
        super().load_setitem()

    def _setitems(self) -> None:
        self._hashed(self.stack[::2])
        super().load_setitems()

    def _dict(self) -> None:
        self._hashed(self.stack[::2])
        super().load_dict()

    def _additems(self) -> None:
        self._hashed(self.stack)
        super().load_additems()

    def _frozenset(self) -> None:
        self._hashed(self.stack)
        super().load_frozenset()

    dispatch.update(
        {
            pickle.REDUCE[0]: _reduce, pickle.NEWOBJ[0]: _newobj, pickle.BUILD[0]: _build,
            pickle.SETITEM[0]: _setitem, pickle.SETITEMS[0]: _setitems, pickle.DICT[0]: _dict,
            pickle.ADDITEMS[0]: _additems, pickle.FROZENSET[0]: _frozenset,
        }
    )  # fmt: skip


def _check_integer(number: int) -> None:
    if number.bit_length() > MOST_BITS:
        raise NotPlain(f"it holds an integer of more than {MOST_BITS:,} bits")


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
    for count, (operation, argument, _) in enumerate(pickletools.genops(data)):
        if count > MOST_OPERATIONS:
            raise NotPlain("it has too many operations")
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
        elif type(one) is int:
            _check_integer(one)
        elif type(one) not in _LEAVES:
            raise NotPlain(f"it holds a {type(one).__name__}, which is no plain data")
        if left - len(waiting) < 0 or size > MOST_BYTES:
            raise NotPlain("it is too large once it is written out")
