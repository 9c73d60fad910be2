"""What a crawler's settings are in the end, with the add-on on, without starting anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import BaseSettings, Settings

from crawlo_scrapy.addon import Addon
from crawlo_scrapy.config.components import ADDED, REPLACED

ADDON = {"ADDONS": {"crawlo_scrapy.Addon": 500}}


def final(
    project: Mapping[str, Any] | None = None,
    *,
    spider: Mapping[str, Any] | None = None,
    cmdline: Mapping[str, Any] | None = None,
    command: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> BaseSettings:
    """Return the settings that a crawler has after its add-ons."""
    return crawler(
        project, spider=spider, cmdline=cmdline, command=command, settings=settings
    ).settings


def crawler(
    project: Mapping[str, Any] | None = None,
    *,
    spider: Mapping[str, Any] | None = None,
    cmdline: Mapping[str, Any] | None = None,
    command: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Crawler:
    """Do what a Scrapy process does with settings, up to the add-ons."""
    settings = settings or Settings()
    settings.setdict({**ADDON, **(project or {})} if project is not None else ADDON, "project")
    settings.setdict(command or {}, "command")
    settings.setdict(cmdline or {}, "cmdline")
    Addon.update_pre_crawler_settings(settings)

    class TestSpider(Spider):
        name = "test"
        custom_settings = dict(spider or {})

    made = Crawler(TestSpider, settings)
    made.addons.load_settings(made.settings)
    return made


def components(settings: BaseSettings, name: str) -> dict[Any, Any]:
    """What stands under *name* besides what the add-on always puts there."""
    always = {path for _, path, _ in ADDED} | set(REPLACED.values())
    return {path: n for path, n in settings.getdict(name).items() if path not in always}
