"""Without Scrapy, a request becomes the same bytes and has the same fingerprint."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.utils.request import RequestFingerprinter

from crawlo_scrapy.inbox import slot_of
from crawlo_scrapy.payload import InvalidRequest, PlainRequest, fingerprint, push_of
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.values import Codec

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12)
HOSTS = st.sampled_from(
    ["example.com", "EXAMPLE.com:8080", "bücher.example", "[::1]:80", "u:p@h.x"]
)
#: Scrapy 2.13 turns "#!" into a query.
TAIL = TEXT.map(lambda text: text.replace("#!", "#"))
URLS = st.builds(lambda host, tail: f"http://{host}/{tail}", HOSTS, TAIL)
PLAIN = st.none() | st.booleans() | st.integers() | TEXT | st.lists(st.integers(), max_size=2)
REQUESTS = st.fixed_dictionaries(
    {"url": URLS},
    optional={
        "method": st.sampled_from(["GET", "post", "Put"]),
        "body": TEXT | st.binary(max_size=9),
        "headers": st.dictionaries(st.from_regex(r"[A-Za-z-]{1,9}", fullmatch=True), TEXT),
        "cookies": st.dictionaries(TEXT, TEXT),
        "meta": st.dictionaries(TEXT, PLAIN, max_size=3),
        "cb_kwargs": st.dictionaries(TEXT, PLAIN, max_size=3),
        "flags": st.lists(TEXT, max_size=2),
        "priority": st.integers(-9, 9),
        "encoding": st.sampled_from(["utf-8", "cp1252"]),
        "dont_filter": st.booleans(),
    },
)


class Some(Spider):
    name = "some"


def scrapys(fields):
    """The request as Scrapy makes it, or None where it refuses."""
    try:
        return Request(**fields)
    except ValueError:
        return None


@settings(max_examples=200, deadline=None)
@given(REQUESTS)
def test_the_same_as_scrapys(fields):
    theirs = scrapys(fields)
    try:
        mine = PlainRequest.read(fields, {})
        print_ = fingerprint(mine)
    except InvalidRequest:
        return  # stricter than Scrapy, never more lenient
    assert theirs is not None
    assert print_ == RequestFingerprinter().fingerprint(theirs)
    push = push_of(mine, Codec(), print_)
    serializer = RequestSerializer(Some())
    assert push.payload == serializer.encode(theirs)
    assert push.slot == slot_of(theirs)
    assert serializer.decode(push.payload).to_dict() == theirs.to_dict()


@pytest.mark.parametrize("url", ["http://h/?b=2&a=1#f", "http://h/%7Ea", "http://h", "http://h/ü"])
def test_usual_urls_are_taken(url):
    mine = PlainRequest.read(url, {})
    assert fingerprint(mine) == RequestFingerprinter().fingerprint(Request(url))


def test_defaults_and_names():
    defaults = {"priority": 3, "meta": {"a": 1, "b": 1}, "callback": "parse_item"}
    given = {"url": "http://h/", "meta": {"b": 2}, "method": None}
    request = PlainRequest.read(given, defaults)
    assert (request.priority, request.meta, request.callback) == (3, {"a": 1, "b": 2}, "parse_item")
    push = push_of(request, Codec(), fingerprint(request))
    assert Codec().decode(push.payload)["c"] == "parse_item"


def test_a_delay_and_a_slot():
    meta = {"crawlo_delay": 1.5, "download_slot": "mine:1"}
    request = PlainRequest.read({"url": "http://h/", "meta": meta}, {})
    push = push_of(request, Codec(), b"")
    assert (push.delay_ms, push.slot) == (1500, "mine%3A1")
    assert "crawlo_delay" in meta, "what belongs to the caller stays as it is"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("example.com/1", "no scheme"),
        ("ftp://h/", "begins with none of: http, https"),
        ("http:///x", "no host"),
        ("http://h:port/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ({}, "no url"),
        ({"url": "http://h/", "prio": 1}, "did you mean 'priority'"),
        ({"url": "http://h/", "priority": "1"}, "priority must be a whole number"),
        ({"url": "http://h/", "meta": []}, "meta must be a mapping"),
        ({"url": "http://h/", "encoding": "klingon"}, "klingon"),
        ({"url": "http://h/", "meta": {"f": print}}, "cannot be stored"),
        (7, "neither a URL nor a mapping"),
    ],
)
def test_what_is_no_request(given, message):
    with pytest.raises(InvalidRequest, match=message):
        request = PlainRequest.read(given, {})
        push_of(request, Codec(), fingerprint(request))


def test_other_schemes_when_they_are_allowed():
    assert PlainRequest.read("s3://bucket/x", {}, None).url == "s3://bucket/x"
