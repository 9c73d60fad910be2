"""Callbacks and URLs that no request from Redis may have."""

from __future__ import annotations

import ormsgpack
import pytest
from scrapy import Request
from scrapy.spiders import CrawlSpider

from crawlo_scrapy.serializer import NoSuchCallback, RequestSerializer, is_callback, url_of
from crawlo_scrapy.spiders import RedisSpider
from crawlo_scrapy.values import CannotDecode, CannotEncode
from tests.security.shop import SERIALIZER, SPIDER, Shop, decode


@pytest.mark.parametrize("name", ["parse_page", "parse_later", "parse_outer", "_private", "parse"])
def test_callbacks(name: str) -> None:
    assert is_callback(Shop, name)
    assert is_callback(SPIDER, name)
    request = decode(ormsgpack.packb({"u": "http://h/", "c": name}))
    assert request is not None
    assert request.callback == getattr(SPIDER, name)


@pytest.mark.parametrize(
    "name",
    [
        "closed",
        "close",
        "start",
        "start_requests",
        "from_crawler",
        "update_settings",
        "log",
        "__init__",
        "__class__",
        "__reduce__",
        "handle",
        "secret",
        "static",
        "build",
        "Page",
        "count",
        "handles_request",
        "_set_crawler",
        "set_crawler",
        "crawler",
        "settings",
        "nothing",
        "",
        "parse_page.__globals__",
        "parse page",
        "a" * 10_000,
        "\0",
        "parse\n",
    ],
)
def test_what_is_no_callback(name: str) -> None:
    assert not is_callback(SPIDER, name)
    for letter in "ce":
        with pytest.raises(NoSuchCallback):
            SERIALIZER.decode(ormsgpack.packb({"u": "http://h/", letter: name}))


def test_methods_of_this_package_are_no_callbacks() -> None:
    for name in dir(RedisSpider):
        assert not is_callback(RedisSpider, name) or name in ("parse", "_parse"), name


def test_callbacks_of_rules() -> None:
    assert is_callback(CrawlSpider, "_callback")
    assert is_callback(CrawlSpider, "_errback")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "ftp://h/",
        "s3://b/k",
        "data:,x",
        "gopher://x/",
        "jar://h/",
    ],
)
def test_schemes(url: str) -> None:
    with pytest.raises(CannotEncode, match="is not in CRAWLO_ALLOWED_SCHEMES"):
        SERIALIZER.encode(Request(url))
    for fields in ({"u": url}, {"u": url, "a": {"verbatim_url": True}}):
        with pytest.raises(CannotDecode, match="CRAWLO_ALLOWED_SCHEMES") as caught:
            SERIALIZER.decode(ormsgpack.packb(fields))
        assert caught.value.reason == "scheme"


def test_a_request_within_a_request() -> None:
    plain = RequestSerializer(SPIDER)
    request = Request("http://h/", meta={"next": Request("file:///etc/passwd")})
    with pytest.raises(CannotEncode, match=r"file: is not in CRAWLO_ALLOWED_SCHEMES"):
        plain.encode(request)
    inner = ormsgpack.Ext(18, ormsgpack.packb({"u": "file:///etc/passwd"}))
    with pytest.raises(CannotDecode, match="CRAWLO_ALLOWED_SCHEMES"):
        plain.decode(ormsgpack.packb({"u": "http://h/", "a": {"next": inner}}))


def test_schemes_that_are_allowed() -> None:
    both = RequestSerializer(SPIDER, schemes=["HTTP", "ftp"])
    assert both.decode(both.encode(Request("ftp://h/"))).url == "ftp://h/"
    assert both.decode(both.encode(Request("http://h/"))).url == "http://h/"
    with pytest.raises(CannotEncode):
        both.encode(Request("https://h/"))


def test_a_signature_changes_nothing_about_schemes() -> None:
    anything = RequestSerializer(SPIDER, signing_key="k", schemes=["file"])
    signed = anything.encode(Request("file:///x", meta={"o": bytearray}))
    assert signed.startswith(b"P")
    with pytest.raises(CannotDecode) as caught:
        SERIALIZER.decode(signed)
    assert caught.value.reason == "scheme"


def test_a_url_is_shown_without_control_characters() -> None:
    shown = url_of(ormsgpack.packb({"u": "http://h/\x1b]0;x\x07\n\u202e\x9b", "a": {}}))
    assert shown.isprintable()
    assert shown.startswith("http://h/\\x1b]0;x\\x07\\x0a")
    for junk in ({"u": 5}, {"u": b"x"}, {}, [], {"u": ["http://h/"]}):
        assert url_of(ormsgpack.packb(junk)).startswith("(no URL can be read")
