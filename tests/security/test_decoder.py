"""The decoder of requests: a `Request` or `CannotDecode` comes out, in bounded memory."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import ormsgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scrapy import Request

from crawlo_scrapy.serializer import MOST_HEADERS, MOST_URL, RequestSerializer, url_of
from crawlo_scrapy.values import MOST_DIGITS, MOST_NESTED, CannotDecode, CannotEncode
from tests.security import LONGER
from tests.security.shop import SERIALIZER, SPIDER, decode

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(EXAMPLES, max_examples=1000 * LONGER)


#: Whatever msgpack can say, and what it cannot.
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=9)
    | st.text(max_size=9)
    | st.sampled_from(
        [
            math.nan,
            math.inf,
            "http://h/",
            "file:///etc/passwd",
            "parse_page",
            "close",
            "scrapy.http.request.Request",
            "os.system",
            "utf-8",
            "klingon",
            "GET",
        ]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.builds(
            lambda number, value: ormsgpack.Ext(number, ormsgpack.packb(value)),
            st.integers(0, 20),
            LEAVES | st.lists(LEAVES, max_size=4),
        )
        | st.builds(ormsgpack.Ext, st.integers(0, 20), st.binary(max_size=12))
    ),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {
        "u": st.sampled_from(
            [
                "http://h/",
                "https://h:99999/",
                "http://[::1",
                "file:///x",
                "data:,x",
                "http://a\u2100b/",
                "//h/",
                "http:///",
                "HTTP://H/",
                "",
            ]
        )
        | VALUES
    },
    optional=dict.fromkeys("cekagfpndmbxht", VALUES),
)
VALID = [
    SERIALIZER.encode(request)
    for request in (
        Request("http://h/a", callback=SPIDER.parse_page, errback=SPIDER._private, priority=-3),
        Request("http://h/", method="POST", body=b"\xff\0", headers={"A": ["b", "c"], "D": "e"}),
        Request("http://h/", meta={"a": (1, {2, 3}), "b": {4: 5}, "c": Request("http://i/")}),
        Request("http://h/", cb_kwargs={"n": 2**70}, cookies={"a": "b"}, flags=["x"]),
        Request("http://h/é", encoding="latin-1", dont_filter=True),
    )
]


def some_fields(examples: settings) -> None:
    @examples
    @given(FIELDS)
    @example({"u": "http://a\u2100b/", "a": {"verbatim_url": True}})
    @example({"u": "http://[::1/", "a": {"verbatim_url": True}})
    @example({"u": "http://h:x/", "a": {"verbatim_url": True}})
    @example({"u": "http://h/", "p": math.nan})
    @example({"u": "http://h/", "p": 2**64 - 1})
    @example({"u": "http://h/", "a": {"download_slot": [1]}})
    @example({"u": "http://h/", "h": [b"a"]})
    @example({"u": "http://h/", "h": ["a", "b"]})
    @example({"u": "http://h/", "x": {"url": "file:///etc/passwd"}})
    def any_fields(fields: dict[str, Any]) -> None:
        try:
            payload = ormsgpack.packb(fields)
        except (TypeError, ValueError):
            return
        decode(payload)
        url_of(payload).encode("utf-8", "surrogatepass")

    any_fields()


def mutations(examples: settings) -> None:
    @examples
    @given(st.sampled_from(VALID), st.data())
    def mutated(payload: bytes, data: st.DataObject) -> None:
        changed = bytearray(payload)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(changed)))
            length = data.draw(st.integers(0, 3))
            changed[place : place + length] = data.draw(st.binary(max_size=4))
        decode(bytes(changed))
        url_of(bytes(changed))

    mutated()


def noise(examples: settings) -> None:
    @examples
    @given(st.binary(max_size=300))
    def any_bytes(data: bytes) -> None:
        decode(data)
        decode(b"P" + data)
        decode(b"\x82\xa1u\xa9http://h/\xa1a" + data)
        url_of(data)

    any_bytes()


@pytest.mark.parametrize("way", [some_fields, mutations, noise])
def test_any_payload(way: Any) -> None:
    way(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("way", [some_fields, mutations, noise])
def test_any_payload_in_a_long_run(way: Any) -> None:
    way(MANY)


def test_duplicate_keys() -> None:
    twice = b"\x83\xa1u\xa9http://h/\xa1u\xabfile:///etc\xa1p\x05"
    assert decode(twice) is None
    assert decode(b"\x82\xa1u\xabfile:///etc\xa1u\xa9http://h/").url == "http://h/"


# Sizes.

BOMBS = """if True:
    import resource, sys
    import ormsgpack
    from scrapy import Spider
    from crawlo_scrapy.serializer import RequestSerializer
    from crawlo_scrapy.values import CannotDecode, MOST_NESTED
    class S(Spider):
        name = "s"
    serializer, most = RequestSerializer(S()), 1 << 20
    begin = b"\\x82\\xa1u\\xa9http://h/\\xa1a"
    nested = b"\\xc0"
    while len(nested) < most - 100_000:
        nested = ormsgpack.packb(ormsgpack.Ext(1, b"\\x92" + ormsgpack.packb(b"x" * 1500) + nested))
    ints = [k * (2**61 - 1) for k in range(1, 7)]
    bombs = [
        begin + b"\\xdd\\xff\\xff\\xff\\xff", begin + b"\\xdf\\xff\\xff\\xff\\xff",
        begin + b"\\xc6\\xff\\xff\\xff\\xff", begin + b"\\xdb\\xff\\xff\\xff\\xff",
        begin + b"\\xc9\\xff\\xff\\xff\\xff\\x01",
        begin + (b"\\xdd\\x00\\x10\\x00\\x00" * 200_000),
        begin + b"\\xdd\\x00\\x0f\\xff\\x00" + b"\\x80" * 0xfff00,
        begin + nested, begin + b"\\x91" * 1_000_000, begin + b"\\x81\\xa1a" * 300_000,
        begin + ormsgpack.packb(ormsgpack.Ext(10, b"9" * 1_000_000)),
        begin + ormsgpack.packb(ormsgpack.Ext(8, b"9" * 1_000_000)),
    ]
    for number in (2, 3):  # members of a set that all have one hash
        same = [ormsgpack.Ext(10, b"%d" % (k * (2**61 - 1))) for k in range(40_000)]
        bombs.append(begin + ormsgpack.packb(ormsgpack.Ext(number, ormsgpack.packb(same))))
    flat = [part for one in same for part in (one, 1)]
    bombs.append(begin + ormsgpack.packb(ormsgpack.Ext(13, ormsgpack.packb(flat))))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    for bomb in bombs:
        try:
            serializer.decode(bomb)
        except CannotDecode as exc:
            print(exc.reason)
        else:
            print("a request")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_bombs_need_little_memory_and_time() -> None:
    """A process with 1 GiB, and a minute for all, decodes payloads that are made to hurt."""
    done = subprocess.run(
        [sys.executable, "-c", BOMBS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) <= {"decode", "size", "a", "request"}
    assert len(done.stdout.splitlines()) == 15


def test_more_bytes_than_allowed() -> None:
    small = RequestSerializer(SPIDER, most_bytes=2000)
    request = Request("http://h/", meta={"x": "y" * 3000})
    with pytest.raises(CannotEncode, match="CRAWLO_MAX_REQUEST_SIZE"):
        small.encode(request)
    with pytest.raises(CannotDecode, match=r"CRAWLO_MAX_REQUEST_SIZE allows 2,000") as caught:
        small.decode(SERIALIZER.encode(request))
    assert caught.value.reason == "size"
    assert decode(SERIALIZER.encode(request)).meta == {"x": "y" * 3000}


def test_a_url_that_is_too_long() -> None:
    url = "http://h/" + "x" * MOST_URL
    with pytest.raises(CannotEncode, match="its URL has more than"):
        SERIALIZER.encode(Request(url))
    with pytest.raises(CannotDecode, match="its URL has 65,545 characters") as caught:
        SERIALIZER.decode(SERIALIZER.encode_url(url))
    assert caught.value.reason == "size"


def test_too_many_headers() -> None:
    flat = [b"a", b"b"] * (MOST_HEADERS + 1)
    assert decode(ormsgpack.packb({"u": "http://h/", "h": flat})) is None
    assert decode(ormsgpack.packb({"u": "http://h/", "h": flat[2:]}))
    many = {"A": ["b"] * (MOST_HEADERS + 1)}
    with pytest.raises(CannotEncode, match="header fields"):
        RequestSerializer(SPIDER).encode(Request("http://h/", headers=many))


def test_values_in_values() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = (value,)
        return value

    most = MOST_NESTED - 1  # the map of the request is one
    assert decode(SERIALIZER.encode(Request("http://h/", meta={"a": nested(most)})))
    deep = RequestSerializer(SPIDER).encode(Request("http://h/", meta={"a": nested(most + 1)}))
    assert decode(deep) is None


def test_digits() -> None:
    assert decode(SERIALIZER.encode(Request("http://h/", meta={"n": 10**4299})))
    number = ormsgpack.Ext(10, b"9" * (MOST_DIGITS + 1))
    assert decode(ormsgpack.packb({"u": "http://h/", "a": {"n": number}})) is None
