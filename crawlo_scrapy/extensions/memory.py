"""A worker that needs too much memory warns, then leaves, and others take over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.extensions.memusage import MemoryUsage

from crawlo_scrapy.config.memory import container_limit_mb
from crawlo_scrapy.engine import fail_command
from crawlo_scrapy.extensions.stats import resident_memory
from crawlo_scrapy.scheduler import shared_scheduler

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

#: Shares of a container's memory at which a worker warns and leaves, unless settings say less.
WARNING_SHARE, LIMIT_SHARE = 0.8, 0.9
_MB = 2**20


class MemoryUsageExtension(MemoryUsage):
    """Scrapy's MemoryUsage with its settings and stats, made for one worker of many.

    It measures what the process has now, where Scrapy's takes the largest it ever had. A
    container's limit counts as well: beyond it the kernel kills. Who leaves a shared crawl for
    its memory exits with status 1, for a supervisor to start a fresh process.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._leaving = False
        container = container_limit_mb() * _MB
        if container and not 0 < self.limit < container:
            self.limit = int(container * LIMIT_SHARE)
            if not 0 < self.warning < self.limit:
                self.warning = int(container * WARNING_SHARE)
            logger.info(
                "This container may use %d MiB: warning at %d MiB, leaving at %d MiB",
                container / _MB, self.warning / _MB, self.limit / _MB,
            )  # fmt: skip

    def get_virtual_size(self) -> int:
        return resident_memory()

    def update(self) -> None:
        # The largest there ever was is what Scrapy measures.
        self.crawler.stats.max_value("memusage/max", super().get_virtual_size())

    def _check_limit(self) -> None:
        # Scrapy's says so again each time, and otherwise calls it the peak.
        if self.get_virtual_size() > self.limit and not self._leaving:
            self._leaving = True
            if shared_scheduler(self.crawler) is not None:
                self.crawler.signals.connect(self._fail, signals.engine_stopped)
            super()._check_limit()

    def _fail(self) -> None:
        if self.crawler.stats.get_value("finish_reason") == "memusage_exceeded":
            fail_command(self.crawler)
