"""What stands in foreign queues, as requests."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from w3lib.http import basic_auth_header

from crawlo_scrapy.migration.plainpickle import Bag, NotPlain, loads
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


def crawlo_request(entry: Entry, spider_class: str) -> PlainRequest:
    """Return the request that Crawlo 1.4 pickled for the spider class of that name.

    Raises `InvalidRequest`.
    """
    bag = _loaded(entry, _CRAWLO)
    if type(bag) is not Bag:
        raise InvalidRequest("it is not a request of Crawlo")
    had = vars(bag)
    meta = dict(had.get("_meta") or {})
    info = meta.pop("_callback_info", None) or {}
    if info and info.get("spider_class") != spider_class:
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
            **fields, "url": had.get("_url"), "meta": meta, "headers": headers,
            "callback": info.get("method_name"), "priority": -round(entry.score or 0),
        }
    )  # fmt: skip


def _loaded(entry: Entry, bags: frozenset[tuple[str, str]] = frozenset()) -> Any:
    if entry.data is None:
        raise InvalidRequest("its data is missing")
    try:
        if entry.data[:1] == b"{":
            return json.loads(entry.data)
        return loads(entry.data, bags)
    except (NotPlain, ValueError, RecursionError) as exc:
        raise InvalidRequest(f"it cannot be read: {exc}") from None


def _read(fields: dict[str, Any]) -> PlainRequest:
    return PlainRequest.read(fields, {}, None)
