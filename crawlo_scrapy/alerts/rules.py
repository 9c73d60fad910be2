"""The rules of CRAWLO_ALERTS."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crawlo_scrapy import settings as ours
from crawlo_scrapy.config.parse import size_in_bytes
from crawlo_scrapy.settings import SettingError

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

NAME = "CRAWLO_ALERTS"
#: Who can be told, besides the log, and the setting that says where they are.
CHANNELS = {
    "webhook": "CRAWLO_ALERT_WEBHOOK_URLS",
    "slack": "CRAWLO_ALERT_SLACK_URLS",
    "mail": "CRAWLO_ALERT_MAIL_TO",
}
#: What each rule is made of, with its defaults; None has to be given.
KINDS: dict[str, dict[str, Any]] = {
    "error_rate": {"above": 0.1, "seconds": 300.0, "at_least": 20.0},
    "no_progress": {"seconds": 600.0},
    "queue_growth": {"above": 10_000.0, "seconds": 600.0},
    "memory": {"above": None},
    "node_lost": {},
    "dead_letters": {"above": 0.0},
    "finished": {},
}


@dataclass(frozen=True)
class Rule:
    """One rule. `figures` are those that its kind has; times are in seconds, memory in bytes.

    An alert that was raised is not raised again for `quiet` seconds. `to` are the channels that
    are told; empty: all.
    """

    kind: str
    figures: Mapping[str, float]
    quiet: float
    to: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def name(self) -> str:
        """What tells it apart from other rules: workers with the same rule share its alerts."""
        return " ".join([self.kind, *(f"{name}={n:g}" for name, n in self.figures.items())])


def rules_of(settings: BaseSettings) -> list[Rule]:
    """Return the rules. Raises `SettingError` that tells all that is wrong with them."""
    quiet = ours.get(settings, "CRAWLO_ALERT_QUIET")
    there = {"log", *(name for name, where in CHANNELS.items() if ours.get(settings, where))}
    rules: list[Rule] = []
    faults = []
    for number, entry in enumerate(_entries(ours.get(settings, NAME)), 1):
        try:
            rule = _rule(entry, quiet, there)
            if rule.name in [other.name for other in rules]:
                raise ValueError("it stands there twice; let one rule name all channels")
            rules.append(rule)
        except ValueError as exc:
            faults.append(f"rule {number} ({_shown(entry)}): {exc}")
    if faults:
        more = f" {len(faults)} rules are wrong:\n  " if len(faults) > 1 else " "
        raise SettingError(f"{NAME}:{more}" + "\n  ".join(faults))
    return rules


def _entries(value: Any) -> list[Any]:
    if not isinstance(value, str):
        if isinstance(value, (list, tuple)):
            return list(value)
        raise SettingError(f"{NAME} must be a list of rules, not {type(value).__name__}")
    if value.lstrip().startswith("["):
        try:
            return list(json.loads(value))
        except json.JSONDecodeError as exc:
            raise SettingError(f"{NAME} is not valid JSON: {exc}") from None
    return [part for part in value.split(",") if part.strip()]


def _rule(entry: Any, quiet: float, there: set[str]) -> Rule:
    given = _fields(entry)
    kind = given.pop("when", "")
    if kind not in KINDS:
        raise ValueError(_unknown("rule", kind, KINDS))
    known = KINDS[kind]
    for name in given:
        if name not in known and name not in ("quiet", "to"):
            raise ValueError(_unknown("figure", name, [*known, "quiet", "to"]))
    figures = {}
    for name, default in known.items():
        if name not in given and default is None:
            raise ValueError(f"{name} is missing, such as {name}='1.5GB'")
        figures[name] = _number(kind, name, given.get(name, default))
    return Rule(
        kind, figures, _number(kind, "quiet", given.get("quiet", quiet)),
        _channels(given.get("to", []), there),
    )  # fmt: skip


def _fields(entry: Any) -> dict[str, Any]:
    if isinstance(entry, Mapping):
        return {str(name): value for name, value in entry.items()}
    if not isinstance(entry, str):
        raise ValueError("must be a name or a dict")
    kind, *words = entry.split()
    fields: dict[str, Any] = {"when": kind}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not of the form NAME=VALUE")
        fields[name] = text
    return fields


def _number(kind: str, name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = size_in_bytes(value) if kind == "memory" and name == "above" else float(value)
    except (TypeError, ValueError):
        what = "a size such as '1.5GB'" if kind == "memory" else "a number"
        raise ValueError(f"{name} must be {what}, not {value!r}") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must not be below 0, or infinite")
    if name == "seconds" and not number:
        raise ValueError("seconds must be more than 0")
    return number


def _channels(value: Any, there: set[str]) -> frozenset[str]:
    names = value.split("+") if isinstance(value, str) else list(value)
    for name in names:
        if name != "log" and name not in CHANNELS:
            raise ValueError(_unknown("channel", name, ["log", *CHANNELS]))
        if name not in there:
            raise ValueError(f"it is for {name}, and {CHANNELS[name]} is not set")
    return frozenset(names)


def _unknown(what: str, name: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
    return f"there is no {what} {name!r}; {hint}"


def _shown(entry: Any) -> str:
    return str(entry.get("when", "?")) if isinstance(entry, Mapping) else str(entry).strip()[:60]
