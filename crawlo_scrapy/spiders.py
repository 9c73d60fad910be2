"""Spiders that read start URLs from Redis as those of scrapy-redis do, and lose none."""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from scrapy import Request, Spider, signals
from scrapy.spiders import CrawlSpider

from crawlo_scrapy import settings as ours
from crawlo_scrapy.engine import close_at_start
from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.startsource import StartSource
from crawlo_scrapy.store.source import Entry, Source

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: What else an entry may say of its request, and of which type; text is form data.
_REQUEST_FIELDS = {"headers": dict, "cookies": dict, "cb_kwargs": dict, "priority": int,
                   "dont_filter": bool}  # fmt: skip


class RedisMixin:
    """Reads start URLs from a list, a set, a sorted set or a stream of Redis: what there is.

    An attribute that is None is what the setting says: REDIS_START_URLS_KEY,
    REDIS_START_URLS_BATCH_SIZE, REDIS_ENCODING, MAX_IDLE_TIME_BEFORE_CLOSE.
    """

    #: The key; ``%(name)s`` in it is the spider's name.
    redis_key: str | None = None
    #: How many entries are taken at a time.
    redis_batch_size: int | None = None
    redis_encoding: str | None = None
    #: After how many seconds without entries and without work the spider closes; 0: never.
    max_idle_time: float | None = None

    name: str
    crawler: Crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> Self:
        spider: Self = super().from_crawler(crawler, *args, **kwargs)  # type: ignore[misc]
        spider.setup_redis(crawler)
        return spider

    def setup_redis(self, crawler: Crawler | None = None) -> None:
        """Read the settings. The key is read once the spider is open."""
        crawler = crawler or getattr(self, "crawler", None)
        if crawler is None:
            raise ValueError("setup_redis() needs a crawler, or a spider that has one")
        try:
            self._read_settings(crawler.settings)
        except (ValueError, LookupError, TypeError) as exc:
            close_at_start(crawler, exc)
            return
        crawler.signals.connect(self._open_source, signals.spider_opened)

    def _read_settings(self, settings: Any) -> None:
        def choose(attribute: str, name: str) -> Any:
            value = getattr(self, attribute)
            return ours.get(settings, name) if value is None else value

        self.redis_key = str(choose("redis_key", "REDIS_START_URLS_KEY")) % {"name": self.name}
        if not self.redis_key.strip():
            raise SettingError("redis_key must not be empty")
        size = choose("redis_batch_size", "REDIS_START_URLS_BATCH_SIZE")
        size = settings.getint("CONCURRENT_REQUESTS") if size is None else size
        self.redis_batch_size = int(_number("redis_batch_size", size, 1))
        self.redis_encoding = str(choose("redis_encoding", "REDIS_ENCODING"))
        codecs.lookup(self.redis_encoding)
        idle = choose("max_idle_time", "MAX_IDLE_TIME_BEFORE_CLOSE")
        self.max_idle_time = _number("max_idle_time", idle, 0)

    def _open_source(self) -> None:
        scheduler = shared_scheduler(self.crawler)
        if scheduler is None:
            logger.error("Start URLs are read in a shared crawl only: SCHEDULER is not ours")
            return
        if (frontier := scheduler.frontier) is None:
            return
        assert self.redis_key and self.redis_batch_size and self.max_idle_time is not None
        logger.info(
            "Reading start URLs from %s (batch size %d, encoding %s)",
            self.redis_key, self.redis_batch_size, self.redis_encoding,
        )  # fmt: skip
        scheduler.keep_alive(self.max_idle_time, "finished")
        source = Source(frontier.client, frontier.keys, self.redis_key)
        self._start_source = StartSource(
            self.crawler, scheduler, source, self.redis_batch_size, self._requests_of
        )

    def _requests_of(self, entry: Entry) -> Iterable[Request]:
        data = entry.data
        if entry.fields:
            # The values of a stream's fields are text, what else they are stands in them as JSON.
            fields = json.loads(data)
            for name in ("meta", *_REQUEST_FIELDS):
                if name in fields:
                    fields[name] = json.loads(fields[name])
            data = json.dumps(fields).encode(self.redis_encoding or "utf-8")
        made = self.make_request_from_data(data)
        if isinstance(made, Request):
            return [made]
        return made or []

    def make_request_from_data(self, data: bytes) -> Request | Iterable[Request] | None:
        """Return the requests of an entry: a URL, or a JSON object.

        Of an object ``url``, ``method`` and ``meta`` are what they say, and so are ``headers``,
        ``cookies`` and ``cb_kwargs`` if they are objects, ``priority`` if it is a number, and
        ``dont_filter`` if it is true or false. All else is form data: the body of a POST, the
        query of any other method. Requests are not filtered unless the entry says so. Raises an
        exception for what is none; it is kept as a dead letter then.
        """
        text = data.decode(self.redis_encoding or "utf-8")
        try:
            fields = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return Request(text.strip(), dont_filter=True)
        if not fields.get("url"):
            raise ValueError("it has no url")
        options: dict[str, Any] = {
            name: fields.pop(name)
            for name, kind in _REQUEST_FIELDS.items()
            if type(fields.get(name)) is kind
        }
        options = {
            "dont_filter": True,
            "url": fields.pop("url"),
            "method": fields.pop("method", "GET"),
            "meta": fields.pop("meta", None) or {},
            **options,
        }
        if fields:
            _add_form(options, fields)
        return Request(**options)


def _number(name: str, value: Any, least: int) -> float:
    try:
        number = float(value)
        if number < least:
            raise ValueError
    except (TypeError, ValueError):
        raise SettingError(f"{name} is {value!r}: it must be a number, {least} or more") from None
    return number


def _add_form(options: dict[str, Any], form: dict[str, Any]) -> None:
    query = urlencode(form, doseq=True)
    if options["method"].upper() == "POST":
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        options["headers"] = {**headers, **options.get("headers", {})}
        options["body"] = query
    else:
        options["url"] = urlsplit(options["url"])._replace(query=query).geturl()


class RedisSpider(RedisMixin, Spider):
    """A spider that reads start URLs from Redis, and stays for more."""


class RedisCrawlSpider(RedisMixin, CrawlSpider):
    """A spider with rules that reads start URLs from Redis, and stays for more."""
