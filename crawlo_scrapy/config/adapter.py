"""Applies the table of options to a crawler's settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from scrapy import Spider
from scrapy.settings import BaseSettings, default_settings

from crawlo_scrapy.config import redis_url, scrapy_redis
from crawlo_scrapy.config.components import is_crawlo, resolve
from crawlo_scrapy.config.convert import CONVERTERS, LATE
from crawlo_scrapy.config.environment import apply_environment
from crawlo_scrapy.config.feeds import pipeline_feeds
from crawlo_scrapy.config.names import check_names
from crawlo_scrapy.config.option import Option
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.parse import OptionError, parse_all
from crawlo_scrapy.config.places import ADDON, place
from crawlo_scrapy.settings import get as get_ours

logger = logging.getLogger(__name__)

#: Settings whose entries are merged with those that stand there already.
_MERGED = {"EXTENSIONS", "ITEM_PIPELINES", "DOWNLOADER_MIDDLEWARES", "FEEDS", "DOWNLOAD_SLOTS"}


def apply_options(
    settings: BaseSettings,
    *,
    joins: Callable[[BaseSettings], bool] = lambda settings: True,
    spider: Spider | None = None,
) -> Translation:
    """Make Crawlo's options in *settings*, and in the environment, Scrapy's.

    A setting that an option becomes gets the option's priority, unless it stands there at that
    priority or a higher one. Doing it twice changes nothing. *joins* says whether this process
    joins a shared crawl, once the options that decide it are settled. Raises `OptionError`
    listing every value that an option cannot have.
    """
    apply_environment(settings)
    return Translation(settings, spider).run(joins)


class Translation:
    """One run over the options that are set."""

    def __init__(self, settings: BaseSettings, spider: Spider | None) -> None:
        self.settings = settings
        self.joining = True
        self.spider = spider
        #: Crawlo's file pipelines that were listed under PIPELINES.
        self.feed_pipelines: list[str] = []
        #: What could not be said in Scrapy's words, one sentence each.
        self.notes: list[str] = []
        #: What each option became: option -> settings.
        self.became: dict[str, dict[str, Any]] = {}
        self._values: dict[str, Any] = {}
        self._made_by: dict[str, str] = {}

    def run(self, joins: Callable[[BaseSettings], bool]) -> Translation:
        scrapy_redis.apply(self.settings)
        self._aliases()
        self._values = self._parsed_values()
        redis_url.settle(self.settings)
        self.joining = joins(self.settings)
        late = [o for o in self._ordered() if o.how in LATE]
        for option in [*(o for o in self._ordered() if o.how not in LATE), *late]:
            self._convert(option)
        self._component_settings()
        self._put_feeds()
        return self

    def parsed(self, name: str) -> Any:
        """The value of an option, or None where it is not set."""
        return self._values.get(name)

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def put(self, name: str, target: str, value: Any) -> None:
        """Set what an option became, at the option's priority."""
        self._set(OPTIONS[name], target, value, self._priority(name))
        self.became.setdefault(name, {})[target] = self.settings[target]

    def warn(self) -> None:
        """Log what has no effect or looks mistyped, once. Raises `SettingError` in strict mode."""
        report = check_names(self.settings)
        if get_ours(self.settings, "CRAWLO_STRICT"):
            report.refuse()
        for warning in report.warnings():
            logger.warning(warning)
        if self.notes:
            logger.warning("\n  ".join(["About the configuration:", *self.notes]))

    def _aliases(self) -> None:
        """Options that are another name of an option first: what they mean is converted later."""
        values = self._parsed_values()
        for option in self._ordered(values):
            if option.how == "copy" and set(option.targets) <= OPTIONS.keys():
                self._put(option, dict.fromkeys(option.targets, values[option.name]))

    def _parsed_values(self) -> dict[str, Any]:
        given = {
            name: self.settings[name]
            for name in self.settings
            if isinstance(name, str) and (self.settings.getpriority(name) or 0) > 0
        }
        values, faults = parse_all(given, lambda name: place(self.settings, name))
        if faults:
            raise OptionError(faults)
        return values

    def _ordered(self, values: Mapping[str, Any] | None = None) -> list[Option]:
        """The options that are set, those with the highest priority first."""
        values = self._values if values is None else values
        given = [option for name, option in OPTIONS.items() if name in values]
        return sorted(given, key=lambda option: -self._priority(option.name))

    def _priority(self, name: str) -> int:
        return self.settings.getpriority(name) or 0

    def _convert(self, option: Option) -> None:
        if option.kind != "mapped":
            return
        made = CONVERTERS[option.how](self, option, self._values[option.name])
        self._put(option, made)

    def _put(self, option: Option, made: Mapping[str, Any]) -> None:
        priority = self._priority(option.name)
        for target, value in made.items():
            if target == option.name:
                self._replace(target, value, priority)
            elif target in _MERGED:
                self._merge(target, value, priority)
            else:
                self._set(option, target, value, priority)
            self.became.setdefault(option.name, {})[target] = self.settings[target]

    def _set(self, option: Option, target: str, value: Any, priority: int) -> None:
        current = self._priority(target)
        if current < priority or (current == priority and option.how == "remove"):
            self._replace(target, value, priority)
            self._made_by[target] = option.name
        elif current == priority and self.settings[target] == value:
            self._made_by.setdefault(target, option.name)
        elif current == priority and target not in self._made_by:
            self.note(
                f"{option.name} does not change {target}, which {place(self.settings, target)} "
                f"sets as well: take one of them out"
            )

    def _replace(self, target: str, value: Any, priority: int) -> None:
        if self.settings[target] != value or self._priority(target) != priority:
            self.settings.set(target, value, priority)

    def _merge(self, target: str, value: Mapping[Any, Any], priority: int) -> None:
        """Add entries; those that stand there win. What a lower place set is replaced, as ever."""
        current, mine = self._priority(target), target in self._made_by
        if current > priority and not mine:
            return
        standing = {} if ADDON < current < priority and not mine else self.settings.getdict(target)
        self._made_by[target] = target
        self._replace(target, {**value, **standing}, max(current, priority))

    def _component_settings(self) -> None:
        """Replace Crawlo's components where they stand under Scrapy's own names."""
        for setting in ("EXTENSIONS", "ITEM_PIPELINES", "DOWNLOADER_MIDDLEWARES"):
            entries = self.settings.getdict(setting)
            if any(is_crawlo(path) for path in entries):
                resolved = resolve(setting, entries, self.joining)
                self.notes += resolved.notes
                self.feed_pipelines += resolved.feeds
                self.settings.set(setting, resolved.components, self._priority(setting))

        if is_crawlo(self.settings["DOWNLOADER"]):
            self.note(f"{self.settings['DOWNLOADER']} was left out. {OPTIONS['DOWNLOADER'].doc}")
            self._replace("DOWNLOADER", default_settings.DOWNLOADER, self._priority("DOWNLOADER"))

    def _put_feeds(self) -> None:
        feeds = pipeline_feeds(self)
        if feeds:
            option = "PIPELINES" if "PIPELINES" in self._values else "ITEM_PIPELINES"
            self._merge("FEEDS", feeds, self._priority(option))
