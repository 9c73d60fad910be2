"""Our dupefilter, made as scrapy-redis's is made."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from scrapy import Request, Spider
from scrapy.utils.test import get_crawler
from typing_extensions import Self

from crawlo_scrapy import dupefilter
from crawlo_scrapy.dupefilter import RedisDupeFilter
from tests.scrapy_redis_suite.face.connection import get_redis_from_settings

__all__ = ["RFPDupeFilter", "get_redis_from_settings"]


class RFPDupeFilter(RedisDupeFilter):
    """Its `request_fingerprint` takes the place of the project's fingerprinter."""

    logger = dupefilter.logger

    def __init__(self, server: Any, key: str, debug: bool = False) -> None:
        settings = {
            "REDIS_HOST": os.environ["REDIS_HOST"],
            "REDIS_PORT": os.environ["REDIS_PORT"],
            "PROJECT_NAME": uuid4().hex,
            "DUPEFILTER_DEBUG": debug,
        }
        crawler = get_crawler(settings_dict=settings)
        crawler.spider = Spider(key)
        self._projects = crawler.request_fingerprinter
        crawler.request_fingerprinter = self  # type: ignore[assignment]
        super().__init__(crawler)

    @classmethod
    def from_crawler(cls, crawler: Any) -> Self:
        return cls(None, "", crawler.settings.getbool("DUPEFILTER_DEBUG"))

    def fingerprint(self, request: Request) -> bytes:
        return self.request_fingerprint(request)

    def request_fingerprint(self, request: Request) -> bytes:
        return bytes(self._projects.fingerprint(request))
