"""The metrics of crawls, read from Redis each time that somebody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crawlo_scrapy.metrics import table
from crawlo_scrapy.metrics.labels import Labels
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.inspect import CrawlState, find_crawls, inspect_all, keys_of
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import Sample, now_all

logger = logging.getLogger(__name__)

#: Crawls are searched for again after this time, in seconds.
SEARCH = 60.0
#: How long Redis may take to answer all questions of one scrape, in seconds.
PATIENCE = 8.0
STATES = ("running", "paused", "stopping", "finished", "purging")


class Crawls:
    """Looks at the crawls of one Redis, or of one *project* in it, or at *keys* only.

    A worker that was not heard of for *timeout* seconds counts as dead.
    """

    def __init__(
        self,
        client: Client,
        *,
        timeout: float,
        project: str | None = None,
        keys: Keys | None = None,
    ) -> None:
        self.timeout = timeout
        self._client = client
        self._project = project
        self._keys = [] if keys is None else [keys]
        self._search_due = 0.0 if keys is None else float("inf")

    async def look(self) -> list[tuple[CrawlState, Sample]]:
        """Return how the crawls stand, in two round trips. Raises `StoreError`."""
        if time.monotonic() > self._search_due:
            names = await find_crawls(self._client, self._project)
            self._keys = [keys_of(name) for name in names]
            self._search_due = time.monotonic() + SEARCH
        states = await inspect_all(self._client, self._keys)
        found = [pair for pair in zip(self._keys, states, strict=True) if pair[1].exists]
        runs = [(keys, state.run) for keys, state in found]
        samples = await now_all(self._client, runs, self.timeout)
        return [(state, sample) for (_, state), sample in zip(found, samples, strict=True)]


class CrawlsCollector(Collector):
    """Makes metrics of what *crawls* sees. Asked in threads; Redis is spoken to in *loop*."""

    def __init__(
        self, crawls: Crawls, loop: asyncio.AbstractEventLoop, labels: Mapping[str, str]
    ) -> None:
        self._crawls = crawls
        self._loop = loop
        self._labels = Labels(labels)
        self._failing = False

    def describe(self) -> list[Metric]:
        # Otherwise the registry would ask Redis to find out the names.
        return []

    def collect(self) -> Iterator[Metric]:
        begun = time.perf_counter()
        found = self._look()
        families = {}
        for metric in table.CRAWL_METRICS:
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            names = self._labels.names("crawl", *metric.labels)
            families[metric.name.removeprefix(table.CRAWL)] = make(
                metric.name, metric.doc, labels=names
            )
        for state, sample in found or []:
            self._add(families, state, sample)
        yield from families.values()
        yield self._one("crawlo_redis_up", "1 if Redis answered, else 0.", found is not None)
        seconds = time.perf_counter() - begun
        yield self._one(
            "crawlo_exporter_scrape_duration_seconds", "Time that Redis took to answer.", seconds
        )

    def _look(self) -> list[tuple[CrawlState, Sample]] | None:
        looking = asyncio.run_coroutine_threadsafe(
            asyncio.wait_for(self._crawls.look(), PATIENCE), self._loop
        )
        try:
            found = looking.result()
        except (StoreError, asyncio.TimeoutError) as exc:
            if not self._failing:
                logger.warning("%s", exc if str(exc) else "Redis takes too long to answer")
            self._failing = True
            return None
        self._failing = False
        return found

    def _add(self, families: Mapping[str, Any], state: CrawlState, sample: Sample) -> None:
        living = len(state.living(self._crawls.timeout))
        figures = {
            "run": state.run,
            "created_timestamp_seconds": state.created / 1000,
            "finished_timestamp_seconds": state.finished / 1000 or None,
            "queued_requests": state.queued,
            "delayed_requests": state.delayed,
            "leased_requests": state.leased,
            "started_requests": state.started,
            "dead_letters": state.dead,
            "seen_urls": state.seen,
            "memory_bytes": sample.memory,
            "pushed_requests": state.pushed,
            "done_requests": state.acked,
            "pages": sample.pages,
            "items": sample.items,
            "errors": sample.errors,
            "response_bytes": sample.bytes,
        }
        for name, value in figures.items():
            self._labels.add(families[name], value, crawl=state.name)
        for name in dict.fromkeys((*STATES, state.state)):
            self._labels.add(families["state"], name == state.state, crawl=state.name, state=name)
        for name, count in (("alive", living), ("silent", len(state.workers) - living)):
            self._labels.add(families["workers"], count, crawl=state.name, state=name)

    def _one(self, name: str, doc: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, doc, labels=self._labels.names())
        self._labels.add(family, value)
        return family
