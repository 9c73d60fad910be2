"""The only file that touches what Scrapy's engine does not document.

Written against Scrapy 2.13 to 2.19. What is used is verified when a spider opens; a Scrapy that
is built differently is refused rather than trusted with somebody's requests.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import scrapy
from pydispatch import dispatcher
from scrapy import signals
from scrapy.utils.reactor import is_asyncio_reactor_installed
from twisted.internet.defer import Deferred

from crawlo_scrapy.store.errors import StoreError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)


class UnknownEngine(StoreError):
    """This Scrapy's engine is not built as we need it."""


class WrongReactor(StoreError):
    """The crawl does not run on asyncio."""


def asyncio_available() -> bool:
    """Whether there is an asyncio event loop."""
    try:
        from scrapy.utils.asyncio import is_asyncio_available
    except ImportError:  # Scrapy 2.13
        is_asyncio_available = is_asyncio_reactor_installed
    return bool(is_asyncio_available())


def require_asyncio() -> None:
    """Raise `WrongReactor` unless there is an asyncio event loop to run the exchange on."""
    if not asyncio_available():
        raise WrongReactor(
            "crawlo_scrapy needs the asyncio reactor. Set TWISTED_REACTOR = "
            "'twisted.internet.asyncioreactor.AsyncioSelectorReactor' in settings.py (it is "
            "Scrapy's default), and do not install another reactor before the crawl starts."
        )


class Engine:
    """The engine of one crawler. Until `check` has returned, only `close` may be called."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._engine: Any = crawler.engine
        self._slot: Any = getattr(self._engine, "_slot", None)

    def check(self) -> None:
        """Raise `UnknownEngine` unless the engine is what we know."""
        slot, engine = self._slot, self._engine
        known = (
            isinstance(getattr(slot, "inprogress", None), set)
            and callable(getattr(getattr(slot, "nextcall", None), "schedule", None))
            and hasattr(engine, "scraper")
            and isinstance(getattr(getattr(engine, "downloader", None), "active", None), set)
            and isinstance(getattr(engine.downloader, "slots", None), dict)
            and callable(getattr(engine, "needs_backout", None))
            and callable(getattr(engine, "_process_start_next", None))
            and (hasattr(engine, "close_spider_async") or hasattr(engine, "close_spider"))
        )
        if not known:
            raise UnknownEngine(
                f"crawlo_scrapy does not know the engine of Scrapy {scrapy.__version__} "
                f"({type(engine).__module__}.{type(engine).__qualname__}): it cannot tell when a "
                "request is done, and would lose pages. Use Scrapy 2.13 to 2.19, or a newer "
                "version of crawlo_scrapy, and do not replace the engine."
            )

    def has(self, request: Request) -> bool:
        """Whether *request* is between its hand-out and the end of its callback and items.

        The second test covers `engine.download_async(response.request)` inside a callback,
        which takes the request out of the first set too early.
        """
        if request in self._slot.inprogress:
            return True
        scraper_slot = self._engine.scraper.slot
        return scraper_slot is not None and request in scraper_slot.active

    @property
    def concurrency(self) -> int:
        """How many requests are downloaded at the same time at most."""
        return int(self._engine.downloader.total_concurrency)

    @property
    def free(self) -> int:
        """How many more requests the downloader takes now."""
        return max(0, self.concurrency - len(self._engine.downloader.active))

    def set_concurrency(self, concurrency: int) -> None:
        """Let the downloader have so many requests."""
        self._engine.downloader.total_concurrency = concurrency
        self.wake()

    @property
    def slot_concurrency(self) -> int:
        """How many requests a slot has at most, unless it has a limit of its own."""
        return int(self._engine.downloader.domain_concurrency)

    def set_slot_concurrency(self, concurrency: int) -> None:
        """Let each slot have so many requests; not those with a limit of their own."""
        downloader = self._engine.downloader
        downloader.domain_concurrency = concurrency
        for name, slot in downloader.slots.items():
            if name not in downloader.per_slot_settings:
                slot.concurrency = concurrency

    @property
    def delay(self) -> float:
        """How many seconds this node leaves between two requests of a slot without its own."""
        own = self._crawler.settings.getfloat("DOWNLOAD_DELAY")
        return float(getattr(self._crawler.spider, "download_delay", own))

    def set_delay(self, seconds: float) -> None:
        """Have this node leave so many seconds between two requests of a slot."""
        downloader = self._engine.downloader
        spider: Any = self._crawler.spider
        spider.download_delay = seconds  # what slots to come are made with
        for name, slot in downloader.slots.items():
            if name not in downloader.per_slot_settings:
                slot.delay = seconds

    def busy(self, slot: str) -> int:
        """How many requests of a slot the downloader has."""
        found = self._engine.downloader.slots.get(slot)
        return len(found.active) if found is not None else 0

    def is_full(self, slot: str) -> bool:
        """Whether another request of this slot would only wait: one waits already."""
        found = self._engine.downloader.slots.get(slot)
        return found is not None and len(found.active) > found.concurrency

    def delay_of(self, slot: str) -> float:
        """The longest time that this node leaves between two requests of a slot, in seconds."""
        found = self._engine.downloader.slots.get(slot)
        if found is None or not found.delay:
            return 0.0
        return float(found.delay * (1 + getattr(found, "jitter", 0.5)))  # Scrapy < 2.19: 50 %

    def wake(self) -> None:
        """Make the engine ask for requests now, and not at its next turn in five seconds."""
        if self._slot.closing is None:
            self._slot.nextcall.schedule()

    @property
    def closing(self) -> bool:
        return getattr(self._slot, "closing", None) is not None

    async def restart(self) -> None:
        """Iterate the spider's `start()` anew, as the engine does when it opens the spider."""
        engine = self._engine
        process_start = engine.scraper.spidermw.process_start
        wants_spider = signature(process_start).parameters["spider"].default is Parameter.empty
        engine._start = await process_start(*[engine.spider] if wants_spider else [])
        while engine._start is not None and engine.spider and not self.closing:
            await engine._process_start_next()
            self.wake()
            await asyncio.sleep(0)

    def close(self, reason: str) -> None:
        """Close the spider, as if a component had asked for it."""
        from twisted.internet import reactor

        clock: Any = reactor
        # Not at once: the engine may be in the middle of asking us for a request.
        clock.callLater(0, self._close, reason)

    def _close(self, reason: str) -> None:
        engine = self._engine
        if engine.spider is None or self.closing:
            return
        if hasattr(engine, "close_spider_async"):
            # Also on the reactor that we refuse.
            run: Any = asyncio.ensure_future if asyncio_available() else Deferred.fromCoroutine
            self._closing = run(engine.close_spider_async(reason=reason))
        else:
            engine.close_spider(engine.spider, reason)


def feeds_itself(crawler: Crawler) -> bool:
    """Whether the project has a `spider_idle` handler, which may come up with requests."""
    sender: Any = crawler.signals.sender
    handlers = dispatcher.liveReceivers(dispatcher.getAllReceivers(sender, signals.spider_idle))
    owners = {str(getattr(handler, "__module__", "")).partition(".")[0] for handler in handlers}
    return bool(owners - {"scrapy", "crawlo_scrapy"})


def scheduler_of(crawler: Crawler) -> Any:
    """Return the scheduler that the engine of *crawler* uses, or None before it has one."""
    slot = getattr(crawler.engine, "_slot", None)
    return getattr(slot, "scheduler", None)


def owns_process(crawler: Crawler) -> bool:
    """Whether SIGTERM ends *crawler* and nothing else: Scrapy heeds it, and runs no other crawl."""
    process = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(process, "crawlers", None) == {crawler}


def fail_command(crawler: Crawler) -> None:
    """Make `scrapy crawl` exit with status 1 although the spider was closed in good order.

    The command reports failure when a crawler ends without a spider.
    """
    crawler.spider = None


def close_at_start(crawler: Crawler, why: Exception, reason: str = "invalid_setting") -> None:
    """Let the spider close once it is open, with one line in the log and exit status 1."""
    logger.error("%s", why)

    def close() -> None:
        Engine(crawler).close(reason)

    # Strongly held: the signals' own references are weak.
    crawler.signals.connect(close, signals.spider_opened, weak=False)
    crawler.signals.connect(lambda: fail_command(crawler), signals.engine_stopped, weak=False)
