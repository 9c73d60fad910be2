"""One worker's metrics."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import scrapy
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crawlo_scrapy import __version__
from crawlo_scrapy.metrics import table
from crawlo_scrapy.metrics.labels import Labels

#: Stats of others that are shown; a spider that counts by URL must not fill a Prometheus.
MOST_OTHERS = 500


def worker_registry(
    read: Callable[[], Mapping[str, Any]], labels: Mapping[str, str]
) -> CollectorRegistry:
    """Return what shows a worker's stats, which *read* returns, and its process."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(read, labels))
    return registry


class WorkerCollector(Collector):
    """Makes metrics of stats whenever it is asked for them. Nothing is counted here."""

    def __init__(self, read: Callable[[], Mapping[str, Any]], labels: Mapping[str, str]) -> None:
        self._read = read
        self._labels = Labels(labels)
        self._process = ProcessCollector(registry=None)
        shown = [metric for metric in table.WORKER_METRICS if metric.stat[0] not in "(-"]
        self._patterns = [(metric, metric.pattern()) for metric in shown]

    def describe(self) -> list[Metric]:
        # Otherwise the registry would collect once to find out the names.
        return []

    def collect(self) -> Iterator[Metric]:
        # Another thread counts meanwhile; CPython copies a dictionary in one step.
        left = dict(self._read())
        for key in table.OTHERWISE_TOLD:
            left.pop(key, None)
        for metric, pattern in self._patterns:
            family = self._family(metric)
            found = [(key, match) for key in left if (match := pattern.fullmatch(str(key)))]
            for key, match in found:
                value = _number(left.pop(key))
                if value is not None:
                    self._labels.add(family, value, **match.groupdict())
            if metric.kind == "counter" and not metric.labels and not found:
                self._labels.add(family, 0)  # so that its first increase shows as one
            yield family
        yield self._info()
        yield self._others(left)
        for of_process in self._process.collect():
            self._labels.add_to(of_process)
            yield of_process

    def _family(self, metric: table.Metric) -> CounterMetricFamily | GaugeMetricFamily:
        family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        return family(metric.name, metric.doc, labels=self._labels.names(*metric.labels))

    def _info(self) -> Metric:
        labels = {
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "version": __version__,
            "scrapy": scrapy.__version__,
            "python": platform.python_version(),
        }
        row = next(m for m in table.WORKER_METRICS if m.stat == "-")
        family = GaugeMetricFamily(row.name, row.doc, labels=self._labels.names(*labels))
        self._labels.add(family, 1, **labels)
        return family

    def _others(self, stats: Mapping[str, Any]) -> Metric:
        row = table.WORKER_METRICS[-1]
        family = GaugeMetricFamily(row.name, row.doc, labels=self._labels.names("key"))
        numbers = {str(key): _number(value) for key, value in stats.items()}
        shown = sorted(key for key, value in numbers.items() if value is not None)[:MOST_OTHERS]
        for key in shown:
            self._labels.add(family, numbers[key], key=key)
        return family


def _number(value: Any) -> float | None:
    """Return a stat as a number; None when it is none."""
    try:
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    except (OverflowError, ValueError):
        return None
    # The state of crawlo_scrapy.extensions.health.
    return {"ok": 1.0, "degraded": 0.0}.get(value) if isinstance(value, str) else None
