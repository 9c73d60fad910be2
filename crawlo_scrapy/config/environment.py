"""The environment: a container's manifest speaks through it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from scrapy.settings import BaseSettings

from crawlo_scrapy.config.border import from_crawlo
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.parse import OptionError, parse_all
from crawlo_scrapy.config.places import ENVIRONMENT
from crawlo_scrapy.settings import SETTINGS

#: Read without a prefix, as Crawlo does. Everything else needs ``CRAWLO_``.
PLAIN_NAMES = (
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_PASSWORD",
    "REDIS_DB",
    "CONCURRENCY",
    "PROJECT_NAME",
)
_PREFIX = "CRAWLO_"


def read_environment(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the options that the environment sets, parsed.

    An empty variable counts as not set: that is what Compose makes of ``${NAME:-}``.
    Raises `OptionError` naming every variable that does not parse.
    """
    environ = os.environ if environ is None else environ
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    for name, variable in _variables(environ):
        if text := environ[variable].strip():
            texts[name] = _without_link(name, text)
            places[name] = f"environment variable {variable}"
    values, faults = parse_all(texts, places.__getitem__)
    if faults:
        raise OptionError(faults)
    if values.pop("CRAWLO_DEBUG", False):
        values["LOG_LEVEL"] = "DEBUG"
    return from_crawlo(values)


def apply_environment(settings: BaseSettings) -> None:
    """Set what the environment says: above the project's files, below the spider."""
    for name, value in read_environment().items():
        settings.set(name, value, ENVIRONMENT)


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield option and variable; of two variables for one option, the prefixed one last."""
    yield from ((name, name) for name in PLAIN_NAMES if name in environ)
    for variable in environ:
        if variable == "CRAWLO_MODE":
            yield "RUN_MODE", variable
        elif variable in SETTINGS or variable == "CRAWLO_DEBUG":
            if variable.startswith(_PREFIX):
                yield variable, variable
        elif variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX)
            if name in OPTIONS or name in SETTINGS:
                yield name, variable


def _without_link(name: str, text: str) -> str:
    # Beside a Service named "redis", Kubernetes sets REDIS_PORT=tcp://10.0.0.11:6379 in every pod.
    if name == "REDIS_PORT" and text.startswith("tcp://"):
        return str(urlsplit(text).port or text)
    return text
