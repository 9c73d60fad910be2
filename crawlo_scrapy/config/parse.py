"""From what a user wrote to a value of the option's type, or a fault that says what is wrong."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from crawlo_scrapy.config.option import Option, is_secret, shown
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.settings import SETTINGS, Setting, SettingError, convert


@dataclass(frozen=True)
class Fault:
    """One value that an option cannot have."""

    name: str
    value: Any
    allowed: str
    where: str = ""

    def __str__(self) -> str:
        secret = is_secret(self.name)
        value = "wrong (not shown here)" if secret else shown(self.name, self.value)
        place = f" ({self.where})" if self.where else ""
        return f"{self.name}{place} is {value}: must be {self.allowed}"


class OptionError(SettingError):
    """Options that cannot be used. The message lists every one of them."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("invalid configuration:\n" + "\n".join(f"  {fault}" for fault in faults))


def parse(option: Option, value: Any) -> Any:
    """Return *value* as the option's type. Raises ValueError with what is allowed."""
    try:
        result = _PARSERS.get(option.type, _plain)(option, value)
        if option.maximum is not None and result > option.maximum:
            raise ValueError
    except _Explained:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError(option.allowed) from None
    check = _CHECKS.get(option.name)
    return check(result) if check else result


def parse_all(
    values: Mapping[str, Any], where: Callable[[str], str] = lambda name: ""
) -> tuple[dict[str, Any], list[Fault]]:
    """Parse the known options among *values*; the rest, and None, is left out.

    Returns what parsed, and every fault; *where* says for a name where its value stood.
    """
    parsed: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, value in values.items():
        option = OPTIONS.get(name) or _own_setting(name)
        if option is None or value is None:
            continue
        try:
            parsed[name] = parse(option, value)
        except ValueError as exc:
            faults.append(Fault(name, value, str(exc), where(name)))
    return parsed, faults


class _Explained(ValueError):
    """A fault whose text says more than the option's type does."""


def _own_setting(name: str) -> Option | None:
    row = SETTINGS.get(name)
    if row is None:
        return None
    return Option(name, "ours", row.kind, row.doc, row.minimum, choices=row.choices)


def _plain(option: Option, value: Any) -> Any:
    if option.type == "any":
        return value
    if option.type in ("int", "float") and isinstance(value, bool):
        raise ValueError
    if option.type == "str":
        return _choice(option, value) if option.choices else _text(value)
    if option.type in ("list", "dict"):
        return _collection(option, value)
    if isinstance(value, str):
        value = value.strip()
    row = Setting(option.name, option.type, None, "", minimum=option.minimum)
    result = convert(row, value)
    if isinstance(result, float) and not math.isfinite(result):
        raise ValueError
    return result


def _text(value: Any) -> str:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    text: str = os.fspath(value)
    return text


def _collection(option: Option, value: Any) -> Any:
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        value = json.loads(value)
    if option.type == "dict":
        return convert(Setting(option.name, "dict", None, ""), value)
    if isinstance(value, (dict, bytes, int)):
        raise ValueError
    return convert(Setting(option.name, "list", None, ""), value)


def _codes(option: Option, value: Any) -> list[int]:
    if isinstance(value, int):
        value = [value]
    listed = _collection(Option(option.name, "mapped", "list", ""), value)
    codes = [int(code) for code in listed]
    if any(not 100 <= code <= 999 for code in codes):
        raise ValueError
    return codes


def _range(option: Option, value: Any) -> tuple[float, float]:
    low, high = (float(v) for v in _collection(Option(option.name, "mapped", "list", ""), value))
    if not 0 <= low <= high:
        raise ValueError
    return low, high


_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size_in_bytes(value: Any) -> float:
    """Return the number of bytes that a size such as '2GB' is. Raises `ValueError`."""
    match = re.fullmatch(r"([\d.]+)\s*([KMGTB]?)(?:I?B)?", str(value).strip().upper())
    if not match or isinstance(value, bool):
        raise ValueError
    return float(match[1]) * _UNITS[match[2]]


def _size(option: Option, value: Any) -> int:
    """Return megabytes."""
    megabytes = size_in_bytes(value) / 2**20
    if 0 < megabytes < 1:
        raise _Explained(
            f"{option.allowed}; this is less than a megabyte: a number without unit is bytes"
        )
    return int(megabytes)


def _choice(option: Option, value: Any) -> str:
    text = str(value).strip()
    for choice in option.choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError


def _level(option: Option, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if str(value).isdigit() else _choice(option, value)


def _components(option: Option, value: Any) -> Any:
    is_dict = isinstance(value, Mapping) or str(value).lstrip().startswith("{")
    word = "dict" if is_dict else "list"
    return _collection(Option(option.name, "mapped", word, ""), value)


_PARSERS: dict[str, Callable[[Option, Any], Any]] = {
    "codes": _codes,
    "range": _range,
    "size": _size,
    "choice": _choice,
    "level": _level,
    "components": _components,
}


def _redis_url(url: str) -> str:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix", "valkey", "valkeys"):
        raise _Explained("a URL that starts with redis://, rediss:// or unix://")
    return url


def _host(host: str) -> str:
    if "://" in host or not host.strip() or any(c.isspace() for c in host.strip()):
        raise _Explained("a host name or an address; a whole URL goes into REDIS_URL")
    return host


def _addresses(nodes: list[Any]) -> list[Any]:
    for node in nodes:
        if isinstance(node, (tuple, list)) and len(node) == 2:
            node = f"{node[0]}:{node[1]}"
        elif isinstance(node, Mapping):
            node = f"{node.get('host', '')}:{node.get('port', '')}"
        address = str(node).rpartition("://")[2].rpartition("@")[2].split("/")[0]
        host, _, port = address.rpartition(":")
        login_without_scheme = "@" in str(node) and "://" not in str(node)
        valid = host and port.isdigit() and 0 < int(port) < 65536
        if not valid or login_without_scheme:
            raise _Explained("a list of addresses such as '192.168.1.100:7000'")
    return nodes


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "REDIS_URL": _redis_url,
    "REDIS_HOST": _host,
    "REDIS_CLUSTER_NODES": _addresses,
    "REDIS_SENTINEL_URLS": _addresses,
}
