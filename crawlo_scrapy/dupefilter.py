"""A dupefilter that all workers of a crawl share."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from scrapy.dupefilters import BaseDupeFilter
from scrapy.utils.request import RequestFingerprinter, referer_str

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.seen import split

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)


#: A URL is remembered by a worker for this share of REDIS_TTL at most: it may have been seen by
#: another one long before.
LOCAL_SHARE = 1 / 20


class RecentSet:
    """A set that forgets what was not asked for in a while, so that it never exceeds *size*.

    Two generations: a full young one becomes the old one, and the old one goes. With a *life*
    nothing is remembered for longer than so many seconds, whether it is asked for or not.
    """

    def __init__(self, size: int, life: float = 0.0) -> None:
        self._half = max(1, size // 2)
        self._life = life
        self._born = time.monotonic()
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def __contains__(self, key: Hashable) -> bool:
        if self._life:
            self._grow_old()
        if key in self._young:
            return True
        if key in self._old:
            if not self._life:
                self.add(key)
            return True
        return False

    def add(self, key: Hashable) -> None:
        if self._life:
            self._grow_old()
        if len(self._young) >= self._half:
            self._old, self._young, self._born = self._young, set(), time.monotonic()
        self._young.add(key)

    def _grow_old(self) -> None:
        age = time.monotonic() - self._born
        if age >= self._life:
            self.clear()
        elif age >= self._life / 2:
            self._old, self._young = self._young, set()
            self._born += self._life / 2

    def clear(self) -> None:
        self._young.clear()
        self._old.clear()
        self._born = time.monotonic()


class RedisDupeFilter(BaseDupeFilter):
    """Filters by the crawl's seen set in Redis.

    `RedisScheduler` only takes fingerprints and the local memory from here: it records a
    fingerprint in the step that queues its request. With any other scheduler `request_seen`
    asks Redis itself, which costs a round trip for each URL that this worker has not met.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._fingerprinter: Any = crawler.request_fingerprinter
        # Scrapy's own fingerprinter looks at method, URL and body alone, so that for a plain
        # GET the URL stands for the fingerprint, which is far dearer to compute.
        self._url_tells = type(self._fingerprinter) is RequestFingerprinter
        self._recent = RecentSet(
            ours.get(crawler.settings, "CRAWLO_LOCAL_CACHE_SIZE"),
            ours.get(crawler.settings, "REDIS_TTL") * LOCAL_SHARE,
        )
        self._debug = crawler.settings.getbool("DUPEFILTER_DEBUG")
        self._logged = False
        self._client: BlockingClient | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def fingerprint(self, request: Request) -> bytes:
        """Return the fingerprint of *request* by the project's REQUEST_FINGERPRINTER_CLASS."""
        fingerprint: bytes = self._fingerprinter.fingerprint(request)
        return fingerprint

    def local_key(self, request: Request) -> Hashable:
        """Return what *request* is remembered by in this worker: cheap, and never wrong."""
        if (
            self._url_tells
            and request.method == "GET"
            and not request.body
            and "verbatim_url" not in request.meta
        ):
            return request.url
        return self.fingerprint(request)

    def knows(self, key: Hashable) -> bool:
        """Whether this worker has met *key* and need not ask Redis."""
        return key in self._recent

    def remember(self, key: Hashable) -> None:
        self._recent.add(key)

    def forget_all(self) -> None:
        """Forget what this worker met: Redis may have lost some of it."""
        self._recent.clear()

    def request_seen(self, request: Request) -> bool:
        """Record *request* and return whether it was seen before, by any worker."""
        key = self.local_key(request)
        if self.knows(key):
            return True
        if self._client is None:
            self._client = self._connect()
        fresh = self._client.run(
            "seen_add",
            [self._keys.meta, self._keys.seen_prefix],
            split(self.fingerprint(request)),
        )
        self.remember(key)
        return not fresh[0]

    def _connect(self) -> BlockingClient:
        settings = self._crawler.settings
        assert self._crawler.spider is not None
        choice = connection.seen_choice(settings)
        self._keys = keys = connection.keys(settings, self._crawler.spider.name)
        client = BlockingClient(connection.address(settings))
        timeout = ours.get(settings, "CRAWLO_WORKER_TIMEOUT")
        reply = client.run(
            "seen_choose",
            [keys.meta, keys.workers, keys.seen_prefix],
            choice.arguments(write=True, own=0, timeout=timeout),
        )
        choice.check(keys.name, reply)
        return client

    def close(self, reason: str) -> None:
        if self._client is not None:
            self._client.close()

    def log(self, request: Request, spider: Spider) -> None:
        """Count a filtered request, and log it as DUPEFILTER_DEBUG says."""
        if self._debug:
            logger.debug(
                "Filtered duplicate request: %(request)s (referer: %(referer)s)",
                {"request": request, "referer": referer_str(request)},
                extra={"spider": spider},
            )
        elif not self._logged:
            logger.debug(
                "Filtered duplicate request: %(request)s - no more duplicates will be shown "
                "(see DUPEFILTER_DEBUG to show all duplicates)",
                {"request": request},
                extra={"spider": spider},
            )
            self._logged = True
        self._crawler.stats.inc_value("dupefilter/filtered")
