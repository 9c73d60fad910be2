"""Names that are set and have no effect, and names that look mistyped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from scrapy.settings import BaseSettings, default_settings

from crawlo_scrapy.config.option import Option
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.places import place
from crawlo_scrapy.settings import SETTINGS, SettingError

_KNOWN = tuple(dict.fromkeys([*OPTIONS, *SETTINGS]))
#: Names of well-known packages that are one letter away from an option.
_OTHERS = {
    "CONCURRENT_REQUESTS_PER_IP",
    "REDIS_ITEMS_KEY",
    "REDIS_PARAMS",
    "REDIS_ENCODING",
    "PLAYWRIGHT_CONTEXTS",
}


@dataclass(frozen=True)
class NameReport:
    """What is wrong with the names that are set."""

    #: Options without an equivalent.
    without: list[Option]
    #: Options whose component is not in this version.
    missing: list[Option]
    #: Name, the option that it is close to, and where it stands.
    near: list[tuple[str, str, str]]

    def warnings(self) -> list[str]:
        """At most two messages: what has no effect, and what looks mistyped."""
        lines = [f"{option.name}: {option.doc}" for option in self.without]
        lines += [f"{option.name}: not in this version" for option in self.missing]
        result = []
        if lines:
            result.append("\n  ".join(["These Crawlo options have no effect here:", *lines]))
        if self.near:
            meant = [f"{name} ({where}): did you mean {known}?" for name, known, where in self.near]
            result.append("\n  ".join(["These names are unknown:", *meant]))
        return result

    def refuse(self) -> None:
        """Raise `SettingError` if there is anything to warn of."""
        if warnings := self.warnings():
            raise SettingError("CRAWLO_STRICT is on.\n" + "\n".join(warnings))


def check_names(settings: BaseSettings) -> NameReport:
    """Look at every name that somebody has set."""
    given = [n for n in settings if isinstance(n, str) and (settings.getpriority(n) or 0) > 0]
    options = [OPTIONS[name] for name in given if name in OPTIONS and settings[name] is not None]
    near = [(name, known, place(settings, name)) for name in given if (known := near_miss(name))]
    near += [
        (name, known, "environment variable")
        for name in os.environ
        if name.startswith("CRAWLO_") and (known := _near_variable(name))
    ]
    return NameReport(
        [o for o in options if o.kind == "none" and not _is_owners(settings, o)],
        [o for o in options if not o.has_reader],
        near,
    )


def near_miss(name: str, known: Iterable[str] = _KNOWN) -> str | None:
    """Return the option that *name* is probably meant to be, if it is not a name itself."""
    if name in OPTIONS or name in SETTINGS or name in _OTHERS or len(name) < 5:
        return None
    if name in vars(default_settings) or name[-1].isdigit() or not name.isupper():
        return None
    limit = 1 if len(name) < 10 else 2
    best = min(((_distance(name, other, limit), other) for other in known), default=None)
    return best[1] if best and best[0] <= limit else None


def _near_variable(variable: str) -> str | None:
    bare = variable.removeprefix("CRAWLO_")
    if variable in SETTINGS or variable in OPTIONS or bare in OPTIONS or bare in SETTINGS:
        return None
    own = [name for name in _KNOWN if name.startswith("CRAWLO_")]
    if known := near_miss(variable, own):
        return known
    known = near_miss(bare)
    return f"CRAWLO_{known}" if known and not known.startswith("CRAWLO_") else known


def _is_owners(settings: BaseSettings, option: Option) -> bool:
    """Whether the option is meant for the package that has a setting of the same name."""
    if not option.owner:
        return False
    if option.owner == "scrapy":
        return not str(settings[option.name]).startswith("crawlo.")
    handlers: dict[str, Any] = settings.getdict("DOWNLOAD_HANDLERS")
    return any(str(handler).startswith(option.owner) for handler in handlers.values())


def _distance(a: str, b: str, limit: int) -> int:
    """How many letters are added, missing, changed, or swapped with their neighbour.

    Stops counting above *limit*.
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, above, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]
