"""Sphinx configuration. The pages on settings and options are made from the code's tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import crawlo_scrapy
from crawlo_scrapy.config.report import options_rst
from crawlo_scrapy.settings import SETTINGS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "crawlo_scrapy"
copyright = "2026, the crawlo_scrapy developers"
version = release = crawlo_scrapy.__version__
extensions: list[str] = []
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"


def settings_rst() -> str:
    """Return the table of settings as reStructuredText."""
    parts = []
    for setting in SETTINGS.values():
        default = "not set" if setting.default is None else repr(setting.default)
        unit = f" ({setting.unit})" if setting.unit else ""
        parts += [f".. setting:: {setting.name}", "", setting.name, "-" * len(setting.name), ""]
        parts += [f"Default: ``{default}``, {setting.kind}{unit}", "", setting.doc]
        if setting.choices:
            parts += ["", f"One of: {', '.join(setting.choices)}."]
        parts.append("")
    return "\n".join(parts)


generated = Path(__file__).parent / "_generated"
generated.mkdir(exist_ok=True)
(generated / "settings.rst").write_text(settings_rst(), "utf-8")
(generated / "options.rst").write_text(options_rst(), "utf-8")


def setup(app: Sphinx) -> None:
    """Know Scrapy's way to name a setting."""
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
