"""The client that our components get by the settings of scrapy-redis."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from crawlo_scrapy import connection
from crawlo_scrapy.store.blocking import BlockingClient
from tests.config.support import ADDON, final

# For the import alone: there is no such function by another name.
get_redis_from_settings = None


def get_redis(**params: Any) -> Any:
    return from_settings({"REDIS_PARAMS": params})


def from_settings(settings: Any) -> Any:
    with mock.patch.dict(os.environ):
        # Those of the run: for us they are settings, and come first.
        del os.environ["REDIS_HOST"], os.environ["REDIS_PORT"]
        settings = final({**ADDON, **settings})
    return BlockingClient(connection.address(settings))._redis
