"""What can go wrong between a worker and Redis."""

from __future__ import annotations

import re

import redis.exceptions as rex


class StoreError(Exception):
    """Something is wrong with the store; the message says what, where, and what to do."""


class StoreUnavailable(StoreError):
    """Redis does not answer, or cannot serve now. Trying again later may help."""


class StoreRefused(StoreError):
    """Redis answers and will not serve us: wrong password, missing right, too old a server."""


class CrawlLost(StoreError):
    """The crawl that this worker was in is over, or no longer in Redis: `reason` says which."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


#: Error replies that pass by themselves. redis-py cuts off the first word of these.
_PASSING_ERRORS = (
    rex.AskError, rex.BusyLoadingError, rex.ClusterDownError, rex.MasterDownError,
    rex.OutOfMemoryError, rex.ReadOnlyError, rex.TryAgainError,
)  # fmt: skip
#: First words of such replies; inside a script Redis 6.2 puts "-" and them after its own.
_PASSING = re.compile(
    r"(?:^|[ :]-)(?:LOADING|READONLY|OOM|BUSY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN"
    r"|MISCONF|MOVED|ASK) "
)


def translate(exc: Exception, address: str) -> StoreError:
    """Return the `StoreError` that says what a Redis client's error means for the user."""
    text = str(exc)
    if isinstance(exc, (rex.AuthenticationError, rex.NoPermissionError)) or text.startswith(
        ("NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password", "AUTH ")
    ):
        return StoreRefused(
            f"Redis at {address} refuses the login or a command ({_first_line(text)}). "
            "Check REDIS_PASSWORD and REDIS_USER, and the rights of that user."
        )
    if isinstance(exc, _PASSING_ERRORS) or _PASSING.search(text):
        return StoreUnavailable(
            f"Redis at {address} cannot serve now: {_first_line(text) or type(exc).__name__}"
        )
    if isinstance(exc, (rex.ConnectionError, rex.TimeoutError, OSError, TimeoutError)):
        return StoreUnavailable(
            f"Redis at {address} cannot be reached ({_first_line(text) or type(exc).__name__}). "
            "Check that it runs and that REDIS_URL, or REDIS_HOST and REDIS_PORT, are right."
        )
    return StoreError(f"Redis at {address} answered: {_first_line(text)}")


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:200]
