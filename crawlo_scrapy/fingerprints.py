"""Fingerprints of other projects, for crawls that are taken over with what they have seen."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from w3lib.url import canonicalize_url

if TYPE_CHECKING:
    from scrapy import Request


class ScrapyRedisFingerprinter:
    """The fingerprints of scrapy-redis 0.8.0 to 0.9.1, as REQUEST_FINGERPRINTER_CLASS.

    They are of method, URL and body, as Scrapy's are, but of another text. A dupefilter of
    scrapy-redis means nothing to a crawl with any other class.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Request, bytes] = WeakKeyDictionary()

    def fingerprint(self, request: Request) -> bytes:
        """Return the 20 bytes that scrapy-redis writes as hexadecimal."""
        if request not in self._known:
            facts = {
                "method": request.method,
                "url": canonicalize_url(request.url),
                "body": (request.body or b"").hex(),
            }
            text = json.dumps(facts, sort_keys=True).encode()
            self._known[request] = hashlib.sha1(text, usedforsecurity=False).digest()
        return self._known[request]


class CrawloFingerprinter:
    """The fingerprints of Crawlo 1.7, as REQUEST_FINGERPRINTER_CLASS.

    They are of method, URL, body, the headers that the spider gave, and what its meta says of
    retries, slot, proxy and time-out. A filter of Crawlo means nothing to a crawl with any other
    class.
    """

    _META = ("download_slot", "download_timeout", "is_retry", "proxy", "retry_times")

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Request, bytes] = WeakKeyDictionary()

    def fingerprint(self, request: Request) -> bytes:
        """Return the 16 bytes that Crawlo writes as hexadecimal."""
        if request not in self._known:
            parts = [request.method.encode(), canonicalize_url(request.url).encode(), request.body]
            for name, values in sorted(request.headers.items()):
                parts.append(name + b":" + b",".join(values or ()))
            meta = request.meta
            parts += [f"meta_{name}:{meta[name]}".encode() for name in self._META if name in meta]
            self._known[request] = hashlib.md5(b"".join(parts), usedforsecurity=False).digest()
        return self._known[request]
