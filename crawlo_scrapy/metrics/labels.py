"""Labels that every metric of a worker or a crawl has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from crawlo_scrapy.metrics import table
from crawlo_scrapy.settings import SettingError

_OWN = {"crawl", "node", "key", "host", "pid", "version", "scrapy", "python", "le", "quantile"}
RESERVED = _OWN.union(*(metric.labels for metric in table.WORKER_METRICS))


class Labels:
    """Adds samples that have the labels of *fixed* besides their own."""

    def __init__(self, fixed: Mapping[str, str]) -> None:
        self._fixed = dict(fixed)

    def names(self, *own: str) -> list[str]:
        return [*self._fixed, *own]

    def add(
        self, family: CounterMetricFamily | GaugeMetricFamily, value: float | None, **own: str
    ) -> None:
        """Add a sample to *family*, which was made with `names` of the same labels."""
        if value is not None:
            family.add_metric([*self._fixed.values(), *own.values()], value)

    def add_to(self, family: Metric) -> None:
        """Add the fixed labels to samples that another collector made."""
        family.samples = [s._replace(labels={**s.labels, **self._fixed}) for s in family.samples]


def labels_of(value: Mapping[str, Any]) -> dict[str, str]:
    """Return PROMETHEUS_LABELS as Prometheus takes it. Raises `SettingError`."""
    for name in value:
        if not re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", str(name)):
            raise SettingError(
                f"PROMETHEUS_LABELS: {name!r} is not the name of a label: letters, digits and _, "
                "no digit first, and no two _"
            )
        if name in RESERVED:
            raise SettingError(
                f"PROMETHEUS_LABELS: {name!r} is a label that metrics have already: "
                "choose another name"
            )
    return {str(name): str(text) for name, text in value.items()}
