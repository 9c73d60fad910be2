"""Sphinx configuration. The pages on settings and options are made from the code's tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import crawlo_scrapy
from crawlo_scrapy.config.report import options_rst
from crawlo_scrapy.config.scrapy_redis import PARAMS, WITHOUT
from crawlo_scrapy.config.scrapy_redis import SETTINGS as SCRAPY_REDIS
from crawlo_scrapy.metrics.table import metrics_rst
from crawlo_scrapy.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "crawlo_scrapy"
copyright = "2026, the crawlo_scrapy developers"
version = release = crawlo_scrapy.__version__
extensions: list[str] = []
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"

#: These name settings to convert, check or show them, and do not act on them.
_TABLES = {"settings.py", "config/scrapy_redis.py"} | {
    f"config/{name}.py"
    for name in ("option", "options", "parse", "convert", "crawlo_config", "environment")
}


def unread_settings() -> list[str]:
    """Return the settings that no component of this version reads, by the code itself."""
    package = Path(crawlo_scrapy.__file__).parent
    named: set[str] = set()
    for module in package.rglob("*.py"):
        if module.relative_to(package).as_posix() not in _TABLES:
            named.update(re.findall(r'"([A-Z][A-Z0-9_]+)"', module.read_text("utf-8")))
    return [name for name in SETTINGS if name not in named]


def settings_rst(unread: list[str]) -> str:
    """Return the table of settings as reStructuredText."""
    shown = [setting for name, setting in SETTINGS.items() if name not in unread]
    return "\n".join(_setting_rst(setting) for setting in shown)


def _setting_rst(setting: Setting) -> str:
    default = "not set" if setting.default is None else f"``{setting.default!r}``"
    facts = [f"Default: {default}", _KINDS[setting.kind]]
    if setting.unit:
        facts.append(f"in {setting.unit}")
    if setting.minimum is not None:
        facts.append(f"at least {setting.minimum:g}")
    lines = [
        f".. setting:: {setting.name}",
        "",
        setting.name,
        "-" * len(setting.name),
        "",
        f"{', '.join(facts)}.",
        "",
        setting.doc,
    ]
    if setting.choices:
        lines += ["", f"One of: {', '.join(f'``{choice}``' for choice in setting.choices)}."]
    return "\n".join([*lines, "", ""])


def scrapy_redis_rst() -> str:
    """Return the tables of scrapy-redis's settings as reStructuredText."""
    rows = {**SCRAPY_REDIS, **{name: f"no effect: {why}" for name, why in WITHOUT.items()}}
    params = {f"``{name}``": target for name, target in PARAMS.items()}
    tables = [
        ("scrapy-redis", {f"``{name}``": text for name, text in rows.items()}),
        ("REDIS_PARAMS", params),
    ]
    lines: list[str] = []
    for title, table in tables:
        lines += [".. list-table::", "   :header-rows: 1", "   :widths: 35 65", ""]
        for first, second in [(title, "Here"), *table.items()]:
            lines += [f"   * - {first}", f"     - {second}"]
        lines.append("")
    return "\n".join(lines)


_KINDS = {
    "bool": "True or False",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "list": "list, or text with commas",
    "dict": "dict, or text in JSON",
    "any": "text or dict",
}

_unread = unread_settings()
_generated = Path(__file__).parent / "_generated"
_generated.mkdir(exist_ok=True)
for _name, _text in {
    "settings.rst": settings_rst(_unread),
    "unread.rst": "\n".join(f"* ``{name}``: {SETTINGS[name].doc}" for name in _unread) or "None.",
    "options.rst": options_rst(),
    "metrics.rst": metrics_rst(),
    "scrapy_redis.rst": scrapy_redis_rst(),
}.items():
    (_generated / _name).write_text(_text + "\n", "utf-8")


def setup(app: Sphinx) -> None:
    """Know Scrapy's way to name a setting."""
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
