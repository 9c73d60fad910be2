"""Requests to bytes and back: everything that Scrapy can serialise, as what it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import socket
import warnings
from collections import OrderedDict
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import ormsgpack
import pydantic
import pytest
import scrapy
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.exceptions import ScrapyDeprecationWarning
from scrapy.http import FormRequest, JsonRequest, XmlRpcRequest
from scrapy.linkextractors import LinkExtractor

from crawlo_scrapy.serializer import NoSuchCallback, RequestSerializer
from crawlo_scrapy.values import CannotDecode, CannotEncode, Codec

fast = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def decorated(func):
    @functools.wraps(func)
    def wrapper(self, response):
        return func(self, response)

    return wrapper


class OwnRequest(Request):
    attributes = (*Request.attributes, "tag")

    def __init__(self, *args, tag=None, **kwargs):
        self.tag = tag
        super().__init__(*args, **kwargs)


class Parent(Spider):
    def inherited(self, response): ...


class TheSpider(Parent):
    name = "s"

    def parse_page(self, response): ...
    async def parse_async(self, response): ...
    def failed(self, failure): ...
    def __private(self, response): ...
    @decorated
    def parse_decorated(self, response): ...
    def start_requests(self): ...
    @property
    def listing(self):
        raise AssertionError("a property must not be evaluated")

    not_a_method = 7

    class Inner: ...

    def named(self, name):
        return getattr(self, name)


class Shop(scrapy.Item):
    name = scrapy.Field()
    price = scrapy.Field()


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


@attrs.define
class Attrs:
    x: int


class Model(pydantic.BaseModel):
    x: int
    tags: set[str] = set()


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    HIGH = 2


SPIDER = TheSpider()
SERIALIZER = RequestSerializer(SPIDER)
CODEC = Codec()

zones = st.sampled_from(
    [None, dt.timezone.utc, dt.timezone(-dt.timedelta(minutes=210)), ZoneInfo("Asia/Tokyo")]
)  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=2**200)
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters(), max_size=8)  # lone surrogates
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times(timezones=st.just(None) | st.just(dt.timezone.utc))
    | st.datetimes(timezones=zones)
    | st.timedeltas()
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from([Colour.RED, Level.HIGH])
)
hashable = scalars | st.tuples(st.text(), st.integers()) | st.frozensets(st.integers())
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4).map(OrderedDict)
        | st.sets(hashable, max_size=4)
        | st.builds(Point, st.integers(), inner)
        | st.builds(lambda v: Shop(name=v), inner)
    ),
    max_leaves=12,
)
tokens = st.text("abcXYZ-", min_size=1, max_size=8)
urls = st.text(max_size=20).map(lambda text: "http://example.com/" + text.replace("\0", ""))
callbacks = st.sampled_from(
    [None, "parse", "parse_page", "parse_async", "_TheSpider__private", "parse_decorated",
     "inherited"]
).map(lambda name: name and getattr(SPIDER, name))  # fmt: skip
cookies = st.dictionaries(tokens, st.text(max_size=5)) | st.lists(
    st.fixed_dictionaries({"name": tokens, "value": tokens, "secure": st.booleans()})
)  # fmt: skip
fields = {
    "method": st.sampled_from(["GET", "POST", "PUT", "head", "OPTIONS"]),
    "headers": st.dictionaries(tokens, st.lists(st.binary(max_size=5), min_size=1, max_size=3)),
    "body": st.binary(max_size=50) | st.none(),
    "cookies": cookies,
    "meta": st.dictionaries(st.text(max_size=5), values, max_size=3) | st.none(),
    "cb_kwargs": st.dictionaries(tokens, values, max_size=3) | st.none(),
    "flags": st.lists(st.text(max_size=5), max_size=3),
    "priority": st.integers(),
    "encoding": st.sampled_from(["utf-8", "latin-1", "cp1252"]),
    "dont_filter": st.booleans(),
    "callback": callbacks,
    "errback": callbacks,
}


def same(a, b):
    """Equal, and of equal types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a.items(), b.items()))  # noqa: B905
    if isinstance(a, Point):
        return same(dataclasses.astuple(a), dataclasses.astuple(b))
    if isinstance(a, (dt.datetime, dt.time)):
        return repr(a) == repr(b)  # with zone and fold
    return a == b


def parts(request):
    # Not to_dict(spider=…), which evaluates every property of the spider.
    bare = request.replace(callback=None, errback=None)
    return {**bare.to_dict(), "callback": request.callback, "errback": request.errback}


def round_trip(request, serializer=SERIALIZER):
    other = serializer.decode(serializer.encode(request))
    assert type(other) is type(request)
    assert parts(other) == parts(request)
    assert same(other.meta, request.meta)
    assert same(other.cb_kwargs, request.cb_kwargs)
    assert same(other.cookies, request.cookies)
    return other


@fast
@given(values)
def test_values_come_back_as_they_were(value):
    assert same(CODEC.decode(CODEC.encode(value)), value)


@fast
@given(urls, st.fixed_dictionaries({}, optional=fields))
def test_requests_come_back_as_they_were(url, kwargs):
    try:
        request = Request(url, **kwargs)
    except UnicodeEncodeError:  # a URL that this encoding cannot write
        reject()
    round_trip(request)


@fast
@given(st.dictionaries(tokens, st.text(max_size=9)), st.fixed_dictionaries({}, optional={
    k: v for k, v in fields.items() if k in ("meta", "headers", "priority", "callback")
}))  # fmt: skip
def test_request_classes_of_scrapy(data, kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScrapyDeprecationWarning)
        forms = [
            FormRequest("http://a/?q=1", formdata=data, **kwargs),
            FormRequest("http://a/", formdata=data, method="GET", **kwargs),
        ]
        payloads = [SERIALIZER.encode(form) for form in forms]
        expected = [parts(form) for form in forms]
    found = [SERIALIZER.decode(payload) for payload in payloads]  # warns of nothing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScrapyDeprecationWarning)
        assert [parts(form) for form in found] == expected
    assert [type(form) for form in found] == [FormRequest] * 2
    round_trip(JsonRequest("http://a/", data=data, dumps_kwargs={"sort_keys": True}, **kwargs))
    round_trip(XmlRpcRequest("http://a/", params=("x",), methodname="f", **kwargs))


def test_request_class_of_the_spiders_package():
    assert round_trip(OwnRequest("http://a/", tag={"x": (1,)})).tag == {"x": (1,)}


def test_request_class_from_elsewhere_must_be_named():
    class Foreign(Request):
        pass

    Foreign.__module__ = "somewhere.else"
    with pytest.raises(CannotEncode, match="CRAWLO_REQUEST_CLASSES"):
        SERIALIZER.encode(Foreign("http://a/"))
    serializer = RequestSerializer(SPIDER, [Foreign])
    round_trip(Foreign("http://a/"), serializer)
    with pytest.raises(CannotDecode, match=r"somewhere.else.Foreign is not in CRAWLO_REQUEST"):
        SERIALIZER.decode(serializer.encode(Foreign("http://a/")))


def test_request_inside_meta():
    inner = Request("http://inner/", callback=SPIDER.parse_page, meta={"deep": {1, 2}})
    other = SERIALIZER.decode(SERIALIZER.encode(Request("http://a/", meta={"next": [inner]})))
    [found] = other.meta["next"]
    assert parts(found) == parts(inner)


@pytest.mark.parametrize(
    "value",
    [
        dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        dt.datetime(2026, 10, 25, 2, 30, fold=1),
        dt.time(1, 2, 3, 4, fold=1),
        Decimal("1.10"),
        UUID(int=5),
        Shop(name="x", price=Decimal("2")),
        Shop(),
        Point(1, [Point(2)]),
        Attrs(1),
        Model(x=1, tags={"a"}),
        Colour.RED,
        {(1, 2): {None: b"x", 1.5: "\ud800"}},
        OrderedDict([("b", 1), ("a", 2)]),
        10**4000,
    ],
    ids=repr,
)
def test_value(value):
    found = CODEC.decode(CODEC.encode([value]))[0]
    assert same(found, value)
    assert getattr(found, "fold", 0) == getattr(value, "fold", 0)


def test_text_of_a_link_is_text():
    # CrawlSpider puts it into meta; lxml's type is no plain str.
    page = scrapy.http.HtmlResponse("http://a/", body=b"<a href=/x>hi</a>", encoding="utf-8")
    text = LinkExtractor().extract_links(page)[0].text
    assert same(CODEC.decode(CODEC.encode({"link_text": text, "x": {1: text}})),
                {"link_text": "hi", "x": {1: "hi"}})  # fmt: skip


def test_bytearray_comes_back_as_bytes():
    assert CODEC.decode(CODEC.encode([bytearray(b"x"), 2**70])) == [b"x", 2**70]


def test_callback_that_is_gone_inside_meta_is_told_as_such():
    gone = ormsgpack.Ext(18, ormsgpack.packb({"u": "http://a/", "c": "gone"}))
    with pytest.raises(NoSuchCallback, match="has no callback 'gone'"):
        SERIALIZER.decode(ormsgpack.packb({"u": "http://a/", "a": {"x": gone}}))


def test_payloads_are_small():
    assert len(SERIALIZER.encode(Request("http://example.com/" + "x" * 41, meta={"depth": 3}))) < 80


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"callback": lambda response: None}, "is not a method of the spider"),
        ({"callback": Request("http://a/").copy}, "is not a method of the spider"),
        ({"meta": {"a": [{"s": socket.socket}]}}, r"\['a'\]\['a'\]\[0\]\['s'\]"),
        ({"cb_kwargs": {"x": object()}}, "builtins.object"),
        ({"meta": {"e": enum.Enum("Local", "A").A}}, "cannot be found under that name"),
    ],
)
def test_what_cannot_be_carried(kwargs, said):
    with pytest.raises(CannotEncode, match=said):
        SERIALIZER.encode(Request("http://a/", **kwargs))


def test_urls_are_kept_to_the_letter():
    meta = {"verbatim_url": True}
    request = Request("http://a/%7Ex?b=2&a=1#f", meta=meta)
    assert round_trip(request).url == request.url
