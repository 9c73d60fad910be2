"""A worker obeys what is wanted of its crawl while it runs; see `store.control.Control`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.exchange import Exchange

logger = logging.getLogger(__name__)


def _log_level(value: str) -> str:
    level = value.upper()
    if level not in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
        raise ValueError("must be CRITICAL, ERROR, WARNING, INFO or DEBUG")
    return level


def _number(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = kind(least - 1)
        if not least <= number <= most:
            raise ValueError(f"must be a number, {least:g} or more, and {most:g} at most")
        return number

    return parse


#: The most requests that a worker, or a slot of it, may be told to have in progress.
MOST_REQUESTS = 10_000

#: Settings that can change while a crawl runs, and how their values are read.
CHANGEABLE: Mapping[str, Callable[[str], Any]] = {
    "LOG_LEVEL": _log_level,
    "CONCURRENT_REQUESTS": _number(int, 1, MOST_REQUESTS),
    "CONCURRENT_REQUESTS_PER_DOMAIN": _number(int, 1, MOST_REQUESTS),
    "DOWNLOAD_DELAY": _number(float, 0, 86_400),
    "CRAWLO_PREFETCH": _number(int, 1, 100_000),
    "CRAWLO_EXCHANGE_INTERVAL": _number(float, 0.001, 60),
}


def slot_doubt(text: str) -> str:
    """Return what to say if *text* has more than a host: a `download_slot` may have any name."""
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname or text
    except ValueError:
        return ""
    if host == text:
        return ""
    return f"Only a download_slot can be called {text!r}; the slot of the host is {host}."


class Steering:
    """Applies to one worker, *node*, what stands in the crawl's control.

    What no longer stands there becomes again what this node had before. *forget* is called when
    the crawl has forgotten URLs.
    """

    def __init__(
        self,
        node: str,
        engine: Engine,
        exchange: Exchange,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._forget = forget
        self._forgot = ""
        self._node = node
        self._engine = engine
        self._exchange = exchange
        # Values of this node's own, and those in force, of each setting that was ever changed.
        self._own: dict[str, Any] = {}
        self._current: dict[str, Any] = {}
        self._refused: dict[str, str] = {}

    def obey(self, state: str, wanted: Mapping[str, str]) -> str:
        """Apply what is *wanted*; return "drain", "stop" or "now" if this worker is to leave."""
        paused = state == "paused" or f"pause:{self._node}" in wanted
        if self._exchange.buffers.pause(paused):
            logger.info("Paused" if paused else "Going on")
        if (forgot := wanted.get("forgot", self._forgot)) != self._forgot:
            self._forgot = forgot
            self._forget()
        given = self._parsed(self._settings(wanted))
        for name, value in self._targets(given).items():
            if self._current[name] != value:
                self._current[name] = value
                self._set(name, value)
                if value == self._own[name] and name not in given:
                    logger.info("%s is again what this node's settings say", name)
                else:
                    logger.info("%s is now %s", name, value)
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

    def _parsed(self, texts: Mapping[str, str]) -> dict[str, Any]:
        given = {}
        for name, text in texts.items():
            try:
                given[name] = CHANGEABLE[name](text)
            except (KeyError, ValueError):
                # From another version of this package, or from somebody who writes to Redis.
                if self._refused.get(name) != text:
                    self._refused[name] = text
                    logger.warning("Cannot set %s to %r while the crawl runs", name, text[:80])
        return given

    def _targets(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what each setting that was ever changed is to be."""
        names = set(given)
        if "CONCURRENT_REQUESTS" in given:
            names |= {"CONCURRENT_REQUESTS_PER_DOMAIN", "CRAWLO_PREFETCH"}
        for name in names - self._own.keys():
            self._own[name] = self._current[name] = self._get(name)
        own, targets = self._own, {**self._own, **given}
        share, ahead = "CONCURRENT_REQUESTS_PER_DOMAIN", "CRAWLO_PREFETCH"
        before, now = own.get("CONCURRENT_REQUESTS"), targets.get("CONCURRENT_REQUESTS")
        if before != now and share not in given and own[share] >= before:
            targets[share] = now  # a slot's share that was all stays all
        if before != now and ahead not in given:
            targets[ahead] = max(1, round(own[ahead] * now / before))
        return targets

    def _get(self, name: str) -> Any:
        if name == "LOG_LEVEL":
            root = logging.getLogger()
            return [(root, root.level), *((one, one.level) for one in root.handlers)]
        return {
            "CONCURRENT_REQUESTS": self._engine.concurrency,
            "CONCURRENT_REQUESTS_PER_DOMAIN": self._engine.slot_concurrency,
            "DOWNLOAD_DELAY": self._engine.delay,
            "CRAWLO_PREFETCH": self._exchange.buffers.prefetch,
            "CRAWLO_EXCHANGE_INTERVAL": self._exchange.interval,
        }[name]

    def _set(self, name: str, value: Any) -> None:
        if name == "LOG_LEVEL":
            levels = value
            if isinstance(value, str):
                levels = [(one, value) for one, _ in self._own["LOG_LEVEL"]]
            for one, level in levels:
                one.setLevel(level)
        elif name == "CONCURRENT_REQUESTS":
            self._engine.set_concurrency(value)
            self._exchange.buffers.low_water = value
        elif name == "CONCURRENT_REQUESTS_PER_DOMAIN":
            self._engine.set_slot_concurrency(value)
        elif name == "DOWNLOAD_DELAY":
            self._engine.set_delay(value)
        elif name == "CRAWLO_PREFETCH":
            self._exchange.buffers.prefetch = value
        else:
            self._exchange.interval = value
