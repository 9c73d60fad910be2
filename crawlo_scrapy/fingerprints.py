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
