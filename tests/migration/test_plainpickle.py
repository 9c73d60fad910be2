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


def doubled(levels):
    """Return a pickle of a tuple of twice a tuple of twice … to be used as a key."""
    return b"\x80\x04)" + b"2\x86" * levels


def calls_on(module, name, argument):
    return b"\x80\x04c" + module + b"\n" + name + b"\n" + argument + b"R."


HUGE = b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04}" + doubled(60)[2:] + b"Ns.",
        b"\x80\x04}(" + doubled(60)[2:] + b"Nu.",
        b"\x80\x04(" + doubled(60)[2:] + b"Nd.",
        b"\x80\x04\x8f(" + doubled(60)[2:] + b"\x90.",
        b"\x80\x04(" + doubled(60)[2:] + b"\x91.",
        calls_on(b"builtins", b"set", b"]" + doubled(60)[2:] + b"a\x85"),
        calls_on(b"collections", b"OrderedDict", b"]" + doubled(60)[2:] + b"N\x86a\x85"),
        calls_on(b"_codecs", b"encode", b"X\x01\0\0\0x" + doubled(60)[2:] + b"\x86"),
        calls_on(b"decimal", b"Decimal", HUGE + b"\x85"),
        b"\x80\x04" + HUGE + b".", b"\x80\x04}" + HUGE + b"Ns.",
        pickle.dumps({n * (2**61 - 1): 0 for n in range(50_000)}),
        # One large list, made a set of again and again; one large text, made bytes of.
        b"\x80\x04](" + b"K\x01" * 90_000 + b"eq\0" + b"cbuiltins\nset\nh\0\x85R0" * 50_000 + b".",
        b"\x80\x04X\0\0\x80\0" + b"x" * (1 << 23) + b"q\0"
        + b"c_codecs\nencode\nh\0\x85R0" * 50_000 + b".",
        b"N0" * plainpickle.MOST_VALUES * 3 + b"N.",
    ],
    ids=lambda data: ascii(data[:24]),
)  # fmt: skip
def test_what_would_take_long(data):
    with pytest.raises(NotPlain):
        loads(data)


BAGS = frozenset([("crawlo.network", "Request")])


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02c_codecs\nencode\nN}X\x0c\0\0\0__defaults__Ns\x86b0}.",
        b"\x80\x02ccrawlo.network\nRequest\nN}X\x0c\0\0\0__setstate__Ns\x86b0}.",
        b"\x80\x02cuuid\nUUID\nN}X\x0c\0\0\0__setstate__Ns\x86b0}.",
        b"\x80\x02cuuid\nUUID\n)\x81}X\x03\0\0\0intX\x01\0\0\0xsb.",
        b"\x80\x02ccrawlo.network\nRequest\n)\x81(](" + doubled(60)[2:] + b"Neetb.",
        b"\x80\x02ccrawlo.network\nRequest\n)\x81](](" + doubled(60)[2:] + b"Neeb.",
        b"\x80\x02ccollections\nOrderedDict\n](}K\0Ns}K\1Nse\x85R.",
        b"\x80\x02cuuid\nUUID\nN\x85\x81.", b"\x80\x02cbuiltins\nset\n)\x81.",
    ],
    ids=lambda data: ascii(data[11:40]),
)  # fmt: skip
def test_one_leaves_nothing_behind_for_the_next(data):
    with pytest.raises(NotPlain):
        loads(data, BAGS)
    assert loads(b"\x80\x02c_codecs\nencode\nX\x01\0\0\0x\x85R.") == b"x"
    bag = loads(b"\x80\x02ccrawlo.network\nRequest\n)\x81}X\x01\0\0\0aK\x01sb.", BAGS)
    assert vars(bag) == {"a": 1}
    assert loads(pickle.dumps(VALUE)) == VALUE


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 200))
def test_changed_bytes(noise, place):
    data = bytearray(pickle.dumps(VALUE))
    place = min(place, len(data))
    data[place : place + len(noise)] = noise
    with contextlib.suppress(NotPlain):
        loads(bytes(data))
