"""A worker looks at itself now and then, and says when something is wrong, and when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scrapy import signals
from scrapy.exceptions import NotConfigured
from scrapy.extensions.memusage import MemoryUsage

from crawlo_scrapy import settings as ours
from crawlo_scrapy.engine import asyncio_available
from crawlo_scrapy.pipelines.base import names_for
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.names import fill_path

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Time between two looks at the event loop, in seconds.
PULSE = 0.5
#: The longest time that the event loop may be held up, in seconds.
LAG_LIMIT = 1.0
#: The largest share of downloads that may fail, when there were so many since the last check.
FAILED_SHARE, FAILED_OF = 0.5, 10


class Unchanged:
    """For how long a number has been what it is."""

    def __init__(self) -> None:
        self._value: Any = None
        self._since = time.monotonic()

    def seconds(self, value: Any) -> float:
        now = time.monotonic()
        if value != self._value:
            self._value, self._since = value, now
        return now - self._since


class HealthCheck:
    """Checks one worker every *interval* seconds: event loop, Redis, downloads, memory.

    The state is logged when it changes, stands in the stats under ``crawlo/health/``, and in
    *file* while the worker runs, if there is to be one.
    """

    def __init__(self, crawler: Crawler, interval: float, file: str | None) -> None:
        self._crawler = crawler
        self._interval = interval
        self._file = file
        self._silence: float = ours.get(crawler.settings, "CRAWLO_WORKER_TIMEOUT")
        self._patience = crawler.settings.getfloat("DOWNLOAD_TIMEOUT") + interval
        self._begun = self._ended = self._answered = 0
        self._ended_before = self._answered_before = 0
        self._exchanged, self._downloaded = Unchanged(), Unchanged()
        self._lag = 0.0
        self._known: set[str] | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        settings = crawler.settings
        if not ours.get(settings, "HEALTH_CHECK_ENABLED") or not asyncio_available():
            raise NotConfigured
        file = ours.get(settings, "CRAWLO_HEALTH_FILE")
        try:
            file = file and fill_path(file, names_for(crawler))
        except StorageError as exc:
            raise NotConfigured(f"CRAWLO_HEALTH_FILE: {exc}") from None
        check = cls(crawler, ours.get(settings, "HEALTH_CHECK_INTERVAL"), file)
        for handler, signal in (
            (check._start, signals.engine_started),
            (check._stop, signals.engine_stopped),
            (check._on_begin, signals.request_reached_downloader),
            (check._on_end, signals.request_left_downloader),
            (check._on_answer, signals.response_downloaded),
        ):
            crawler.signals.connect(handler, signal)
        return check

    def _start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._file:
            with contextlib.suppress(OSError):
                os.unlink(self._file)

    def _on_begin(self) -> None:
        self._begun += 1

    def _on_end(self) -> None:
        self._ended += 1

    def _on_answer(self, response: Response) -> None:
        self._answered += response.status < 500 and response.status != 429

    async def _run(self) -> None:
        pulse = min(PULSE, self._interval)
        due = time.monotonic() + self._interval
        while True:
            before = time.monotonic()
            await asyncio.sleep(pulse)
            now = time.monotonic()
            self._lag = max(self._lag, now - before - pulse)
            self._look()
            if now >= due:
                due = now + self._interval
                self.check()

    def _look(self) -> tuple[float, float]:
        """Return for how many seconds there was no exchange with Redis, and no download ended."""
        exchanges = self._crawler.stats.get_value("crawlo/exchanges")
        ended = self._ended if self._begun > self._ended else None
        return self._exchanged.seconds(exchanges), self._downloaded.seconds(ended)

    def check(self) -> None:
        """Look at everything once, and tell."""
        stats = self._crawler.stats
        problems = dict(self._problems())
        stats.set_value("crawlo/health/state", "degraded" if problems else "ok")
        stats.max_value("crawlo/health/lag", round(self._lag, 3))
        if set(problems) != self._known:
            if not problems:
                logger.info("Health: ok")
            else:
                logger.warning("Health: degraded: %s", "; ".join(problems.values()))
                if not self._known:
                    stats.inc_value("crawlo/health/degraded")
        self._known = set(problems)
        self._lag = 0.0
        self._ended_before, self._answered_before = self._ended, self._answered
        if self._file:
            self._write(self._file, problems)

    def _problems(self) -> Iterator[tuple[str, str]]:
        silent, stuck = self._look()
        if self._lag > LAG_LIMIT:
            yield "loop", f"the event loop was held up for {self._lag:.1f} s: something blocks it"
        if silent > self._silence and self._crawler.stats.get_value("crawlo/exchanges"):
            yield "redis", f"no exchange with Redis for {silent:.0f} s"
        if stuck > self._patience and self._begun > self._ended:
            yield (
                "downloads",
                f"{self._begun - self._ended} downloads open, none ended for {stuck:.0f} s",
            )
        ended = self._ended - self._ended_before
        failed = ended - (self._answered - self._answered_before)
        if ended >= FAILED_OF and failed > ended * FAILED_SHARE:
            yield "failures", f"{failed} of {ended} downloads failed"
        memory = self._crawler.get_extension(MemoryUsage)
        if memory and 0 < memory.warning < (size := memory.get_virtual_size()):
            yield "memory", f"{size >> 20} MiB of memory"

    def _write(self, file: str, problems: dict[str, str]) -> None:
        state = {"state": "degraded" if problems else "ok", "problems": problems}
        try:
            os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
            with open(f"{file}.new", "w", encoding="utf-8") as new:
                json.dump({**state, "time": round(time.time(), 3)}, new)
            os.replace(f"{file}.new", file)
        except OSError as exc:
            logger.error("CRAWLO_HEALTH_FILE: cannot write %s: %s", file, exc.strerror)
            self._file = None
