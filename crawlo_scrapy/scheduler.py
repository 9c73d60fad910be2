"""Scrapy's scheduler over the shared frontier."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy import Request, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.exceptions import CloseSpider, DontCloseSpider
from scrapy.utils.misc import build_from_crawler, load_object
from twisted.internet.defer import Deferred

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.assembly import assemble
from crawlo_scrapy.dupefilter import RedisDupeFilter
from crawlo_scrapy.engine import (
    Engine,
    UnknownEngine,
    WrongReactor,
    fail_command,
    feeds_itself,
    owns_process,
    require_asyncio,
    scheduler_of,
)
from crawlo_scrapy.exchange import Exchange
from crawlo_scrapy.inbox import slot_of
from crawlo_scrapy.payload import DELAY_KEY
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.steering import Steering
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import CrawlLost, StoreError
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.seen import split
from crawlo_scrapy.store.slots import Answer, Throttle
from crawlo_scrapy.values import CannotEncode

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from crawlo_scrapy.buffers import Buffers

logger = logging.getLogger(__name__)


#: A process that is older, in seconds, was not started for this crawl: it runs many.
LONGEST_START = 120.0
#: How long after `spider_idle` the engine has begun to close, if it does, in seconds.
VETO_PAUSE = 0.2


class RedisScheduler(BaseScheduler):
    """A scheduler whose queue all workers of a crawl share.

    Nothing that Scrapy calls while it crawls waits for Redis: see `Buffers`.
    """

    #: Whether this process has had a scheduler before; see `_age`.
    _had_one = False

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._stats: Any = crawler.stats
        age = connection.process_age()
        self._age = 0.0 if RedisScheduler._had_one or age > LONGEST_START else age
        RedisScheduler._had_one = True
        self._dupefilter: Any = build_from_crawler(
            load_object(crawler.settings["DUPEFILTER_CLASS"]), crawler
        )
        if any(
            base.__module__.startswith("scrapy_redis.") for base in type(self._dupefilter).__mro__
        ):
            logger.warning(
                "DUPEFILTER_CLASS %s is made for scrapy-redis's scheduler: each worker may crawl "
                "what others have seen. Derive it from crawlo_scrapy.dupefilter.RedisDupeFilter.",
                type(self._dupefilter).__qualname__,
            )
        self._shared_filter = isinstance(self._dupefilter, RedisDupeFilter)
        self._filter: RedisDupeFilter = (
            self._dupefilter if self._shared_filter else RedisDupeFilter(crawler)
        )
        self._told: set[str] = set()
        self._close_reason: str | None = None
        self._failed = self._left = False
        self._exchange: Exchange | None = None
        self._client: Client | None = None
        # For how long this worker stays without work (0: for ever), and why it leaves then.
        self._stays: tuple[float, str] | None = None
        self._idle_since: float | None = None
        #: Called with the close reason, and waited for, while this worker is still in the crawl;
        #: not when it cannot leave in good order.
        self.before_leaving: list[Callable[[str], Awaitable[None]]] = []

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @property
    def membership(self) -> Membership | None:
        """This worker's place in the crawl; None if it has none."""
        return self._registration.member if self._exchange is not None else None

    @property
    def frontier(self) -> Frontier | None:
        """The crawl's frontier; None if this worker has no part in a crawl."""
        return self._frontier if self._exchange is not None else None

    @property
    def exchange(self) -> Exchange | None:
        """This worker's exchange with Redis; None if it has no place in the crawl."""
        return self._exchange

    def keep_alive(self, timeout: float, reason: str) -> None:
        """Stay, and hold the crawl open, when it has nothing to do.

        After *timeout* seconds of that this worker closes with *reason*; 0: never.
        """
        self._stays = (timeout, reason)
        if self._exchange is not None:
            self._exchange.keep_open()

    def seed_again(self, due: int) -> None:
        """Have one worker, whichever asks first, iterate `start()` once more for *due* (ms)."""
        self._seeding.again(due)
        if self._exchange is not None:
            self._exchange.buffers.wake()

    # Opening.

    def open(self, spider: Spider) -> Deferred[None] | None:
        """Join the crawl. A user's mistake closes the spider with one line in the log."""
        self._crawler.signals.connect(self._on_idle, signals.spider_idle)
        self._engine = Engine(self._crawler)
        try:
            self._engine.check()
            require_asyncio()
        except UnknownEngine as exc:
            self._refuse(exc, "unknown_engine")
            return None
        except WrongReactor as exc:
            self._refuse(exc, "wrong_reactor")
            return None
        return _deferred(self._open(spider))

    async def _open(self, spider: Spider) -> None:
        try:
            await self._join(spider)
        except SettingError as exc:
            self._refuse(exc, "invalid_setting")
        except StoreError as exc:
            self._refuse(exc, "redis_unavailable")
        if (opened := self._dupefilter.open()) is not None:
            await opened

    async def _join(self, spider: Spider) -> None:
        settings = self._crawler.settings
        address, node = connection.address(settings), connection.node_id(settings)
        parallel = connection.layout(settings).count
        self._client = Client.connect(address, node, connections=parallel)
        server = await self._client.check_server()
        parts = assemble(
            self._crawler,
            spider,
            self._client,
            self._engine,
            on_duplicate=self._on_duplicate,
            on_rollback=self._on_rollback,
            on_lost=self._on_lost,
            on_stop=self._on_stop,
        )
        self._frontier, self._seeding, self._serializer = (
            parts.frontier, parts.seeding, parts.serializer
        )  # fmt: skip
        registration, exchange, keys = parts.registration, parts.exchange, parts.frontier.keys
        self._registration = registration
        limits = connection.slot_limits(settings)
        status = await registration.join(self._age)
        if status == "stopping":
            self._close_reason = "stopped"
            logger.info(
                "The crawl %s is being stopped. Start a worker once the others have left, or use "
                "`crawlo-scrapy resume`.",
                keys.name,
            )
            return
        if status == "finished":
            self._close_reason = "finished"
            logger.info(
                "The crawl %s is finished; this worker has nothing to do. %s",
                keys.name,
                "Give another CRAWLO_CRAWL_ID to crawl again."
                if ours.get(settings, "CRAWLO_CRAWL_ID")
                else "Start it again to crawl again.",
            )
            return
        logger.info(
            "Joined the crawl %s as %s (run %d) on %s at %s",
            keys.name, node, registration.member.run, server, address,
        )  # fmt: skip
        adapted = ours.get(settings, "CRAWLO_AUTOTHROTTLE")
        learned = settings.getbool("ROBOTSTXT_OBEY") and ours.get(settings, "CRAWLO_ROBOTS_DELAY")
        try:
            await exchange.join(limits, adapted=adapted, learned=learned)
        except StoreError:
            registration.stop_heartbeat()
            raise
        self._exchange = exchange
        if ours.get(settings, "CRAWLO_KEEP_ALIVE") or ours.get(settings, "CRAWLO_SEED_CRON"):
            self.keep_alive(ours.get(settings, "DISTRIBUTED_WORKER_IDLE_TIMEOUT"), "idle_timeout")
        if feeds_itself(self._crawler):
            # Before it was asked once, nobody can say that the crawl is finished.
            exchange.keep_open()
        exchange.steering = Steering(node, self._engine, exchange, self._filter.forget_all)
        exchange.start()

    def _refuse(self, exc: Exception, reason: str) -> None:
        logger.error("Cannot take part in the crawl: %s", exc)
        self._close_reason = reason
        self._failed = True
        self._crawler.signals.connect(self._fail, signals.engine_stopped)

    def _fail(self) -> None:
        fail_command(self._crawler)

    # What the engine calls while it crawls: memory only.

    def enqueue_request(self, request: Request) -> bool:
        """Take a request in; False when it is a duplicate or cannot be taken."""
        exchange = self._exchange
        if exchange is None:
            return False
        try:
            return self._enqueue(request, exchange.buffers)
        except Exception as exc:
            # Fingerprinters are the project's own; an error must not hang the engine.
            logger.exception("Cannot queue %s; kept as a dead letter", request)
            self._stats.inc_value("crawlo/enqueue_errors")
            self.bury(request, "fingerprint", f"{type(exc).__name__}: {exc}")
            return False

    def _enqueue(self, request: Request, buffers: Buffers) -> bool:
        wanted = request.dont_filter
        if not self._shared_filter and not wanted:
            if self._dupefilter.request_seen(request):
                self._dupefilter.log(request, self._crawler.spider)
                return False
            wanted = True
        key = self._filter.local_key(request)
        if not wanted and self._filter.knows(key):
            self._dupefilter.log(request, self._crawler.spider)
            return False
        prefix, member = split(self._filter.fingerprint(request))
        mode = self._seeding.mode_of(request, member) or ("n" if wanted else "f")
        delay_ms = _take_delay(request)
        try:
            payload = self._serializer.encode(request)
        except CannotEncode as exc:
            push = None if wanted else Push("c", prefix, member, "", 0, b"")
            self._keep_local(request, push, exc, buffers)
        else:
            slot, priority = slot_of(request), request.priority
            push = Push(mode, prefix, member, slot, priority, payload, delay_ms)
            buffers.offer(push, request)
            self._stats.inc_value("scheduler/enqueued/redis")
        self._filter.remember(key)
        self._stats.inc_value("scheduler/enqueued")
        return True

    def _keep_local(
        self, request: Request, push: Push | None, exc: CannotEncode, buffers: Buffers
    ) -> None:
        kind = str(exc)
        if kind not in self._told:
            self._told.add(kind)
            logger.warning(
                "Request %s cannot leave this worker: %s. It is crawled from this worker's "
                "memory (no more such requests will be shown; see scheduler/unserializable)",
                request, exc,
            )  # fmt: skip
        buffers.offer_local(push, request)
        self._stats.inc_value("scheduler/unserializable")
        self._stats.inc_value("scheduler/enqueued/memory")

    def bury(self, request: Request, reason: str, error: str) -> None:
        """Keep a request that was given up as a dead letter. *reason* is one word."""
        if self._exchange is not None:
            self._exchange.buffers.bury(self._bare_push(request), reason, error)

    def hold(self, request: Request, seconds: float) -> None:
        """Let no worker start another request of this one's slot for so long."""
        if self._exchange is not None:
            self._exchange.hold(slot_of(request), seconds)

    def throttle(self, throttle: Throttle) -> None:
        """Have the delays of slots adapted to what all workers see."""
        if self._exchange is not None:
            self._exchange.throttle = throttle

    def answered(self, request: Request, latency: float, success: bool) -> None:
        """Tell that the site of *request* took *latency* seconds, for `throttle`."""
        if self._exchange is not None:
            self._exchange.answered(Answer(slot_of(request), latency, success))

    def _bare_push(self, request: Request) -> Push:
        try:
            payload = self._serializer.encode(request)
        except Exception:
            # Whatever is wrong with it, its URL can be kept.
            payload = self._serializer.encode_url(request.url)
        try:
            slot = slot_of(request)
        except ValueError:  # a URL that does not parse has no host
            slot = ""
        return Push("n", 0, 0, slot, request.priority, payload)

    def next_request(self) -> Request | None:
        """Hand out a request that this worker has leased, or None."""
        exchange = self._exchange
        if self._close_reason is not None:
            self._engine.close(self._close_reason)
            return None
        if exchange is None:
            return None
        request = exchange.buffers.take()
        if request is not None:
            self._idle_since = None
            self._stats.inc_value("scheduler/dequeued")
            self._stats.inc_value("scheduler/dequeued/redis")
        return request

    def has_pending_requests(self) -> bool:
        """Whether this worker has, or Redis lately had, requests."""
        if self._close_reason is not None:
            return True  # closed by us, with our reason
        return self._exchange is not None and self._exchange.buffers.pending

    def __len__(self) -> int:
        return int(self.has_pending_requests())

    def _on_idle(self) -> None:
        if self._exchange is None or not self._exchange.may_close:
            self._idle_since = None
            raise DontCloseSpider
        if self._stays is not None:
            self._stay(*self._stays)
        asyncio.get_running_loop().call_later(VETO_PAUSE, self._look_for_veto, self._exchange)

    def _stay(self, timeout: float, reason: str) -> NoReturn:
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        if not timeout or now - self._idle_since < timeout:
            raise DontCloseSpider
        raise CloseSpider(reason)

    def _look_for_veto(self, exchange: Exchange) -> None:
        # The engine closes now, unless another handler raised DontCloseSpider or fed requests.
        if not self._engine.closing:
            exchange.keep_open()

    # What the exchange reports.

    def _on_duplicate(self, request: Request) -> None:
        self._dupefilter.log(request, self._crawler.spider)
        self._crawler.signals.send_catch_log(
            signals.request_dropped, request=request, spider=self._crawler.spider
        )

    def _on_rollback(self) -> None:
        self._filter.forget_all()
        self._seeding.interrupted()

    def _on_lost(self, exc: CrawlLost) -> None:
        if exc.reason == "finished":
            logger.info("%s", exc)
        else:
            logger.error("%s", exc)
            self._crawler.signals.connect(self._fail, signals.engine_stopped)
        self._registration.stop_heartbeat()
        self._engine.close(exc.reason)

    def _on_stop(self, reason: str, now: bool) -> None:
        logger.info("Leaving the crawl: %s%s", reason, ", at once" if now else "")
        if now:
            self._leaving = asyncio.ensure_future(self._leave_now(reason))
        else:
            self._engine.close(reason)

    async def _leave_now(self, reason: str) -> None:
        """Give back all that this worker has, leave, and end as after a second Ctrl-C.

        Where the process has more to do than this crawl, only the spider closes.
        """
        assert self._exchange is not None
        await self._leave(self._exchange, reason)
        if not owns_process(self._crawler):
            # What is in progress comes to its end; others have it already.
            self._engine.close(reason)
            return
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    async def seed(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield what the spider's `start()` yields, if it is for this worker to seed."""
        if self._exchange is None:
            return
        buffers = self._exchange.buffers
        async with contextlib.aclosing(self._seeding.stream(start, buffers)) as stream:  # type: ignore[type-var]
            async for item in stream:
                yield item

    # Closing.

    def close(self, reason: str) -> Deferred[None] | None:
        """Flush, ack what is done, give back what was not started, leave the registry."""
        if self._client is None:
            return None
        return _deferred(self._close(reason))

    async def _close(self, reason: str) -> None:
        assert self._client is not None
        try:
            if self._exchange is not None:
                await self._leave(self._exchange, reason)
        finally:
            if self._exchange is not None:
                self._registration.stop_heartbeat()
            await self._client.close()
            if (closed := self._dupefilter.close(reason)) is not None:
                await closed

    async def _leave(self, exchange: Exchange, reason: str) -> None:
        if self._left:
            return
        self._left = True
        over = exchange.may_close and not exchange.finished
        over = over and reason in ("finished", *(self._stays or ())[1:])
        if over:
            exchange.keep_open(False)
        flushed = await exchange.close()
        if over and flushed:
            # What kept the crawl open is gone: the last one to go finishes it.
            with contextlib.suppress(StoreError):
                await self._registration.finish()
        if flushed:
            for call in self.before_leaving:
                await call(reason)
        self._registration.stop_heartbeat()
        if exchange.lost:
            return
        if not flushed:
            logger.warning(
                "Could not tell Redis that this worker leaves. Nothing is lost: once it counts "
                "as dead, others take over what it held, and some pages are crawled again."
            )
            return
        try:
            await exchange.leave(reason)
        except StoreError as exc:
            logger.warning("Could not leave the registry: %s", exc)


def shared_scheduler(crawler: Crawler) -> RedisScheduler | None:
    """Return the scheduler of *crawler* if it is one of a shared crawl."""
    scheduler = scheduler_of(crawler)
    # Not isinstance(): by Scrapy's metaclass every scheduler is an instance of every other's class.
    return scheduler if RedisScheduler in type(scheduler).__mro__ else None


def _take_delay(request: Request) -> int:
    """Take the delay out of the request's meta, which what comes of it may copy; in ms."""
    try:
        return max(0, round(1000 * float(request.meta.pop(DELAY_KEY, 0.0))))
    except (TypeError, ValueError, OverflowError):
        logger.warning("%s in the meta of %s is not a number of seconds", DELAY_KEY, request)
        return 0


def _deferred(awaitable: Awaitable[None]) -> Deferred[None]:
    return Deferred.fromFuture(asyncio.ensure_future(awaitable))
