"""A worker's metrics, for Prometheus to fetch or for its Pushgateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.exceptions import NotConfigured

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.engine import asyncio_available, close_at_start
from crawlo_scrapy.metrics import require_client
from crawlo_scrapy.settings import SettingError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

    from crawlo_scrapy.metrics.serving import MetricsServer, Pushgateway

logger = logging.getLogger(__name__)


class MetricsExtension:
    """Shows what the stats of this worker say at the moment when somebody asks.

    Served on PROMETHEUS_METRICS_PORT where that is set, pushed where
    PROMETHEUS_PUSHGATEWAY_URL is; without either the extension is off.
    """

    def __init__(self, crawler: Crawler) -> None:
        from crawlo_scrapy.metrics.labels import labels_of
        from crawlo_scrapy.metrics.serving import Pushgateway
        from crawlo_scrapy.metrics.worker import worker_registry

        settings, spider = crawler.settings, crawler.spider or crawler.spidercls
        who = {
            "crawl": connection.keys(settings, spider.name).name,
            "node": connection.node_id(settings),
        }
        labels = {**who, **labels_of(ours.get(settings, "PROMETHEUS_LABELS"))}
        stats: Any = crawler.stats
        self._registry = worker_registry(stats.get_stats, labels)
        self._port: int | None = ours.get(settings, "PROMETHEUS_METRICS_PORT")
        if not _is_served(settings):
            self._port = None
        self._host: str = ours.get(settings, "PROMETHEUS_METRICS_HOST")
        url = ours.get(settings, "PROMETHEUS_PUSHGATEWAY_URL")
        self._gateway: Pushgateway | None = url and Pushgateway(url, self._registry, who)
        self._interval: float = ours.get(settings, "PROMETHEUS_PUSH_INTERVAL")
        self._server: MetricsServer | None = None
        self._failing = False
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not wanted(settings) or not asyncio_available():
            raise NotConfigured
        try:
            require_client("PROMETHEUS_METRICS_PORT or PROMETHEUS_PUSHGATEWAY_URL")
            extension = cls(crawler)
        except SettingError as exc:
            close_at_start(crawler, exc)
            raise NotConfigured from None
        crawler.signals.connect(extension._open, signals.spider_opened)
        crawler.signals.connect(extension._close, signals.engine_stopped)
        return extension

    def _open(self) -> None:
        if self._port is not None:
            self._tasks.append(asyncio.ensure_future(self._serve(self._port)))
        if self._gateway is not None:
            self._tasks.append(asyncio.ensure_future(self._push_again(self._gateway)))

    async def _serve(self, port: int) -> None:
        from crawlo_scrapy.metrics.serving import PORTS_TRIED, MetricsServer

        try:
            # In a thread: names are looked up.
            server = await asyncio.to_thread(MetricsServer, self._registry, self._host, port)
        except OSError as exc:
            logger.error(
                "No metrics are served: cannot listen on %s, port %d%s: %s. Check "
                "PROMETHEUS_METRICS_HOST and PROMETHEUS_METRICS_PORT.",
                self._host, port, f" to {port + PORTS_TRIED - 1}" if port else "", exc.strerror,
            )  # fmt: skip
            return
        self._server = server
        logger.info(
            "Metrics of this worker are at %s%s%s",
            server.url,
            f" (port {port} is another's)" if port not in (0, server.port) else "",
            ", for this host only: see PROMETHEUS_METRICS_HOST" if server.local else "",
        )

    async def _push_again(self, gateway: Pushgateway) -> None:
        while not self._stop.is_set():
            await self._push(gateway)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._interval)
        await self._push(gateway)  # what the worker has counted in the end

    async def _push(self, gateway: Pushgateway) -> None:
        try:
            await asyncio.to_thread(gateway.push)
        except OSError as exc:
            if not self._failing:
                logger.warning(
                    "Metrics cannot be pushed to %s: %s; trying again", gateway.shown, exc
                )
            self._failing = True
        else:
            if self._failing:
                logger.info("Metrics are pushed to %s again", gateway.shown)
            self._failing = False

    async def _close(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        if self._server is not None:
            await asyncio.to_thread(self._server.close)


def wanted(settings: BaseSettings) -> bool:
    """Whether somebody wants metrics."""
    return _is_served(settings) or bool(settings.get("PROMETHEUS_PUSHGATEWAY_URL"))


def _is_served(settings: BaseSettings) -> bool:
    # By its port, or as Crawlo's users say it.
    backend = str(settings.get("STATS_BACKEND") or "").lower()
    return settings.get("PROMETHEUS_METRICS_PORT") is not None or backend == "prometheus"
