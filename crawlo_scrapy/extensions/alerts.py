"""Tells somebody when a crawl is in trouble, and when it is finished: once, whoever notices."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.alerts.channels import channels_of
from crawlo_scrapy.alerts.delivery import LIMIT, Delivery
from crawlo_scrapy.alerts.judge import Look, Memory, judge
from crawlo_scrapy.alerts.notices import Notice, figures_of, plural, span_of
from crawlo_scrapy.alerts.rules import Rule, rules_of
from crawlo_scrapy.engine import close_at_start, scheduler_of
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.statscollector import RedisStatsCollector
from crawlo_scrapy.statssharing import retention
from crawlo_scrapy.store.alerts import Alerts, Claim
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.inspect import CrawlState, inspect_all
from crawlo_scrapy.store.stats import Sample, Stats
from crawlo_scrapy.values import Codec

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Whoever claimed a notice has the right to tell it for so long, in seconds: longer than telling
#: takes.
LEASE = LIMIT + 15.0
#: How long a worker that leaves a finished crawl waits for the last stats of others, and for its
#: own messages to arrive; one that leaves others behind, who would tell in its place. In seconds.
LAST_STATS, LAST_MESSAGES, MESSAGES = 10.0, 30.0, 5.0
#: Time between two looks whether others have written their last stats, in seconds.
PAUSE = 0.2
#: Rules that see nothing while workers do not share their stats.
NEED_STATS = {"error_rate", "memory"}


class AlertsExtension:
    """Looks at the crawl when it is this worker's turn, and tells what *rules* say through
    *delivery*.

    One worker looks every *interval* seconds, whichever comes first, so nobody's death matters.
    What is told is claimed in Redis before, and noted there afterwards.
    """

    def __init__(
        self, crawler: Crawler, rules: list[Rule], delivery: Delivery, interval: float
    ) -> None:
        self._crawler = crawler
        self._rules = rules
        self._delivery = delivery
        self._interval = interval
        self._timeout: float = ours.get(crawler.settings, "CRAWLO_WORKER_TIMEOUT")
        self._node = connection.node_id(crawler.settings)
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._client: Client | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        try:
            rules, channels = rules_of(settings), channels_of(settings)
        except SettingError as exc:
            close_at_start(crawler, exc)
            raise NotConfigured from None
        if not rules:
            raise NotConfigured
        interval = ours.get(settings, "CRAWLO_ALERT_INTERVAL")
        extension = cls(crawler, rules, Delivery(channels), interval)
        crawler.signals.connect(extension._open, signals.spider_opened)
        crawler.signals.connect(extension._close, signals.engine_stopped)
        return extension

    def _open(self) -> None:
        scheduler = scheduler_of(self._crawler)
        if getattr(scheduler, "membership", None) is None:
            return
        settings, spider = self._crawler.settings, self._crawler.spider
        assert spider is not None
        blind = [rule.kind for rule in self._rules if rule.kind in NEED_STATS]
        if blind and not isinstance(self._crawler.stats, RedisStatsCollector):
            logger.warning(
                "CRAWLO_ALERTS: %s will never be raised: STATS_CLASS is not ours", blind[0]
            )
        self._scheduler = scheduler
        self._keys = connection.keys(settings, spider.name)
        self._client = Client.connect(connection.address(settings), f"alerts-{self._node}")
        self._silence = retention(settings).silence
        self._stats = Stats(self._client, self._keys, Codec(), silence=self._silence)
        scheduler.before_leaving.append(self._leave)
        self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                await self._take_turn()
            except StoreError:
                pass  # that Redis is away has been logged
            except Exception:
                # A bug of ours must not end the watch.
                logger.exception("Cannot look after alerts; trying again")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._interval)

    def _alerts(self) -> Alerts:
        # This worker's place changes when it is given up and comes back.
        member = self._scheduler.membership
        assert self._client is not None
        return Alerts(self._client, self._keys, member.run, member.created)

    async def _take_turn(self) -> None:
        alerts = self._alerts()
        # A little less, or a lone worker would come too early every other time.
        turn = await alerts.take_turn(0.8 * self._interval)
        if turn is None:
            return
        memory = Memory.load(turn.memory)
        look = await self._look(alerts, memory)
        memory = memory.after(look)
        await alerts.remember(turn, memory.dump())
        figures = figures_of(look.state, look.now, self._timeout)
        for rule in self._rules:
            verdict = judge(rule, look, memory)
            if verdict is None:
                continue
            claim = await alerts.claim(rule.name, verdict.holds, lease=LEASE, quiet=rule.quiet)
            if claim is not None:
                notice = self._notice(rule, look.state, verdict.holds, verdict.text, figures)
                self._tell(alerts, claim, rule, notice)

    async def _look(self, alerts: Alerts, memory: Memory) -> Look:
        assert self._client is not None
        [state] = await inspect_all(self._client, [self._keys])
        now = await self._stats.now(state.run)
        before: dict[float, Sample | None] = {}
        for rule in self._rules:
            if rule.kind in ("error_rate", "queue_growth"):
                seconds = rule.figures["seconds"]
                before[seconds] = await self._before(state, now, seconds)
        sizes = {}
        if any(rule.kind == "memory" for rule in self._rules):
            since = now.time - round(1000 * self._silence)
            found = await self._stats.of_living("crawlo/memory", run=state.run, since=since)
            sizes = {node.rpartition("+")[0]: float(size) for node, size in found.items()}
        died = await alerts.dead(memory.vanished(state))
        patience = max(60.0, 3 * self._interval)
        return Look(state, now, self._timeout, frozenset(died), before, sizes, patience)

    async def _before(self, state: CrawlState, now: Sample, seconds: float) -> Sample | None:
        then = now.time - round(1000 * seconds)
        if then <= state.created:
            return Sample(state.created)  # of the run so far
        return await self._stats.before(then, run=state.run)

    def _notice(
        self, rule: Rule, state: CrawlState, holds: bool, text: str, figures: dict[str, int]
    ) -> Notice:
        return Notice(
            crawl=state.name, run=state.run, alert=rule.kind, rule=rule.name,
            status="raised" if holds else "recovered", text=text, node=self._node,
            time=state.now / 1000, figures=figures,
        )  # fmt: skip

    def _tell(self, alerts: Alerts, claim: Claim, rule: Rule, notice: Notice) -> None:
        async def tell() -> None:
            try:
                await self._delivery.tell(rule, notice)
                await alerts.settle(claim)
            except StoreError as exc:
                logger.warning("An alert may be told again: %s", exc)
            except Exception:
                logger.exception("An alert was not told")

        task = asyncio.ensure_future(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    # The end.

    async def _leave(self, reason: str) -> None:
        """Tell that the crawl is finished, if nobody has; then let the last messages arrive."""
        await self._stop_watching()
        try:
            if reason == "finished":
                await self._tell_end()
        except StoreError as exc:
            logger.warning("That the crawl is finished was not told: %s", exc)
        except Exception:
            # A bug of ours must not keep the worker from leaving.
            logger.exception("That the crawl is finished was not told")
        if self._telling:
            limit = LAST_MESSAGES if reason == "finished" else MESSAGES
            await asyncio.wait(self._telling, timeout=limit)

    async def _stop_watching(self) -> None:
        self._stop.set()
        if self._watching is not None:
            await self._watching

    async def _tell_end(self) -> None:
        assert self._client is not None
        for rule in self._rules:
            if rule.kind != "finished":
                continue
            [state] = await inspect_all(self._client, [self._keys])
            others = [w for w in state.living(self._timeout) if w.id != self._own_id]
            if state.state != "finished" and (state.queued or state.leased or others):
                return
            alerts = self._alerts()
            claim = await alerts.claim(rule.name, True, lease=LEASE)
            if claim is None:
                continue
            sample = await self._last_sample(state.run)
            notice = self._notice(
                rule, state, True, _end(state, sample), figures_of(state, sample, self._timeout)
            )
            self._tell(alerts, claim, rule, notice)

    @property
    def _own_id(self) -> str:
        return str(self._scheduler.membership.worker_id)

    async def _last_sample(self, run: int) -> Sample:
        """Return the sums of all nodes, once the others have written for the last time."""
        until = time.monotonic() + LAST_STATS
        while time.monotonic() < until and await self._others_count(run):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
        stats: Any = self._crawler.stats
        if isinstance(stats, RedisStatsCollector):
            await stats.get_cluster_stats()  # writes this worker's own
        return await self._stats.now(run)

    async def _others_count(self, run: int) -> bool:
        """Whether another node has not yet written its last stats, and is not dead."""
        now = await self._stats.now(run)
        nodes = (await self._stats.nodes(run)).values()
        silent = now.time - 1000 * self._silence
        return any(
            not node.left and node.written > silent and node.worker_id != self._own_id
            for node in nodes
        )

    async def _close(self) -> None:
        await self._stop_watching()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._client is not None:
            await self._client.close()


def _end(state: CrawlState, sample: Sample) -> str:
    counted = [
        plural(count, noun)
        for count, noun in (
            (sample.pages, "page"), (sample.items, "item"), (sample.errors, "error"),
            (state.dead, "dead letter"),
        )
    ]  # fmt: skip
    span = span_of((state.finished or state.now) - state.created)
    return f"{', '.join(counted if state.dead else counted[:3])} in {span}"
