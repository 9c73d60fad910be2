"""Request <-> bytes.

A request is a msgpack map of the fields that are not at their default, keyed by one letter:
URL as text, callbacks by name. With CRAWLO_SIGNING_KEY set, what msgpack cannot carry is
pickled and signed (HMAC-SHA256); without it, no pickle is ever read.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import ormsgpack
from scrapy import Spider
from scrapy.exceptions import ScrapyDeprecationWarning
from scrapy.http import FormRequest, JsonRequest, Request, XmlRpcRequest
from scrapy.utils.httpobj import urlparse_cached

from crawlo_scrapy.payload import MOST_BYTES, SCHEMES, request_fields
from crawlo_scrapy.values import CannotDecode, CannotEncode, Codec

#: Characters of the URL of a request in Redis.
MOST_URL = 1 << 16
#: Its header fields.
MOST_HEADERS = 1000

#: First byte of a pickled payload; a msgpack map never begins with it.
_PICKLE_MARK = b"P"
_HMAC_SIZE = 32

_BUILT_IN_CLASSES: tuple[type[Request], ...] = (Request, FormRequest, JsonRequest, XmlRpcRequest)

#: What Request.to_dict() gives that we carry under a letter of our own.
_FIELDS = {"url", "callback", "errback", "headers", "method", "body", "cookies", "meta",
           "cb_kwargs", "flags", "priority", "encoding", "dont_filter"}  # fmt: skip


#: Methods of spiders that are not in `scrapy.Spider` and that Scrapy calls by name.
_HOOKS = {"closed", "start_requests"}


class NoSuchCallback(CannotDecode):
    """The spider has no such callback."""

    reason = "callback"


class SchemeRefused(CannotDecode):
    """The URL has a scheme that no request from Redis may have."""

    reason = "scheme"


class TooLarge(CannotDecode):
    """The payload, or its URL, is larger than it may be; it was not looked into."""

    reason = "size"


class RequestSerializer:
    """Turns the requests of one spider into bytes and back.

    *extra_classes* are request classes that may be rebuilt besides Scrapy's own and those that
    are defined in the spider's own package. Requests whose URL has none of the *schemes*, and
    those of more than *most_bytes*, can neither be encoded nor decoded.
    """

    def __init__(
        self,
        spider: Spider,
        extra_classes: Iterable[type[Request]] = (),
        signing_key: str | None = None,
        *,
        schemes: Iterable[str] = SCHEMES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._spider = spider
        self._schemes = frozenset(scheme.lower() for scheme in schemes)
        self._most_bytes = most_bytes
        self._codec = Codec(self._encode_inner, self._decode_plain)
        self._classes = {_path(cls): cls for cls in (*_BUILT_IN_CLASSES, *extra_classes)}
        self._key = signing_key.encode() if signing_key else None
        self._names: dict[Any, str] = {}
        self._callbacks: dict[str, Callable[..., Any]] = {}

    def encode(self, request: Request) -> bytes:
        """Return *request* as bytes. Raises `CannotEncode`, which says what stands in the way."""
        self._check_url(request)
        try:
            payload = self._encode_plain(request)
        except CannotEncode:
            if self._key is None:
                raise
            payload = self._encode_signed(request)
        if len(payload) > self._most_bytes:
            raise CannotEncode("it has more bytes than CRAWLO_MAX_REQUEST_SIZE allows")
        return payload

    def encode_url(self, url: str) -> bytes:
        """Return a payload that holds nothing but *url*, whatever that is."""
        return self._codec.encode({"u": url})

    def decode(self, payload: bytes) -> Request:
        """Return the request in *payload*.

        Raises `CannotDecode`: one of its subclasses for a callback, a scheme or a size that is
        not allowed.
        """
        if len(payload) > self._most_bytes:
            raise TooLarge(
                f"the request has {len(payload):,} bytes, and CRAWLO_MAX_REQUEST_SIZE allows "
                f"{self._most_bytes:,}"
            )
        if payload.startswith(_PICKLE_MARK):
            return self._decode_signed(payload)
        return self._decode_plain(payload)

    def _check_url(self, request: Request) -> None:
        """Refuse a URL that may not come back."""
        scheme = urlparse_cached(request).scheme
        if scheme not in self._schemes:
            raise CannotEncode(f"{scheme}: is not in CRAWLO_ALLOWED_SCHEMES")
        if len(request.url) > MOST_URL:
            raise CannotEncode(f"its URL has more than {MOST_URL:,} characters")

    def _encode_inner(self, request: Request) -> bytes:
        self._check_url(request)
        return self._encode_plain(request)

    def _encode_plain(self, request: Request) -> bytes:
        fields = request_fields(request)
        if len(fields.get("h", ())) > 2 * MOST_HEADERS:
            raise CannotEncode(f"it has more than {MOST_HEADERS:,} header fields")
        if type(request) is not Request:
            fields.update(self._class_fields(request))
        if request.callback is not None:
            fields["c"] = self._name_of(request.callback)
        if request.errback is not None:
            fields["e"] = self._name_of(request.errback)
        return self._codec.encode(fields)

    def _decode_plain(self, payload: bytes) -> Request:
        fields = self._codec.decode(payload)
        if not isinstance(fields, dict) or not isinstance(fields.get("u"), str):
            raise CannotDecode("not a request: it has no URL")
        if len(fields["u"]) > MOST_URL:
            raise TooLarge(f"its URL has {len(fields['u']):,} characters")
        cls = Request if "t" not in fields else self._class(fields["t"])
        flat = fields.get("h")
        try:
            _check_meta(fields.get("a") or {})
            kwargs: dict[str, Any] = dict(fields.get("x") or ())
            if flat:
                kwargs["headers"] = _unflatten(flat)
            request = self._make(
                cls,
                url=fields["u"],
                callback=self._callback(fields.get("c")),
                errback=self._callback(fields.get("e")),
                method=fields.get("m", "GET"),
                body=fields.get("b"),
                cookies=fields.get("k"),
                meta=fields.get("a"),
                cb_kwargs=fields.get("g"),
                flags=fields.get("f"),
                priority=fields.get("p", 0),
                encoding=fields.get("n", "utf-8"),
                dont_filter=fields.get("d", False),
                **kwargs,
            )
            return self._checked(request)
        except CannotDecode:
            raise
        except Exception as exc:
            # Whatever a request class makes of foreign data, it must not stop the crawl.
            raise CannotDecode(f"{cls.__name__} refuses the payload: {exc}") from exc

    def _checked(self, request: Request) -> Request:
        parts = urlparse_cached(request)
        if parts.scheme not in self._schemes:
            raise SchemeRefused(
                f"{request.url:.200} begins with {parts.scheme}:, which is not in "
                "CRAWLO_ALLOWED_SCHEMES"
            )
        # Both raise for a URL that does not parse; nobody who reads them later expects that.
        _ = parts.hostname, parts.port
        return request

    def _make(self, cls: type[Request], **kwargs: Any) -> Request:
        if not issubclass(cls, FormRequest):
            return cls(**kwargs)
        with warnings.catch_warnings():
            # Some versions of Scrapy warn of the class. Who made the request was told.
            warnings.simplefilter("ignore", ScrapyDeprecationWarning)
            return cls(**kwargs)

    def _class_fields(self, request: Request) -> dict[str, Any]:
        path = _path(type(request))
        if self._find_class(path) is not type(request):
            raise CannotEncode(f"a request of the class {path}: name it in CRAWLO_REQUEST_CLASSES")
        extra = {k: getattr(request, k) for k in request.attributes if k not in _FIELDS}
        return {"t": path, "x": extra} if extra else {"t": path}

    def _class(self, path: str) -> type[Request]:
        cls = self._find_class(path) if isinstance(path, str) else None
        if cls is None:
            raise CannotDecode(f"request class {path} is not in CRAWLO_REQUEST_CLASSES")
        return cls

    def _find_class(self, path: str) -> type[Request] | None:
        """Return an allowed class: listed, or imported and of the spider's own package."""
        if path not in self._classes:
            module, _, name = path.rpartition(".")
            if module.split(".")[0] != type(self._spider).__module__.split(".")[0]:
                return None
            cls = vars(sys.modules.get(module, sys)).get(name)
            if not (isinstance(cls, type) and issubclass(cls, Request)):
                return None
            self._classes[path] = cls
        return self._classes[path]

    def _name_of(self, callback: Any) -> str:
        func = getattr(callback, "__func__", None)
        if func is None or getattr(callback, "__self__", None) is not self._spider:
            if isinstance(callback, str):
                return callback
            raise CannotEncode(f"callback {callback!r} is not a method of the spider")
        if func not in self._names:
            self._names[func] = self._find_name(func)
        return self._names[func]

    def _find_name(self, func: Any) -> str:
        # A decorated or private method may go by another name than its own.
        for name in (func.__name__, *dir(type(self._spider))):
            found = inspect.getattr_static(self._spider, name, None)
            if getattr(found, "__func__", found) is func and is_callback(self._spider, name):
                return str(name)
        raise CannotEncode(f"callback {func.__qualname__} is not a method of the spider")

    def _callback(self, name: Any) -> Callable[..., Any] | None:
        if name is None:
            return None
        if name not in self._callbacks:
            if not isinstance(name, str) or not is_callback(self._spider, name):
                raise NoSuchCallback(
                    f"spider {self._spider.name!r} has no callback {name!r}; "
                    "was it renamed while requests were queued?"
                )
            self._callbacks[name] = getattr(self._spider, name)
        return self._callbacks[name]

    def _encode_signed(self, request: Request) -> bytes:
        assert self._key is not None
        try:
            # Not to_dict(spider=…), which evaluates every property of the spider.
            fields = request.replace(callback=None, errback=None).to_dict()
            for role in ("callback", "errback"):
                if (function := getattr(request, role)) is not None:
                    fields[role] = self._name_of(function)
            body = pickle.dumps(fields, protocol=4)
        except CannotEncode:
            raise
        except Exception as exc:
            # Objects raise what they like when they are pickled.
            raise CannotEncode(f"neither msgpack nor pickle can carry it ({exc})") from None
        return _PICKLE_MARK + hmac.digest(self._key, body, hashlib.sha256) + body

    def _decode_signed(self, payload: bytes) -> Request:
        from scrapy.utils.request import request_from_dict

        mac, body = payload[1 : 1 + _HMAC_SIZE], payload[1 + _HMAC_SIZE :]
        if self._key is None:
            raise CannotDecode("a pickled payload, and CRAWLO_SIGNING_KEY is not set")
        if not hmac.compare_digest(mac, hmac.digest(self._key, body, hashlib.sha256)):
            raise CannotDecode("a pickled payload whose signature does not fit CRAWLO_SIGNING_KEY")
        try:
            fields = pickle.loads(body)
            for role in ("callback", "errback"):
                fields[role] = self._callback(fields.get(role))
            return self._checked(request_from_dict(fields))
        except CannotDecode:
            raise
        except Exception as exc:
            # Unpickling runs the constructors of the project's own classes.
            raise CannotDecode(f"a signed payload that does not load: {exc}") from exc


def is_callback(spider: Spider | type[Spider], name: str) -> bool:
    """Whether a request may name that method: one that a spider adds to `scrapy.Spider`, or parse.

    Those that Scrapy or this package call at other times are none, and neither is one that takes
    no response.
    """
    if name.startswith("__") or name in _HOOKS:
        return False
    if hasattr(Spider, name) and name not in ("parse", "_parse"):
        return False
    found = inspect.getattr_static(spider, name, None)
    if not inspect.isfunction(found) or found.__module__ == "crawlo_scrapy.spiders":
        return False
    code = found.__code__
    return code.co_argcount > 1 or bool(code.co_flags & inspect.CO_VARARGS)


def url_of(payload: bytes) -> str:
    """Return the URL in a payload, or what can be seen of it. No request is built."""
    try:
        url = ormsgpack.unpackb(payload, ext_hook=lambda number, data: None)["u"]
    except (ValueError, TypeError, LookupError):
        url = None
    if not isinstance(url, str):
        return f"(no URL can be read: {payload[:40]!r})"
    # Control characters steer the terminal of who looks at it.
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in url[:MOST_URL])


def _check_meta(meta: dict[str, Any]) -> None:
    # Other entries that make no sense fail their own request; this one leaves it waiting for ever.
    timeout = meta.get("download_timeout", 0)
    if timeout is not None and not 0 <= timeout < math.inf:
        raise CannotDecode("download_timeout in its meta is no number of seconds")


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def _unflatten(flat: list[bytes]) -> dict[bytes, list[bytes]]:
    if len(flat) > 2 * MOST_HEADERS or not all(isinstance(part, bytes) for part in flat):
        raise CannotDecode(f"its headers are not bytes, or more than {MOST_HEADERS:,}")
    headers: dict[bytes, list[bytes]] = {}
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        headers.setdefault(key, []).append(value)
    return headers
