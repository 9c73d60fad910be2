"""What comes from Redis is data: nothing in it is run, imported, or let through unchecked."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from decimal import Decimal

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request

from crawlo_scrapy.serializer import NoSuchCallback, RequestSerializer
from crawlo_scrapy.values import CannotDecode, CannotEncode
from tests.crawling import url_of
from tests.test_serializer import CODEC, SERIALIZER, SPIDER, Shop, fast


def test_deep_nesting_is_refused_both_ways():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CannotEncode, match=r"too deeply|recursion"):
        SERIALIZER.encode(Request("http://a/", meta={"deep": deep}))
    with pytest.raises(CannotDecode):
        SERIALIZER.decode(b"\x81\xa1u" + b"\x91" * 100_000)
    inner = b"\xc0"
    for _ in range(5000):  # tuples, each of which calls the decoder again
        inner = ormsgpack.packb(ormsgpack.Ext(1, b"\x91" + inner))
    with pytest.raises(CannotDecode):
        SERIALIZER.decode(inner)


EXTENSIONS = st.builds(
    lambda number, content: ormsgpack.packb(ormsgpack.Ext(number, content)),
    st.integers(0, 127),
    st.binary(max_size=12) | st.recursive(
        st.none() | st.integers(0, 2**63) | st.text(max_size=9) | st.sampled_from(
            ["os:system", "tests.test_serializer:Colour", "tests.test_serializer:Point", "America"]
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
        max_leaves=6,
    ).map(ormsgpack.packb),
)  # fmt: skip


@settings(fast, max_examples=300)
@given(st.binary(max_size=60) | EXTENSIONS)
def test_hostile_bytes_raise_only_cannot_decode(data):
    for payload in (
        data,
        b"\x82\xa1u\xa9http://a/\xa1a" + data,
        b"\x82\xa1u\xa9http://a/\xa1h" + data,
    ):
        try:
            SERIALIZER.decode(payload)
        except CannotDecode as exc:
            assert str(exc)


@pytest.mark.parametrize("letter", "cekagfpndmbxht")
@pytest.mark.parametrize("value", [5, "x", [1], {"a": 1}, b"\xff", True])
def test_fields_of_a_wrong_type(letter, value):
    try:
        assert isinstance(
            SERIALIZER.decode(ormsgpack.packb({"u": "http://a/", letter: value})), Request
        )
    except CannotDecode as exc:
        assert str(exc)


@fast
@given(st.data())
def test_truncated_payloads(data):
    payload = SERIALIZER.encode(
        Request("http://a/", meta={"x": (1, Decimal(2), Shop(name="y"))}, headers={"A": "b"})
    )
    with pytest.raises(CannotDecode):
        SERIALIZER.decode(payload[: data.draw(st.integers(0, len(payload) - 1))])


@pytest.mark.parametrize(
    "name",
    ["start", "close", "__init__", "from_crawler", "update_settings", "log", "listing", "Inner",
     "not_a_method", "nothing", "__class__", "logger", "_set_crawler", "handles_request"],
)  # fmt: skip
def test_only_methods_of_the_spider_are_callbacks(name):
    for letter in "ce":
        with pytest.raises(NoSuchCallback, match="has no callback") as caught:
            SERIALIZER.decode(ormsgpack.packb({"u": "http://a/", letter: name}))
        assert caught.value.reason == "callback"


def test_class_lookups_never_import():
    code = """if True:
        import sys, json, ormsgpack
        from scrapy import Spider
        from crawlo_scrapy.serializer import RequestSerializer
        from crawlo_scrapy.values import CannotDecode
        class S(Spider):
            name = "s"
        S.__module__ = "wsgiref.x"
        serializer = RequestSerializer(S())
        before = set(sys.modules)
        item = ormsgpack.Ext(11, ormsgpack.packb(["wsgiref.headers:Headers", {}]))
        kind = ormsgpack.Ext(12, ormsgpack.packb(["wsgiref.headers:Headers", 1]))
        for fields in ({"t": "wsgiref.headers.Headers"}, {"a": {"x": item}}, {"a": {"x": kind}}):
            try:
                serializer.decode(ormsgpack.packb({"u": "http://a/", **fields}))
                raise SystemExit("decoded")
            except CannotDecode:
                pass
        print(json.dumps(sorted(m for m in set(sys.modules) - before if "wsgiref" in m)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == [], done.stderr


def test_only_item_classes_are_built():
    for path in ("builtins:dict", "builtins:object", "subprocess:Popen", "os:environ"):
        item = ormsgpack.Ext(11, ormsgpack.packb([path, {}]))
        with pytest.raises(CannotDecode):
            CODEC.decode(ormsgpack.packb(item))
    unknown = ormsgpack.Ext(11, ormsgpack.packb(["tests.test_serializer:Point", {"z": 1}]))
    with pytest.raises(CannotDecode, match="has no field 'z'"):
        CODEC.decode(ormsgpack.packb(unknown))


class Pickled:
    """Only pickle can carry it."""

    loaded = 0

    def __setstate__(self, state):
        Pickled.loaded += 1

    def __getstate__(self):
        return {"x": 1}


def test_pickle_only_with_a_key_and_a_fitting_signature():
    request = Request("http://a/", meta={"x": Pickled()}, callback=SPIDER.parse_page)
    with pytest.raises(CannotEncode):
        SERIALIZER.encode(request)
    ours = RequestSerializer(SPIDER, signing_key="ours")
    payload = ours.encode(request)
    Pickled.loaded = 0
    for serializer, data in [
        (SERIALIZER, payload),
        (RequestSerializer(SPIDER, signing_key="theirs"), payload),
        (ours, payload[:-1]),
        (ours, payload[:20]),
        (ours, b"P"),
        (ours, b"P" + bytes(32) + pickle.dumps(Pickled())),
        (SERIALIZER, pickle.dumps(Pickled())),
    ]:
        with pytest.raises(CannotDecode, match=r"CRAWLO_SIGNING_KEY|not a"):
            serializer.decode(data)
    assert Pickled.loaded == 0
    found = ours.decode(payload)
    assert isinstance(found.meta["x"], Pickled)
    assert found.callback == SPIDER.parse_page


def test_with_a_key_plain_requests_are_still_msgpack():
    payload = RequestSerializer(SPIDER, signing_key="k").encode(Request("http://a/"))
    assert url_of(payload) == "http://a/"
