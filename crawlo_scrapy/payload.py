"""Requests as Redis has them, without Scrapy: for programs that feed a crawl.

`RequestSerializer` writes requests of a worker by the same `request_fields`, so that nobody can
tell who queued one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from w3lib.url import canonicalize_url, safe_url_string

from crawlo_scrapy.store.frontier import Push
from crawlo_scrapy.store.keys import clean
from crawlo_scrapy.store.seen import split
from crawlo_scrapy.values import CannotEncode, Codec

#: Key of a request's meta: for how many seconds nobody may be given the request.
DELAY_KEY = "crawlo_delay"
#: What a URL may begin with unless others are allowed.
SCHEMES = ("http", "https")
#: How many bytes a request in Redis may have unless others are allowed.
MOST_BYTES = 1 << 20


class InvalidRequest(ValueError):
    """What was to be pushed is no request; the message says what is wrong with it."""


class HeaderFields(dict[bytes, list[bytes]]):
    """Headers as Scrapy has them: names in title case, a list of values for each."""

    def __init__(self, given: Any, encoding: str) -> None:
        super().__init__()
        pairs = given.items() if isinstance(given, Mapping) else given or ()
        for name, values in pairs:
            listed = values if isinstance(values, (list, tuple)) else [values]
            key = _to_bytes(name, encoding).title()
            self.setdefault(key, []).extend(_to_bytes(value, encoding) for value in listed)


@dataclass
class PlainRequest:
    """A request with the attributes of Scrapy's, and its checks; callbacks go by name.

    Raises `InvalidRequest`, also for a URL whose scheme is not among *schemes*; None: any will do.
    """

    url: str
    callback: str | None = None
    method: str = "GET"
    headers: Any = None
    body: Any = b""
    cookies: Any = None
    meta: dict[str, Any] = field(default_factory=dict)
    encoding: str = "utf-8"
    priority: int = 0
    dont_filter: bool = False
    errback: str | None = None
    flags: list[str] = field(default_factory=list)
    cb_kwargs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        given: str | Mapping[str, Any],
        defaults: Mapping[str, Any],
        schemes: Collection[str] | None = SCHEMES,
    ) -> PlainRequest:
        """Return the request that *given* is: a URL, or a mapping of what the fields here say.

        What it does not say is taken from *defaults*; of ``meta`` and ``headers``, entry by entry.
        """
        named: Mapping[str, Any] = {"url": given} if isinstance(given, str) else given
        if not isinstance(named, Mapping):
            raise InvalidRequest(f"it is neither a URL nor a mapping but {given!r:.80}")
        cls.check_names(named)
        if "url" not in named:
            raise InvalidRequest("it has no url")
        fields = {**defaults, **{name: value for name, value in named.items() if value is not None}}
        for name in ("meta", "headers"):
            if isinstance(defaults.get(name), Mapping) and isinstance(named.get(name), Mapping):
                fields[name] = {**defaults[name], **named[name]}
        request = cls(**fields)
        request._check(schemes)
        return request

    @classmethod
    def check_names(cls, names: Iterable[object]) -> None:
        """Raise `InvalidRequest` for the first of *names* that no field has."""
        if unknown := [name for name in names if name not in cls.__dataclass_fields__]:
            close = difflib.get_close_matches(str(unknown[0]), cls.__dataclass_fields__, n=1)
            raise InvalidRequest(
                f"{str(unknown[0])!r:.80} is nothing that a request has"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )

    def _check(self, schemes: Collection[str] | None) -> None:
        for name, kinds, word in _KINDS:
            value = getattr(self, name)
            if not isinstance(value, kinds) or (name == "priority" and isinstance(value, bool)):
                raise InvalidRequest(f"its {name} must be {word}, not {value!r:.80}")
        self.method = self.method.upper()
        self.url = self._checked_url(schemes)
        try:
            self.body = _to_bytes(self.body or b"", self.encoding)
            self.headers = HeaderFields(self.headers, self.encoding)
        except (TypeError, ValueError, LookupError) as exc:
            raise InvalidRequest(f"its headers, body or encoding cannot be used: {exc}") from None

    def _checked_url(self, schemes: Collection[str] | None) -> str:
        try:
            verbatim = self.meta.get("verbatim_url")
            url = self.url if verbatim else safe_url_string(self.url, self.encoding)
            parts = urlsplit(url)
            _ = parts.port  # raises if it is no number
        except (ValueError, LookupError) as exc:
            raise InvalidRequest(f"{self.url!r:.200} is not a URL: {exc}") from None
        if not parts.scheme or (schemes is None and "://" not in url):
            raise InvalidRequest(f"{self.url!r:.200} is not a URL: it has no scheme (http://…)")
        if schemes is not None and parts.scheme.lower() not in schemes:
            allowed = ", ".join(schemes)
            raise InvalidRequest(f"{self.url!r:.200} begins with none of: {allowed}")
        if schemes is not None and not parts.hostname:
            raise InvalidRequest(f"{self.url!r:.200} is not a URL: it has no host")
        return url

    # Scrapy's requests have these under such names.

    @property
    def _meta(self) -> dict[str, Any]:
        return self.meta

    @property
    def _cb_kwargs(self) -> dict[str, Any]:
        return self.cb_kwargs


_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("url", str, "text"),
    ("method", str, "text"),
    ("encoding", str, "text"),
    ("callback", (str, type(None)), "the name of a method"),
    ("errback", (str, type(None)), "the name of a method"),
    ("body", (str, bytes, type(None)), "text or bytes"),
    ("headers", (Mapping, list, tuple, type(None)), "a mapping"),
    ("cookies", (Mapping, list, type(None)), "a mapping"),
    ("meta", dict, "a mapping"),
    ("cb_kwargs", dict, "a mapping"),
    ("flags", list, "a list"),
    ("priority", int, "a whole number"),
    ("dont_filter", bool, "true or false"),
)


def request_fields(request: Any) -> dict[str, Any]:
    """Return what stands in a payload for *request*, without class, callback and errback.

    *request* is one of Scrapy's, or a `PlainRequest`.
    """
    fields: dict[str, Any] = {"u": request.url}
    if request.method != "GET":
        fields["m"] = request.method
    if request.body:
        fields["b"] = request.body
    if request.headers:
        fields["h"] = [
            part for key, values in request.headers.items() for v in values for part in (key, v)
        ]
    if request.cookies:
        fields["k"] = request.cookies
    if request._meta:
        fields["a"] = request._meta
    if request._cb_kwargs:
        fields["g"] = request._cb_kwargs
    if request.flags:
        fields["f"] = list(request.flags)
    if request.priority:
        fields["p"] = request.priority
    if request.encoding != "utf-8":
        fields["n"] = request.encoding
    if request.dont_filter:
        fields["d"] = True
    return fields


def fingerprint(request: PlainRequest) -> bytes:
    """Return what Scrapy's default fingerprinter does. Raises `InvalidRequest`."""
    try:
        verbatim = request.meta.get("verbatim_url")
        url = request.url if verbatim else canonicalize_url(request.url)
    except (ValueError, LookupError) as exc:
        raise InvalidRequest(f"{request.url!r:.200} is not a URL: {exc}") from None
    facts = {"method": request.method, "url": url, "body": request.body.hex(), "headers": {}}
    return hashlib.sha1(json.dumps(facts, sort_keys=True).encode(), usedforsecurity=False).digest()


def push_of(
    request: PlainRequest, codec: Codec, print_: bytes, most_bytes: int = MOST_BYTES
) -> Push:
    """Return *request*, whose fingerprint is *print_*, for the queue. Raises `InvalidRequest`."""
    meta = dict(request.meta)
    try:
        delay_ms = max(0, round(1000 * float(meta.pop(DELAY_KEY, 0.0))))
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(f"{DELAY_KEY} in its meta is not a number of seconds") from None
    request.meta = meta
    fields = request_fields(request)
    if request.callback:
        fields["c"] = request.callback
    if request.errback:
        fields["e"] = request.errback
    try:
        payload = codec.encode(fields)
    except CannotEncode as exc:
        raise InvalidRequest(f"it cannot be stored: {exc}") from None
    if len(payload) > most_bytes:
        raise InvalidRequest(f"it has {len(payload):,} bytes; workers take {most_bytes:,} at most")
    slot = meta.get("download_slot") or urlsplit(request.url).hostname or ""
    mode = "n" if request.dont_filter else "f"
    return Push(
        mode, *split(print_), clean(str(slot)), request.priority, payload, delay_ms
    )  # fmt: skip


def batches(pushes: Iterable[Push], most: int, most_bytes: int) -> Iterator[list[Push]]:
    """Yield *pushes* in lists of at most so many, and so many bytes unless it is a single one."""
    batch: list[Push] = []
    total = 0
    for push in pushes:
        if batch and (len(batch) >= most or total + len(push.payload) > most_bytes):
            yield batch
            batch, total = [], 0
        batch.append(push)
        total += len(push.payload)
    if batch:
        yield batch


def _to_bytes(value: Any, encoding: str) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(encoding)
