"""Distributed crawling for Scrapy."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # ``ADDONS = {"crawlo_scrapy.Addon": 500}`` must work, and importing the package
    # (or its store) must not import Scrapy.
    if name == "Addon":
        from crawlo_scrapy.addon import Addon

        return Addon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
