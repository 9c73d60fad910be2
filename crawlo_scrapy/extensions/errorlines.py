"""Lines that a worker logs as errors, for others to see: short, and without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from crawlo_scrapy.config.option import is_secret
from crawlo_scrapy.store.stats import ErrorLine

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

#: The most bytes of one line.
LONGEST = 500
#: Shorter values of secret settings are words that may stand anywhere.
SHORTEST_SECRET = 4
#: The login in an address.
_LOGIN = re.compile(r"://[^/@\s]*@")


class ErrorLines(logging.Handler):
    """Gives each record of level ERROR and above to *note*, as a line."""

    def __init__(self, crawler: Crawler, node: str, note: Callable[[ErrorLine], None]) -> None:
        super().__init__(logging.ERROR)
        self._crawler = crawler
        self._node = node
        self._note = note
        self._secrets = sorted(secret_values(crawler.settings), key=len, reverse=True)

    def emit(self, record: logging.LogRecord) -> None:
        # Several crawlers may share a process; Scrapy says which of their spiders speaks.
        spider = getattr(record, "spider", None)
        if spider is not None and getattr(spider, "crawler", None) is not self._crawler:
            return
        try:
            text = self._text(record)
        except Exception:
            # Its arguments do not fit its message: whoever prints it says so.
            return
        self._note(ErrorLine(record.created, self._node, record.name, record.levelname, text))

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and (error := record.exc_info[1]):
            text += f": {type(error).__name__}: {error}"
        for secret in self._secrets:
            text = text.replace(secret, "****")
        text = _LOGIN.sub("://****@", text)
        return " ".join(text.split()).encode(errors="replace")[:LONGEST].decode(errors="ignore")


def secret_values(settings: BaseSettings) -> Iterable[str]:
    """Return the values of settings whose names tell that they are not to be shown."""
    return {
        value
        for name, value in settings.items()
        if isinstance(value, str) and len(value) >= SHORTEST_SECRET and is_secret(str(name))
    }
