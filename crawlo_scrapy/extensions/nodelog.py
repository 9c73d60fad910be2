"""Logs that tell the nodes apart: in their lines, in the names of their files, and as JSON.

Scrapy makes its log handler from its LOG_* settings, again for each crawler, and has no setting
for another kind of handler. So the function of Scrapy that makes it is wrapped: the one thing
here that Scrapy does not document. Logging that a program has set up itself is left alone.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import scrapy
from scrapy.settings import BaseSettings, Settings
from scrapy.utils import log

from crawlo_scrapy import settings as ours
from crawlo_scrapy.connection import node_id
from crawlo_scrapy.extensions.logfile import RotatingLog, claim
from crawlo_scrapy.settings import SettingError

logger = logging.getLogger(__name__)

Maker = Callable[[Settings], logging.Handler]

_PLACE = re.compile(r"\{(\w*)\}")
#: What stands in every log record, and is not somebody's `extra`.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "node"}

#: Records that wait for the name of their file.
_waiting: deque[logging.LogRecord] = deque(maxlen=10_000)


def hook() -> None:
    """Make log handlers of ours where the settings ask for what Scrapy's do not do."""
    make = getattr(log, "_get_handler", None)
    if callable(make) and not _is_hooked():
        log._get_handler = _wrap(make)  # type: ignore[assignment]


def _is_hooked() -> bool:
    return hasattr(getattr(log, "_get_handler", None), "__wrapped__")


def settle(settings: BaseSettings, spider: str) -> None:
    """Make LOG_FILE the file that this process writes to, and have the log as *settings* ask.

    Raises `SettingError`.
    """
    hook()
    if not asked_for(settings):
        return
    path = _file(settings, spider)
    if path:
        _put(settings, path)
    if log.get_scrapy_root_handler() is None:
        return
    if not _is_hooked():
        logger.warning(
            "LOG_INCLUDE_NODE_ID, LOG_JSON and LOG_MAX_BYTES have no effect: Scrapy %s makes its "
            "log handler in a way that this version of crawlo_scrapy does not know",
            scrapy.__version__,
        )
        return
    own = log_file(settings, spider)
    if own:
        _put(settings, own)
    log.install_scrapy_root_handler(settings)  # type: ignore[arg-type]
    if own != path:
        logger.warning("%s is another worker's log: this one writes to %s", path, own)


def log_file(settings: BaseSettings, spider: str = "{spider}") -> str:
    """Return the file that this process logs to, or nothing; from now on it is there.

    Raises `SettingError` when it cannot be written.
    """
    path = _file(settings, spider)
    if not path:
        return ""
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        own = path
        if _rotates(settings):
            own = claim(path, _node(settings), fresh=not settings.getbool("LOG_FILE_APPEND"))
        with open(own, "ab"):
            return own
    except OSError as exc:
        raise SettingError(f"LOG_FILE: cannot write to {path}: {exc.strerror}") from None


def _put(settings: BaseSettings, path: str) -> None:
    settings.set("LOG_FILE", path, settings.getpriority("LOG_FILE") or 0)


def asked_for(settings: BaseSettings) -> bool:
    """Whether *settings* ask for what Scrapy's own log handler does not do."""
    path = settings.get("LOG_FILE")
    return bool(
        ours.get(settings, "LOG_INCLUDE_NODE_ID")
        or ours.get(settings, "LOG_JSON")
        or "%(node)" in str(settings.get("LOG_FORMAT"))
        or (path and ("{" in str(path) or _rotates(settings)))
    )


def _rotates(settings: BaseSettings) -> bool:
    return bool(ours.get(settings, "LOG_MAX_BYTES") and ours.get(settings, "LOG_BACKUP_COUNT"))


def _node(settings: BaseSettings) -> str:
    # Crawlo's name of the setting has not become ours yet when Scrapy's first lines are logged.
    given = settings.get("CRAWLO_NODE_ID") or settings.get("WORKER_ID")
    return str(given or node_id(settings))


def _file(settings: BaseSettings, spider: str = "{spider}") -> str:
    """Return LOG_FILE with its places filled, or nothing when it is not set."""
    known = {
        "spider": spider,
        "node": _node(settings),
        "project": str(ours.get(settings, "PROJECT_NAME") or settings.get("BOT_NAME")),
    }

    def fill(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise SettingError(
                f"LOG_FILE holds {match[0]}; known are {{node}}, {{project}} and {{spider}}"
            )
        return known[match[1]].replace(os.sep, "_")

    return _PLACE.sub(fill, str(settings.get("LOG_FILE") or ""))


def _wrap(make: Maker) -> Maker:
    @functools.wraps(make)
    def make_ours(settings: Settings) -> logging.Handler:
        handler = _make(make, settings)
        if not isinstance(handler, Waiting):
            _hand_over(handler)
        return handler

    return make_ours


def _make(make: Maker, settings: Settings) -> logging.Handler:
    try:
        if not asked_for(settings):
            return make(settings)
        if "{spider}" in _file(settings):
            return Waiting(settings["LOG_LEVEL"])
        handler = _handler(make, settings, log_file(settings))
        if ours.get(settings, "LOG_JSON"):
            handler.setFormatter(JsonLines())
    except SettingError:
        # There is no crawler yet; `settle` says it again, where it stops the crawl.
        handler = make(_changed(settings, LOG_FILE=None))
    handler.addFilter(NodeFilter(_node(settings)))
    return handler


def _handler(make: Maker, settings: BaseSettings, path: str) -> logging.Handler:
    form = settings.get("LOG_FORMAT")
    if ours.get(settings, "LOG_INCLUDE_NODE_ID"):
        form = with_node(form)
    if not path or not _rotates(settings):
        return make(_changed(settings, LOG_FORMAT=form, LOG_FILE=path or None))
    # Level, format and filters are as Scrapy would have them.
    like = make(_changed(settings, LOG_FORMAT=form, LOG_FILE=None, LOG_ENABLED=False))
    handler = RotatingLog(
        path,
        maxBytes=ours.get(settings, "LOG_MAX_BYTES"),
        backupCount=ours.get(settings, "LOG_BACKUP_COUNT"),
        encoding=settings.get("LOG_ENCODING"),
    )
    handler.setFormatter(like.formatter)
    handler.setLevel(like.level)
    handler.filters = list(like.filters)
    return handler


def _changed(settings: BaseSettings, **changes: Any) -> Settings:
    """Return the log's settings, some of them changed; *settings* may be frozen."""
    changed = Settings({n: v for n, v in settings.items() if str(n).startswith("LOG_")})
    changed.update(changes, "cmdline")
    return changed


def with_node(form: str | None) -> str:
    """Return a log format that names the node: behind the time, or in front."""
    form = form or logging.BASIC_FORMAT
    if "%(node)" in form:
        return form
    if "%(asctime)s" in form:
        return form.replace("%(asctime)s", "%(asctime)s [%(node)s]", 1)
    return f"[%(node)s] {form}"


def _hand_over(handler: logging.Handler) -> None:
    while _waiting:
        record = _waiting.popleft()
        if record.levelno >= handler.level:
            handler.handle(record)


class Waiting(logging.Handler):
    """Keeps records until the spider is known, whose name is a part of the file's."""

    def emit(self, record: logging.LogRecord) -> None:
        _waiting.append(record)

    def flush(self) -> None:
        # Called by `logging` when the process ends: no crawl came of it, and nobody else tells.
        console = logging.StreamHandler()
        console.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
        _hand_over(console)


class NodeFilter(logging.Filter):
    """Lets all records pass, with the node's name as `node`."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).setdefault("node", self._node)
        return True


class JsonLines(logging.Formatter):
    """Makes a record one line: a JSON object with what the caller gave as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc)
        extra = {n: v for n, v in vars(record).items() if n not in _STANDARD}
        # Scrapy's own extras are objects.
        extra.pop("crawler", None)
        spider = extra.pop("spider", None)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "node": vars(record).get("node"),
            "spider": getattr(spider, "name", spider),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps({**extra, **line}, default=str)
