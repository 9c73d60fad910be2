"""robots.txt for a shared crawl: fetched once, and its delay kept by all workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from protego import Protego
from scrapy.exceptions import NotConfigured
from scrapy.http import TextResponse
from scrapy.http.request import NO_CALLBACK

from crawlo_scrapy import settings as ours
from crawlo_scrapy.scheduler import shared_scheduler
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.keys import clean
from crawlo_scrapy.store.robots import CLAIM_SECONDS, Robots, RobotsFile

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Pause between two looks at whether another worker has fetched a file, in seconds.
LOOK_AGAIN = 0.1
#: The longest delay that a robots.txt is obeyed with, in seconds; more would stop the crawl there.
LONGEST_DELAY = 300.0
#: Marks the answers that come from Redis.
_SHARED = "crawlo_shared"


class SharedRobotsMiddleware:
    """Answers the requests of Scrapy's RobotsTxtMiddleware with what another worker has fetched.

    It comes after RobotsTxtMiddleware, whose own requests pass here as others do. *obeys_delay*:
    Crawl-delay and Request-rate become the slot's delay. While Redis is away each worker fetches
    for itself.
    """

    def __init__(self, crawler: Crawler, ttl: float, obeys_delay: bool) -> None:
        self._crawler = crawler
        self._ttl = ttl
        self._obeys_delay = obeys_delay
        settings = crawler.settings
        self._agent = settings["ROBOTSTXT_USER_AGENT"] or settings["USER_AGENT"]

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not settings.getbool("ROBOTSTXT_OBEY"):
            raise NotConfigured
        obeys_delay = ours.get(settings, "CRAWLO_ROBOTS_DELAY")
        return cls(crawler, ours.get(settings, "CRAWLO_ROBOTS_TTL"), obeys_delay)

    async def process_request(self, request: Request, spider: Any = None) -> Response | None:
        store = self._store(request)
        if store is None:
            return None
        robots, worker = store
        site = site_of(request)
        with contextlib.suppress(StoreError):  # the exchange reports it
            for _ in range(round(CLAIM_SECONDS / LOOK_AGAIN)):
                whose, file = await robots.get(site, worker)
                if file is not None:
                    self._crawler.stats.inc_value("crawlo/robots_shared")
                    return TextResponse(
                        request.url, status=file.status, body=file.body, flags=[_SHARED]
                    )
                if whose == "yours":
                    return None
                await asyncio.sleep(LOOK_AGAIN)
        return None

    async def process_response(
        self, request: Request, response: Response, spider: Any = None
    ) -> Response:
        store = self._store(request)
        if store is not None and "cached" not in response.flags:
            with contextlib.suppress(StoreError):  # then others fetch it, too
                if _SHARED not in response.flags:
                    file = RobotsFile(response.status, response.body)
                    await store[0].put(site_of(request), file)
                if self._obeys_delay:  # which the worker that fetched it may not do
                    await self._learn(request, response)
        return response

    async def process_exception(
        self, request: Request, exception: Exception, spider: Any = None
    ) -> None:
        store = self._store(request)
        if store is not None:
            with contextlib.suppress(StoreError):  # then the claim runs out
                await store[0].give_up(site_of(request))

    def _store(self, request: Request) -> tuple[Robots, str] | None:
        if request.callback is not NO_CALLBACK or not _asked(request).endswith("/robots.txt"):
            return None
        scheduler = shared_scheduler(self._crawler)
        if scheduler is None or scheduler.frontier is None or scheduler.membership is None:
            return None
        frontier = scheduler.frontier
        return Robots(frontier.client, frontier.keys, self._ttl), scheduler.membership.worker_id

    async def _learn(self, request: Request, response: Response) -> None:
        scheduler = shared_scheduler(self._crawler)
        if scheduler is None or scheduler.exchange is None or response.status != 200:
            return
        delay = delay_of(response.body, self._agent)
        if delay > LONGEST_DELAY:
            logger.warning(
                "%s asks for %g seconds between two requests; %g are left", request.url, delay,
                LONGEST_DELAY,
            )  # fmt: skip
        slot = clean(urlsplit(_asked(request)).hostname or "")
        await scheduler.exchange.learn_delay(slot, min(delay, LONGEST_DELAY))


def _asked(request: Request) -> str:
    """Return the URL that was asked for, whatever it was redirected to."""
    urls: list[str] = request.meta.get("redirect_urls") or [request.url]
    return urls[0]


def site_of(request: Request) -> str:
    """Return scheme, host and port of the site whose file *request* asks for."""
    url = urlsplit(_asked(request))
    return f"{url.scheme}://{url.netloc}"


def delay_of(body: bytes, agent: str) -> float:
    """Return the seconds between two requests that a robots.txt asks *agent* for; 0: none."""
    rules = Protego.parse(body.decode("utf-8", "replace"))
    rate = rules.request_rate(agent)
    spacing = rate.seconds / rate.requests if rate and rate.requests else 0.0
    return max(float(rules.crawl_delay(agent) or 0.0), float(spacing))
