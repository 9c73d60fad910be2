"""Where a setting can come from, as Scrapy's priorities, and in words."""

from __future__ import annotations

from scrapy.settings import BaseSettings

ADDON = 15
#: What a CrawloConfig in a --config file has as default: settings.py beats it.
CONFIG_DEFAULT = 19
PROJECT = 20
#: What a --config file says: it beats settings.py, whose values it is there to change.
CONFIG_FILE = 22
#: A container's manifest beats the files in its image, and a spider's own settings beat both.
ENVIRONMENT = 25
SPIDER = 30

_WORDS = [
    (0, "default"),
    (10, "the command's default"),
    (ADDON, "add-on"),
    (CONFIG_DEFAULT, "default of CrawloConfig"),
    (PROJECT, "settings.py"),
    (CONFIG_FILE, "config file"),
    (ENVIRONMENT, "environment"),
    (SPIDER, "spider"),
    (40, "command line"),
]


def place(settings: BaseSettings, name: str) -> str:
    """Say where the value of *name* comes from."""
    priority = settings.getpriority(name) or 0
    return next(words for least, words in reversed(_WORDS) if priority >= least)
