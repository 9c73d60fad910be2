"""The table of options for people: what is set here, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scrapy.settings import BaseSettings, default_settings

from crawlo_scrapy.config.adapter import apply_options
from crawlo_scrapy.config.modes import PRESETS
from crawlo_scrapy.config.names import near_miss
from crawlo_scrapy.config.option import Option, is_secret, shown
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.places import place
from crawlo_scrapy.settings import SETTINGS


@dataclass(frozen=True)
class Described:
    """One option or setting of ours as it is set. No field holds a secret."""

    name: str
    value: str
    #: Where the value comes from, in words.
    source: str
    #: mapped, ours, none, or unknown for a name that is close to a known one.
    kind: str
    #: What it became, in words.
    becomes: str


def describe(settings: BaseSettings, *, everything: bool = False) -> list[Described]:
    """Apply the options to a copy of *settings* and say what each is and became.

    With *everything*, options that are not set stand there too, with their default. Raises
    `SettingError`. Redis is not asked.
    """
    settings = settings.copy()
    translation = apply_options(settings)
    rows = []
    for name in dict.fromkeys([*OPTIONS, *SETTINGS]):
        is_set = (settings.getpriority(name) or 0) > 0 and settings[name] is not None
        if is_set or everything:
            rows.append(_row(settings, name, translation.became.get(name, {}), is_set))
    for name in settings:
        if isinstance(name, str) and (known := near_miss(name)):
            rows.append(
                Described(
                    name,
                    shown(name, settings[name]),
                    place(settings, name),
                    "unknown",
                    f"nothing: did you mean {known}?",
                )
            )
    return rows


def _row(settings: BaseSettings, name: str, became: Mapping[str, Any], is_set: bool) -> Described:
    option = OPTIONS.get(name)
    value = settings[name] if is_set else _default(name)
    if option is not None and option.kind == "none":
        words = f"nothing: {option.doc}"
    elif option is not None and not option.has_reader:
        words = "nothing: not in this version"
    elif became:
        words = ", ".join(f"{target} = {shown(target, v)}" for target, v in became.items())
    else:
        words = name if option is None or option.kind == "ours" else " ".join(option.targets)
    kind = "ours" if option is None else option.kind
    source = place(settings, name) if is_set else "default"
    return Described(name, shown(name, _plain(value)), source, kind, words)


def _plain(value: Any) -> Any:
    return value.copy_to_dict() if isinstance(value, BaseSettings) else value


def _default(name: str) -> Any:
    if name in SETTINGS:
        return SETTINGS[name].default
    for target in OPTIONS[name].targets:
        if target in vars(default_settings):
            return getattr(default_settings, target)
        if target in SETTINGS:
            return SETTINGS[target].default
    return None


_KINDS = {
    "mapped": ("Options that become Scrapy settings", "Option", "Type", "Becomes", "Meaning"),
    "ours": ("Options that crawlo_scrapy reads", "Option", "Type", "Default", "Meaning"),
    "none": ("Options without an equivalent", "Option", "Use instead"),
}


def options_rst() -> str:
    """Return the table as a page of the documentation."""
    parts = [
        ".. Made from crawlo_scrapy/config/options.py.",
        "",
        "=======",
        "Options",
        "=======",
        "",
    ]
    for kind, (title, *heads) in _KINDS.items():
        rows = [_cells(option) for option in OPTIONS.values() if option.kind == kind]
        parts += _table(title, heads, rows)
    presets = [[f"``{name}``", f"``{_shown_preset(value)}``", why] for name, value, why in PRESETS]
    parts += _table(
        "What a shared crawl sets besides", ["Setting of Scrapy", "Value", "Why"], presets
    )
    return "\n".join(parts)


def _shown_preset(value: Any) -> str:
    return ", ".join(dict.fromkeys(value.values())) if isinstance(value, dict) else repr(value)


def _table(title: str, heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [title, "=" * len(title), "", ".. list-table::", "   :header-rows: 1", ""]
    for row in [heads, *rows]:
        lines += _table_row(row)
    return [*lines, ""]


def _cells(option: Option) -> list[str]:
    name = f"``{option.name}``"
    if option.kind == "none":
        return [name, f"{option.doc}."]
    if option.kind == "ours":
        default = _default(option.name)
        text = "–" if default is None or (is_secret(option.name) and not default) else repr(default)
        doc = (
            option.doc if option.has_reader else f"**Has no effect in this version.** {option.doc}"
        )
        return [name, option.allowed, f"``{text}``", doc]
    targets = ", ".join(
        f":setting:`{t}`" if t in vars(default_settings) else f"``{t}``" for t in option.targets
    )
    return [name, option.allowed, targets or "–", option.doc.replace("*", r"\*")]


def _table_row(cells: list[str]) -> list[str]:
    return [f"   {'* -' if n == 0 else '  -'} {cell}" for n, cell in enumerate(cells)]
