"""A spider with methods of all kinds, and what decodes requests for it."""

from __future__ import annotations

import contextlib
from typing import Any

from scrapy import Request, Spider

from crawlo_scrapy.inbox import slot_of
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.values import CannotDecode, CannotEncode

REASONS = {"decode", "callback", "scheme", "size"}


def outer(function: Any) -> Any:
    def wrapper(self: Any, *args: Any) -> Any:
        return function(self, *args)

    return wrapper


class Shop(Spider):
    name = "shop"
    handle = 5

    def parse_page(self, response: Any, page: int = 0) -> None: ...
    async def parse_later(self, response: Any) -> None: ...
    @outer
    def parse_outer(self, response: Any) -> None: ...
    def _private(self, response: Any) -> None: ...
    def closed(self, reason: str) -> None: ...
    def start_requests(self) -> None: ...
    def count(self) -> None: ...
    @property
    def secret(self) -> None:
        raise AssertionError("evaluated")

    @staticmethod
    def static(response: Any) -> None: ...
    @classmethod
    def build(cls, response: Any) -> None: ...

    class Page: ...


SERIALIZER = RequestSerializer(Shop(), signing_key="k")
SPIDER = SERIALIZER._spider


def decode(payload: bytes) -> Request | None:
    """Return the request, fit for all that a worker does with one; None when it is refused."""
    try:
        request = SERIALIZER.decode(payload)
    except CannotDecode as exc:
        assert exc.reason in REASONS
        assert str(exc)
        return None
    assert isinstance(request, Request)
    assert request.url.partition(":")[0].lower() in ("http", "https")
    slot_of(request)
    assert isinstance(-request.priority, int)
    with contextlib.suppress(CannotEncode):
        SERIALIZER.encode(request.copy())
    repr(request)
    return request
