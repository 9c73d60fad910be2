"""A worker obeys what is wanted of its crawl while it runs; see `store.control.Control`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.exchange import Exchange

logger = logging.getLogger(__name__)


def _log_level(value: str) -> str:
    level = value.upper()
    if level not in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
        raise ValueError("must be CRITICAL, ERROR, WARNING, INFO or DEBUG")
    return level


def _at_least(kind: type[int] | type[float], least: float) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = kind(least - 1)
        if number < least:
            raise ValueError(f"must be a number, {least:g} or more")
        return number

    return parse


#: Settings that can change while a crawl runs, and how their values are read.
CHANGEABLE: Mapping[str, Callable[[str], Any]] = {
    "LOG_LEVEL": _log_level,
    "CONCURRENT_REQUESTS": _at_least(int, 1),
    "CONCURRENT_REQUESTS_PER_DOMAIN": _at_least(int, 1),
    "DOWNLOAD_DELAY": _at_least(float, 0),
    "CRAWLO_PREFETCH": _at_least(int, 1),
    "CRAWLO_EXCHANGE_INTERVAL": _at_least(float, 0.001),
}


class Steering:
    """Applies to one worker, *node*, what stands in the crawl's control."""

    def __init__(self, node: str, engine: Engine, exchange: Exchange) -> None:
        self._node = node
        self._engine = engine
        self._exchange = exchange
        self._applied: dict[str, str] = {}

    def obey(self, state: str, wanted: Mapping[str, str]) -> str:
        """Apply what is *wanted*; return "drain", "stop" or "now" if this worker is to leave."""
        paused = state == "paused" or f"pause:{self._node}" in wanted
        if self._exchange.buffers.pause(paused):
            logger.info("Paused" if paused else "Going on")
        for name, value in self._settings(wanted).items():
            if self._applied.get(name) != value:
                self._applied[name] = value
                self._set(name, value)
        if state == "stopping":
            return "now" if wanted.get("stop") == "now" else "stop"
        return "drain" if f"drain:{self._node}" in wanted else ""

    def _settings(self, wanted: Mapping[str, str]) -> dict[str, str]:
        found = {
            field.removeprefix("set:"): value
            for field, value in wanted.items()
            if field.startswith("set:")
        }
        concurrency = wanted.get(f"concurrency:{self._node}") or wanted.get("concurrency")
        if concurrency:
            found["CONCURRENT_REQUESTS"] = concurrency
        return found

    def _set(self, name: str, text: str) -> None:
        try:
            value = CHANGEABLE[name](text)
        except (KeyError, ValueError):
            # From another version of this package, or from somebody who writes to Redis.
            logger.warning("Cannot set %s to %r while the crawl runs", name, text[:80])
            return
        if name == "LOG_LEVEL":
            logging.getLogger().setLevel(value)
            for handler in logging.getLogger().handlers:
                handler.setLevel(value)
        elif name == "CONCURRENT_REQUESTS":
            self._engine.set_concurrency(value)
            self._exchange.buffers.scale(value)
        elif name == "CONCURRENT_REQUESTS_PER_DOMAIN":
            self._engine.set_slot_concurrency(value)
        elif name == "DOWNLOAD_DELAY":
            self._engine.set_delay(value)
        elif name == "CRAWLO_PREFETCH":
            self._exchange.buffers.prefetch = value
        else:
            self._exchange.interval = value
        logger.info("%s is now %s", name, value)
