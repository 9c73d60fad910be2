"""Items of every kind to fields, JSON and fingerprints; names made from them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import json
import uuid

import attrs
import pydantic
import pytest
import scrapy

from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError
from crawlo_scrapy.pipelines.fields import fields_of, fingerprint, to_json
from crawlo_scrapy.pipelines.names import NameTemplate, fill_path


class Declared(scrapy.Item):
    name = scrapy.Field()
    price = scrapy.Field()


@dataclasses.dataclass
class Data:
    name: str
    price: float


@attrs.define
class Attrs:
    name: str
    price: float


class Pydantic(pydantic.BaseModel):
    name: str
    price: float


KINDS = [dict, Declared, Data, Attrs, Pydantic]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_item_is_the_same_item(kind):
    item = kind(name="café 🕷", price=1.5)
    fields = fields_of(item)
    assert fields == {"name": "café 🕷", "price": 1.5}
    assert fingerprint(fields) == fingerprint({"price": 1.5, "name": "café 🕷"})
    assert json.loads(to_json(fields)) == fields


def test_items_inside_of_items():
    outer = {"inner": Data("a", 1.0), "list": [Declared(name="b")]}
    assert json.loads(to_json(fields_of(outer))) == {
        "inner": {"name": "a", "price": 1.0},
        "list": [{"name": "b"}],
    }


def test_values_that_json_does_not_know():
    moment = dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc)
    fields = {
        "at": moment,
        "day": moment.date(),
        "price": decimal.Decimal("1.10"),
        "id": uuid.UUID(int=1),
        "raw": b"\xff\0",
        "tags": {"b", "a"},
        1: "number",
    }
    assert json.loads(to_json(fields)) == {
        "at": "2024-02-29T12:30:00+00:00",
        "day": "2024-02-29",
        "price": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "/wA=",
        "tags": ["a", "b"],
        "1": "number",
    }


def test_a_line_is_one_line():
    assert to_json({"text": "a\nb\r\n\u2028"}).count(b"\n") == 0


def _circle():
    item: dict = {}
    item["self"] = item
    return item


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"price": float("nan")}, "item.price is nan"),
        ({"a": [1, float("-inf")]}, r"item.a\[1\] is -inf"),
        ({"f": print}, "item.f is a builtin_function_or_method"),
        ({"text": "\ud800"}, "lone surrogate"),
        (_circle(), "contains itself"),
        ({"keys": {(1, 2): 3}}, "a key of type tuple"),
    ],
)
def test_what_has_no_json_form_is_refused_with_its_place(item, reason):
    with pytest.raises(ItemRefused, match=reason):
        to_json(fields_of(item))


@pytest.mark.parametrize("item", [None, 5, "text", object()])
def test_what_is_no_item_is_refused(item):
    with pytest.raises(ItemRefused, match="not an item"):
        fields_of(item)


def test_fingerprint_of_a_key():
    one = {"url": "u", "time": 1}
    assert fingerprint(one, ["url"]) == fingerprint({"url": "u", "time": 2}, ["url"])
    assert fingerprint(one) != fingerprint({"url": "u", "time": 2})
    assert fingerprint({"a": "1"}) != fingerprint({"a": 1})
    with pytest.raises(ItemRefused, match="key field 'url'"):
        fingerprint({"url": None}, ["url"])


def test_fingerprint_takes_what_storages_may_refuse():
    assert fingerprint({"x": float("nan")}) == fingerprint({"x": float("nan")})
    assert fingerprint({"x": "\ud800"}) != fingerprint({"x": "\ud801"})


def test_names():
    known = {"spider": "shop", "node": "n1"}
    assert NameTemplate("{spider}_{kind}", known).name({"kind": "book"}, dict) == "shop_book"
    by_class = NameTemplate({"Data": "data", f"{__name__}.Attrs": "attrs", "*": "other"}, known)
    assert [by_class.name({}, kind) for kind in (Data, Attrs, dict)] == ["data", "attrs", "other"]
    assert by_class.fixed() == ["data", "attrs", "other"]
    assert NameTemplate("{kind}", known).fixed() == []
    with pytest.raises(ItemRefused, match="no name is configured"):
        NameTemplate({"Data": "data"}, known).name({}, dict)
    for value in (None, "", {"a": 1}, ["x"]):
        with pytest.raises(ItemRefused, match="'kind'"):
            NameTemplate("{kind}", known).name({"kind": value}, dict)
    # A value is not a template.
    assert NameTemplate("{kind}", known).name({"kind": "{spider}"}, dict) == "{spider}"


def test_paths():
    assert fill_path("{spider}-{node}.jsonl", {"spider": "a/../b", "node": "n"}) == "a_.._b-n.jsonl"
    with pytest.raises(StorageError, match=r"\{price\}; known are \{node\}"):
        fill_path("{price}", {"node": "n"})
