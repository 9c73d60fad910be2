"""How values look on a page. Jinja escapes what these return."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from http import HTTPStatus
from itertools import pairwise
from typing import Any

#: Longer texts are cut: what stands in Redis comes from the web.
LONGEST = 500
#: The login in an address.
_LOGIN = re.compile(r"://[^/@\s]*@")


def plain(text: object) -> str:
    """Return *text* without logins, and not longer than `LONGEST`."""
    shown = _LOGIN.sub("://****@", str(text))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def value(stat: Any) -> str:
    """Return the value of a stat as text."""
    if isinstance(stat, int) and not isinstance(stat, bool):
        return plain(f"{stat:,}") if abs(stat) < 10**LONGEST else "(a very large number)"
    if isinstance(stat, float):
        return f"{stat:,.2f}"
    if isinstance(stat, datetime):
        return f"{stat:%Y-%m-%d %H:%M:%S}"
    return plain(stat)


def number(count: float | None) -> str:
    return "–" if count is None else f"{count:,.0f}"


def size(count: int) -> str:
    """Return how many bytes, in the largest unit that tells enough."""
    if not count:
        return "–"
    for unit in ("B", "KB", "MB", "GB"):
        if count < 10_000:
            return f"{count:,.0f} {unit}"
        count = round(count / 1024)
    return f"{count:,.0f} TB"


def moment(milliseconds: int) -> str:
    """Return when, in UTC."""
    if not milliseconds:
        return "–"
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, timezone.utc):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "?"  # whoever may write to Redis may write any number


def span(seconds: float | None) -> str:
    """Return how long, in the two largest units."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for (unit, length), (smaller, part) in pairwise(units):
        if seconds >= length:
            rest = int(seconds % length // part)
            return f"{seconds // length:.0f} {unit}{f' {rest} {smaller}' if rest else ''}"
    return f"{seconds:.0f} s"


def anchor(name: str) -> str:
    """Return an id for an element that stands for *name*, whatever characters that has."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def status_phrase(code: str) -> str:
    """Return what an HTTP status means, or nothing."""
    try:
        return HTTPStatus(int(code)).phrase
    except ValueError:
        return ""
