"""What scrapy-redis's tests import, with our classes behind it.

As a pytest plugin it puts its modules in the place of those of scrapy-redis. They wait where ours
do not, since the tests do, and have the constructors that the tests call. What scrapy-redis has
and we have not is not there.
"""

from __future__ import annotations

import importlib
import sys

import scrapy_redis

MODULES = ("connection", "dupefilter", "picklecompat", "queue", "scheduler", "spiders")


def pytest_configure() -> None:
    for name in MODULES:
        module = importlib.import_module(f"{__name__}.{name}")
        sys.modules[f"scrapy_redis.{name}"] = module
        setattr(scrapy_redis, name, module)
