"""The one line in ADDONS: reads the options and turns everything on at "addon" priority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy.settings import BaseSettings, SettingsAttribute

from crawlo_scrapy.config.adapter import apply_options
from crawlo_scrapy.config.environment import apply_environment
from crawlo_scrapy.config.modes import join, resolve_mode, standalone, stay_out
from crawlo_scrapy.config.tools import running_tool
from crawlo_scrapy.extensions import nodelog

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Addon:
    """Makes the processes that run a spider one crawl.

    ``ADDONS = {"crawlo_scrapy.Addon": 500}`` and REDIS_HOST (or REDIS_URL) are all that a
    settings.py needs. Scrapy's tools (shell, fetch, view, parse, check, bench) never join.
    """

    def __init__(self, crawler: Crawler | None = None) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @classmethod
    def update_pre_crawler_settings(cls, settings: BaseSettings) -> None:
        """Apply what is needed before there is a crawler: the environment's log and spiders.

        Also lets a spider's custom_settings give EXTENSIONS as a list, as Crawlo does: Scrapy
        refuses that where it has made a settings object of the default.
        """
        nodelog.hook()
        apply_environment(settings)
        allow_extension_list(settings)

    def update_settings(self, settings: BaseSettings) -> None:
        """Make *settings* those of a worker. Raises `SettingError` saying all that is wrong."""
        tool = running_tool()
        spider = getattr(self._crawler, "spider", None)
        if tool:
            apply_options(settings, joins=lambda settings: False, spider=spider)
            stay_out(settings, tool=tool)
            self._settle_log(settings, spider)
            return
        translation = apply_options(
            settings,
            joins=lambda settings: resolve_mode(settings) == "distributed",
            spider=spider,
        )
        if translation.joining:
            join(settings, translation)
        else:
            standalone(settings, translation)
        self._settle_log(settings, spider)
        translation.warn()

    def _settle_log(self, settings: BaseSettings, spider: Any) -> None:
        spider = spider or getattr(self._crawler, "spidercls", None)
        nodelog.settle(settings, getattr(spider, "name", None) or "spider")


def allow_extension_list(settings: BaseSettings) -> None:
    """Keep EXTENSIONS as a plain dict, which a list may replace without an error."""
    attribute = settings.attributes.get("EXTENSIONS")
    if attribute is not None and isinstance(attribute.value, BaseSettings):
        settings.attributes["EXTENSIONS"] = SettingsAttribute(
            dict(attribute.value), attribute.priority
        )
