"""Crawlo's options and `CrawloConfig`, for Scrapy."""

from crawlo_scrapy.config.crawlo_config import CrawloConfig, Presets, create_config

__all__ = ["CrawloConfig", "Presets", "create_config"]
