"""Whatever scrapy-redis lets one set, override or call stands in docs/migration."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from crawlo_scrapy.config.scrapy_redis import PARAMS, SETTINGS, WITHOUT
from crawlo_scrapy.spiders import RedisMixin
from tests.scrapy_redis_suite.suite import UPSTREAM

scrapy_redis = pytest.importorskip("scrapy_redis")

PACKAGE = Path(scrapy_redis.__file__).parent
#: The page, with the tables that are made from these.
PAGE = (UPSTREAM.parents[2] / "docs" / "migration.rst").read_text("utf-8")
DOCUMENTED = {*SETTINGS, *WITHOUT, *PARAMS, *re.findall(r"\w+", PAGE)}
#: Constants of its defaults that are not called as the setting whose default they are.
CONSTANTS = {
    "DUPEFILTER_KEY": "SCHEDULER_DUPEFILTER_KEY",
    "PIPELINE_KEY": "REDIS_ITEMS_KEY",
    "REDIS_CLS": "redis_cls",
    "REDIS_CONCURRENT_REQUESTS": "CONCURRENT_REQUESTS",
    "START_URLS_KEY": "REDIS_START_URLS_KEY",
    "START_URLS_AS_SET": "REDIS_START_URLS_AS_SET",
    "START_URLS_AS_ZSET": "REDIS_START_URLS_AS_ZSET",
    "MAX_IDLE_TIME": "MAX_IDLE_TIME_BEFORE_CLOSE",
}
#: Words in capitals that are no settings of it.
OTHERS = {"SETTINGS_PARAMS_MAP", "SCRAPY_JOB"}


def test_every_default() -> None:
    from scrapy_redis import defaults

    names = {CONSTANTS.get(name, name) for name in vars(defaults) if name.isupper()}
    assert len(names) > 10
    assert names | set(defaults.REDIS_PARAMS) <= DOCUMENTED


def test_every_setting_in_its_code_and_readme() -> None:
    texts = [module.read_text("utf-8") for module in PACKAGE.glob("*.py")]
    texts.append(distribution("scrapy-redis").read_text("METADATA") or "")
    names = {name for text in texts for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)}
    assert {"REDIS_PARAMS", "SCHEDULER_IDLE_BEFORE_CLOSE", "STATS_KEY"} <= names
    assert {CONSTANTS.get(name, name) for name in names - OTHERS} - DOCUMENTED == set()


def test_every_attribute_of_its_spiders() -> None:
    from scrapy_redis import spiders

    names = {name for name in vars(spiders.RedisMixin) if not name.startswith("_")}
    names.update(re.findall(r"self\.(\w+) = ", inspect.getsource(spiders.RedisMixin)))
    assert {"redis_key", "fetch_data", "spider_idle"} <= names
    assert {name for name in names if not hasattr(RedisMixin, name)} - DOCUMENTED == set()
