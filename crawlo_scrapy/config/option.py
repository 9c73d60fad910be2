"""One row of the table of options, and how the table's text is read."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crawlo_scrapy.settings import SETTINGS

_SECRET_WORDS = (
    "PASSWORD",
    "PASS",
    "SECRET",
    "TOKEN",
    "KEY",
    "WEBHOOK",
    "URL",
    "URI",
    "PROXY",
    "AUTHORIZATION",
    "COOKIE",
)
#: Addresses that are shown without their password.
_ADDRESSES = ("REDIS_URL", "REDIS_SENTINEL_URLS", "MONGO_URI")
#: The password in an address, whatever it is made of.
_LOGIN = re.compile(r"(://[^:/@\s]*:)[^\s']*@")


@dataclass(frozen=True)
class Option:
    """What one of Crawlo's options is here.

    `type` is a Python type's name or ``codes``, ``range``, ``size``, ``level``, ``components``,
    ``choice``, ``any``; `how` names the conversion that makes `targets` of it.
    """

    name: str
    kind: Literal["mapped", "ours", "none"]
    type: str
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    how: str = ""
    #: The module that reads an option of ours.
    reader: str = ""
    #: The package that has a setting of this name itself.
    owner: str = ""

    @property
    def allowed(self) -> str:
        """What a value may be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = _TYPE_WORDS.get(self.type, self.type)
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {self.minimum:g} to {self.maximum:g}"
        return words if self.minimum is None else f"{words} of at least {self.minimum:g}"

    @property
    def has_reader(self) -> bool:
        """Whether this version holds the component that reads the option."""
        return self.kind != "ours" or module_exists(self.reader)


_TYPE_WORDS = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "list": "a list",
    "dict": "a dict",
    "codes": "a list of HTTP status codes",
    "range": "two numbers, the lower first",
    "size": "a size such as '2GB', '512MB' or a number of bytes",
    "components": "a list of import paths, or a dict from import path to priority",
}

_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")


@functools.cache
def module_exists(module: str) -> bool:
    """Whether *module* can be imported; it is not imported, its parents are."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def is_secret(name: str) -> bool:
    """Whether a value of this name must not be shown."""
    return any(word in name.upper() for word in _SECRET_WORDS)


def shown(name: str, value: Any) -> str:
    """A value for people's eyes, without secrets: for logs, summaries and errors."""
    if is_secret(name) and name not in _ADDRESSES and value not in ("", None):
        return "****"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{k!r}: {shown(str(k), v)}" for k, v in value.items())
        return f"{{{inner}}}"
    return _LOGIN.sub(r"\1****@", repr(value))


def mapped_rows(text: str) -> Iterator[Option]:
    """The rows of ``name | type | becomes | how | sentence``."""
    for line in text.strip().splitlines():
        name, type_, targets, how, doc = (part.strip() for part in line.split("|", 4))
        word, minimum, maximum, choices = _read_type(type_)
        yield Option(
            name, "mapped", word, doc, minimum, maximum, choices, tuple(targets.split()), how
        )


def _read_type(text: str) -> tuple[str, float | None, float | None, tuple[str, ...]]:
    word, _, rest = text.partition(" ")
    if word == "level":
        return "level", None, None, _LEVELS
    if word == "choice":
        return "choice", None, None, tuple(rest.split())
    low, _, high = rest.partition("..")
    return word, float(low) if low else None, float(high) if high else None, ()


def ours_rows(groups: dict[str, str]) -> Iterator[Option]:
    """The rows of ``reader -> names``; everything else stands in `SETTINGS`."""
    for reader, names in groups.items():
        for name in names.split():
            row = SETTINGS[name]
            yield Option(
                name,
                "ours",
                row.kind,
                row.doc,
                minimum=row.minimum,
                maximum=65535 if name.endswith("_PORT") else None,
                choices=row.choices,
                reader=reader,
            )


def without_rows(groups: dict[str, str]) -> Iterator[Option]:
    """The rows of ``what to use instead -> names``."""
    for instead, names in groups.items():
        for entry in names.split():
            name, _, owner = entry.partition("@")
            yield Option(name, "none", "any", instead, owner=owner)
