"""Hostile pickles do nothing."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import os
import pickle
import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawlo_scrapy.migration import plainpickle
from crawlo_scrapy.migration.plainpickle import NotPlain, loads

VALUE = {
    "url": "http://h/", "body": b"\xff\0", "meta": {"a": [1, 2.5, None, True, (1, "x")], 3: {4}},
    "when": datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc),
    "d": decimal.Decimal("1.5"), "u": uuid.UUID(int=7), "o": collections.OrderedDict(a=1),
    "f": frozenset([1]), "t": datetime.timedelta(1), "big": 2**80,
}  # fmt: skip


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def laughs():
    value = ["ha"] * 10
    for _ in range(12):
        value = [value] * 10
    return value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(protocol):
    assert loads(pickle.dumps(VALUE, protocol)) == VALUE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        Calls(os.system, "touch hacked"), Calls(eval, "1"), Calls(getattr, "a", "join"),
        Calls(pickle.loads, b"."), Calls(bytearray, 1 << 40), Calls(type, "a", (), {}), os.system,
        str, {"a": [Calls(exec, "1")]}, datetime.datetime, object(),
    ],
    ids=lambda value: type(value).__name__,  # not their addresses, which change
)  # fmt: skip
def test_what_would_be_executed(value, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        data = pickle.dumps(value, protocol)
    except TypeError:
        pytest.skip("has no such pickle")
    with pytest.raises(NotPlain):
        loads(data)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", b"\x80\x04", b"\x80\x05N", b"garbage", b"c", b"cos\nsystem\n(S'x'\ntR.",
        b"(ios\nsystem\n.", b"\x80\x02\x82\x01.", b"Ppersistent\n.", b"\x80\x05\x97.",
        b"\x80\x04Nr\xff\xff\xff\x7f.", b"\x80\x04Np2000000000\n.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        b"c_codecs\nencode\n(Va\nVzlib\ntR.", b"cbuiltins\neval\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x0cset.__init__\x93.",
        b"\x80\x04]\x94h\x00a.",  # a list in itself
        pickle.dumps(laughs()), b"(" * 100_000, pickle._dumps(b"x" * (plainpickle.MOST_BYTES + 1)),
    ],
    ids=lambda data: ascii(data[:24]),
)  # fmt: skip
def test_damaged_and_monstrous(data):
    with pytest.raises(NotPlain):
        loads(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_changed_bytes(noise, place):
    data = bytearray(pickle.dumps(VALUE))
    place = min(place, len(data))
    data[place : place + len(noise)] = noise
    with contextlib.suppress(NotPlain):
        loads(bytes(data))
