"""What stands in foreign queues, as requests."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import ormsgpack
from w3lib.http import basic_auth_header

from crawlo_scrapy.migration.plainpickle import MOST_BYTES, Bag, NotPlain, loads
from crawlo_scrapy.payload import InvalidRequest, PlainRequest

#: What Scrapy's own classes of requests add to `Request` is in URL, headers and body by now.
_CLASSES = {
    f"scrapy.{module}.{name}"
    for module, name in (
        ("http.request", "Request"), ("http.request.form", "FormRequest"),
        ("http.request.json_request", "JsonRequest"), ("http.request.rpc", "XmlRpcRequest"),
    )
}  # fmt: skip
#: Of JsonRequest, and what Scrapy before 2.6 wrote.
_IGNORED = ("dumps_kwargs", "_class")
#: What a map of msgpack begins with, unless it is empty; pickles begin otherwise.
_MSGPACK = {bytes([first]) for first in (*range(0x81, 0x90), 0xDE, 0xDF)}
_CRAWLO = frozenset({("crawlo.network.request", "Request"), ("crawlo", "Request")})


class Entry(NamedTuple):
    """One entry of a foreign queue; None where its data is missing. Crawlo's have a score."""

    data: bytes | None
    score: float | None = None


def scrapy_request(entry: Entry) -> PlainRequest:
    """Return the request that scrapy-redis or Scrapy stored: `Request.to_dict`, as pickle or JSON.

    Raises `InvalidRequest`.
    """
    fields = _loaded(entry)
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise InvalidRequest("it is not the dict of a request")
    path = fields.get("_class", "scrapy.http.request.Request")
    if path not in _CLASSES:
        raise InvalidRequest(f"it is of the class {path!r:.100}: only Scrapy's own can be moved")
    if "_encoding" in fields:  # Scrapy before 2.6
        fields["encoding"] = fields.pop("_encoding")
    return _read({name: value for name, value in fields.items() if name not in _IGNORED})


def crawlo_request(entry: Entry, spider_class: str | None) -> PlainRequest:
    """Return the request that Crawlo stored: 1.4 the object, 1.7 its `to_dict`.

    Unless *spider_class* is None it must be of the spider class of that name. Raises
    `InvalidRequest`.
    """
    found = _loaded(entry, _CRAWLO)
    if type(found) is Bag:
        had = {name.removeprefix("_"): value for name, value in vars(found).items()}
    elif isinstance(found, dict) and isinstance(found.get("url"), str):
        had = _made_up(found)
    else:
        raise InvalidRequest("it is not a request of Crawlo")
    # What Crawlo notes of where it read a request.
    kept = (item for item in dict(had.get("meta") or {}).items() if item[0][:8] != "__stream")
    meta = dict(kept)
    info = meta.pop("_callback_info", None) or {}
    if info and spider_class not in (None, info.get("spider_class")):
        raise InvalidRequest(f"it is of the spider class {info.get('spider_class')!r:.100}")
    for name, key in (("proxy", "proxy"), ("timeout", "download_timeout")):
        if had.get(name):
            meta.setdefault(key, had[name])
    if had.get("allow_redirects") is False:
        meta.setdefault("dont_redirect", True)
    headers = dict(had.get("headers") or {})
    if had.get("auth"):
        headers.setdefault("Authorization", basic_auth_header(*had["auth"]))
    names = ("method", "body", "cookies", "cb_kwargs", "flags", "encoding", "dont_filter")
    fields = {name: had[name] for name in names if had.get(name)}
    return _read(
        {
            **fields, "url": had.get("url"), "meta": meta, "headers": headers,
            "callback": info.get("method_name"), "priority": -round(entry.score or 0),
        }
    )  # fmt: skip


def _made_up(had: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a request of Crawlo 1.7 with the URL and body that it makes of them."""
    url, method = had["url"], had.get("method") or "GET"
    headers, body = dict(had.get("headers") or {}), had.get("body")
    if had.get("params") and method == "GET":
        url = _with_query(url, had["params"])
    if (given := had.get("json_body")) is not None or isinstance(given := body, dict):
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(given, ensure_ascii=False)
        if method == "GET" and had.get("json_body") is not None:
            method = "POST"
    elif (form := had.get("form_data")) is not None and method == "GET":
        url = _with_query(url, form)
    elif form is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        body = urlencode(form)
    return {**had, "url": url, "method": method, "headers": headers, "body": body}


def _with_query(url: str, more: dict[str, Any]) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query.update((str(name), str(value)) for name, value in more.items())
    return urlunsplit(parts._replace(query=urlencode(query)))


def _loaded(entry: Entry, bags: frozenset[tuple[str, str]] = frozenset()) -> Any:
    if entry.data is None:
        raise InvalidRequest("its data is missing")
    try:
        if entry.data[:1] == b"{":
            return json.loads(entry.data)
        if entry.data[:1] in _MSGPACK and len(entry.data) <= MOST_BYTES:
            return ormsgpack.unpackb(entry.data, option=ormsgpack.OPT_NON_STR_KEYS)
        return loads(entry.data, bags)
    except (NotPlain, ValueError, RecursionError) as exc:
        raise InvalidRequest(f"it cannot be read: {exc}") from None


def _read(fields: dict[str, Any]) -> PlainRequest:
    return PlainRequest.read(fields, {}, None)
