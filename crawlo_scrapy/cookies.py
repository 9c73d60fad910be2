"""Cookies that the workers of a crawl have in common (CRAWLO_SHARED_COOKIES)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable
from http.cookiejar import Cookie
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from scrapy import Request, signals
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http import Response

from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.store.cookies import MOST_CHANGES, MOST_JAR_BYTES, Change, Cookies
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.values import CannotEncode, Codec

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http.cookies import CookieJar
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: How often others' changes are asked for, in seconds.
INTERVAL = 0.5
#: How long a change of this worker waits for further ones, in seconds.
GATHER = 0.05
#: The longest `cookiejar` in a request's meta that is shared, in bytes.
MOST_NAME_BYTES = 200

_FIELDS = (
    "version", "name", "value", "port", "port_specified", "domain", "domain_specified",
    "domain_initial_dot", "path", "path_specified", "secure", "expires", "discard", "comment",
    "comment_url", "rest", "rfc2109",
)  # fmt: skip
#: Scrapy 2.13 insists on the argument; later ones warn of it.
_WANTS_SPIDER = (
    signature(CookiesMiddleware.process_request).parameters["spider"].default is Parameter.empty
)
#: A cookie that a site took back.
_GONE = b"null"


class SharedCookiesMiddleware(CookiesMiddleware):
    """Scrapy's cookies, with jars that all workers write to and read from.

    What a site sets is with the others within a second; no request waits for it. Of two workers'
    cookies of one name the later holds. While Redis is away each has its own.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        middleware = super().from_crawler(crawler)
        middleware.crawler = crawler
        crawler.signals.connect(middleware._start, signals.spider_opened)
        return middleware

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._codec = Codec()
        self._touched: set[Any] = set()
        # Of each jar, by cookie, what Redis has as far as this worker knows.
        self._known: dict[Any, dict[bytes, bytes]] = {}
        self._refused: set[Any] = set()
        self._told = False
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()

    def process_request(self, request: Request, spider: Any = None) -> Request | Response | None:
        """Add the cookies; those that the request brings are shared."""
        result = super().process_request(request, *self._spider_argument())
        if request.cookies and not request.meta.get("dont_merge_cookies"):
            self._touch(request)
        return result

    def process_response(
        self, request: Request, response: Response, spider: Any = None
    ) -> Request | Response:
        """Keep and share the cookies that the site sets."""
        result = super().process_response(request, response, *self._spider_argument())
        if "Set-Cookie" in response.headers and not request.meta.get("dont_merge_cookies"):
            self._touch(request)
        return result

    def _spider_argument(self) -> list[Any]:
        return [self.crawler.spider] if _WANTS_SPIDER else []

    def _touch(self, request: Request) -> None:
        self._touched.add(request.meta.get("cookiejar"))
        self._changed.set()

    def _start(self) -> None:
        scheduler = shared_scheduler(self.crawler)
        if scheduler is None or (frontier := scheduler.frontier) is None:
            return
        self._cookies = Cookies(frontier.client, frontier.keys)
        self._task = asyncio.ensure_future(self._run())
        scheduler.before_leaving.append(self._leave)

    async def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                more = await self._share()
            except StoreError:
                more = False  # the exchange reports it
            except Exception:
                logger.exception("Cannot share cookies; trying again")
                more = False
            if more:
                continue
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), INTERVAL)
            if self._changed.is_set() and not self._stopped.is_set():
                await asyncio.sleep(GATHER)

    async def _leave(self, reason: str) -> None:
        """Write what is left while Redis can still be spoken to."""
        self._stopped.set()
        self._changed.set()
        await self._task
        with contextlib.suppress(StoreError):
            while await self._share() and self._touched:
                pass

    async def _share(self) -> bool:
        """Write and read once; return whether there is more to do at once."""
        self._changed.clear()
        touched, self._touched = self._touched, set()
        changes = {(key, name): value for key in touched for name, value in self._changes(key)}
        batch = list(changes.items())[:MOST_CHANGES]
        try:
            names = {key: self._codec.encode(key) for (key, _), _ in batch}
            sent = [Change(names[key], name, value) for (key, name), value in batch]
            shared = await self._cookies.share(sent)
        except BaseException:
            self._touched |= touched
            raise
        if left := list(changes)[MOST_CHANGES:]:
            self._touched |= {key for key, _ in left}
        for (key, name), value in batch:
            self._known.setdefault(key, {})[name] = value
        for change in shared.changes:
            self._take(change)
        self._count("jars_dropped", shared.dropped_jars)
        self._count("dropped", shared.dropped_cookies)
        self._count("written", len(batch))
        return shared.more or bool(left)

    def _changes(self, key: Any) -> Iterable[tuple[bytes, bytes]]:
        """Return what is in the jar of *key* now and not in Redis, and what is no longer there."""
        if not self._can_be_shared(key):
            return
        known = self._known.get(key, {})
        now = _contents(self.jars[key])
        for name, value in now.items():
            if known.get(name) != value and len(name) + len(value) <= MOST_JAR_BYTES:
                yield name, value
        for name, value in known.items():
            if name not in now and value != _GONE:
                yield name, _GONE

    def _can_be_shared(self, key: Any) -> bool:
        try:
            fits = len(self._codec.encode(key)) <= MOST_NAME_BYTES
        except CannotEncode:
            fits = False
        if not fits and key not in self._refused:
            self._refused.add(key)
            logger.warning(
                "The cookies of a cookiejar of type %s are not shared: its name must be plain and "
                "short", type(key).__name__,
            )  # fmt: skip
        return fits

    def _take(self, change: Change) -> None:
        """Put another worker's cookie into its jar, unless this one has changed it meanwhile."""
        try:
            key = self._codec.decode(change.jar)
            jar, known = self.jars[key], self._known.setdefault(key, {})
            mine = _value(jar, change.cookie)
            if mine not in (known.get(change.cookie, _GONE), change.value):
                return
            _put(jar, change.cookie, change.value)
        except Exception as exc:
            # From whoever may write to Redis: it must not keep the others' cookies out.
            self._count("refused", 1)
            if not self._told:
                self._told = True
                logger.warning(
                    "A shared cookie cannot be read (%s), and was left out; no more such cookies "
                    "will be shown, see crawlo/cookies/refused", type(exc).__name__,
                )  # fmt: skip
            return
        known[change.cookie] = change.value
        self._count("read", 1)

    def _count(self, what: str, count: int) -> None:
        if count and self.crawler.stats is not None:
            self.crawler.stats.inc_value(f"crawlo/cookies/{what}", count)


def _name(domain: str, path: str, name: str) -> bytes:
    return json.dumps([domain, path, name]).encode()


def _contents(jar: CookieJar) -> dict[bytes, bytes]:
    """Return all cookies of a jar by domain, path and name."""
    return {_name(c.domain, c.path, c.name): _written(c) for c in jar}


def _value(jar: CookieJar, name: bytes) -> bytes:
    domain, path, cookie = json.loads(name)
    found = jar._cookies.get(domain, {}).get(path, {}).get(cookie)
    return _GONE if found is None else _written(found)


def _written(cookie: Cookie) -> bytes:
    fields = {"rest": getattr(cookie, "_rest", {}), **vars(cookie)}
    return json.dumps([fields[name] for name in _FIELDS]).encode()


def _put(jar: CookieJar, name: bytes, value: bytes) -> None:
    domain, path, cookie = json.loads(name)
    fields = json.loads(value)
    if fields is None:
        if _value(jar, name) != _GONE:
            jar.clear(domain, path, cookie)
        return
    named = dict(zip(_FIELDS, fields, strict=True))
    texts = (named[name] for name in ("name", "domain", "path"))
    if not all(isinstance(text, str) for text in texts) or not isinstance(named["rest"], dict):
        raise TypeError("a cookie whose fields are of other types")
    if not isinstance(named["value"], str | None) or not isinstance(named["port"], str | None):
        raise TypeError("a cookie whose value or port is no text")
    made = Cookie(**named)
    if (made.domain, made.path, made.name) != (domain, path, cookie):
        raise ValueError("a cookie under another's name")
    jar.set_cookie(made)
