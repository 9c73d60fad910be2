"""What can go wrong between a worker and Redis."""

from __future__ import annotations

import re
import ssl

import redis.asyncio.sentinel
import redis.exceptions as rex
import redis.sentinel


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
    rex.AskError, rex.BusyLoadingError, rex.ClusterDownError, rex.MasterDownError, rex.MovedError,
    rex.OutOfMemoryError, rex.ReadOnlyError, rex.SlotNotCoveredError, rex.TryAgainError,
)  # fmt: skip
#: First words of such replies; inside a script Redis 6.2 puts "-" and them after its own.
_PASSING = re.compile(
    r"(?:^|[ :]-)(?:LOADING|READONLY|OOM|BUSY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN"
    r"|MISCONF|MOVED|ASK) |non local key in a cluster"
)
#: Where TLS fails for a reason that does not pass.
_TLS = re.compile(r"\[SSL: \w*(?:CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE)")
_NO_MASTER = (redis.sentinel.MasterNotFoundError, redis.asyncio.sentinel.MasterNotFoundError)
#: What a Redis client raises, but for mistakes in how it is called.
CLIENT_ERRORS = (rex.RedisError, rex.RedisClusterException, OSError)


def translate(exc: BaseException, address: object, settings: str = "") -> StoreError:
    """Return the `StoreError` that says what a Redis client's error means for the user.

    *settings* are those that the address comes from, with "is" or "are".
    """
    origin = exc.__cause__ or exc.__context__
    if isinstance(exc, rex.RedisClusterException) and isinstance(origin, CLIENT_ERRORS):
        # The client could not learn who serves which slots. Why, stands in what led to it.
        return translate(origin, address, settings)
    text, login = _text(exc), "REDIS_PASSWORD and REDIS_USER"
    if isinstance(exc, _NO_MASTER):
        # Why, stands in its cause; without one the Sentinels answer, and know no such master.
        text, login = (
            "no Sentinel names its master",
            "REDIS_SENTINEL_PASSWORD and REDIS_SENTINEL_USER",
        )
        if (cause := exc.__cause__) is not None:
            exc, text = cause, f"{text}: {_text(cause)}"
    if refusal := _refusal(exc, text, settings, login):
        return StoreRefused(f"Redis at {address} {refusal}")
    if isinstance(exc, _PASSING_ERRORS) or _PASSING.search(text):
        return StoreUnavailable(f"Redis at {address} cannot serve now: {text}")
    if isinstance(exc, (rex.ConnectionError, rex.TimeoutError, rex.RedisClusterException, OSError)):
        settings = settings or "REDIS_URL, or REDIS_HOST and REDIS_PORT, are"
        return StoreUnavailable(
            f"Redis at {address} cannot be reached ({text}). Check that it runs and that "
            f"{settings} right."
        )
    return StoreError(f"Redis at {address} answered: {text}")


def _refusal(exc: BaseException, text: str, settings: str, login: str) -> str:
    """Return what Redis will not do for us, and what to do about it; "" if it is not that."""
    if isinstance(exc, (rex.AuthenticationError, rex.NoPermissionError)) or text.startswith(
        ("NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password", "AUTH ")
    ):
        return (
            f"refuses the login or a command ({text}). Check {login}, and the rights of that "
            "user: `crawlo-scrapy doctor` tells which are missing."
        )
    if "The user executing the script can't" in text or "ACL failure in script" in text:
        return (
            f"does not let this user run a command inside a script ({text}): `crawlo-scrapy "
            "doctor` tells which, `crawlo-scrapy redis-conf --acl` what a worker needs."
        )
    if _TLS.search(text):
        return (
            f"cannot be trusted, or does not trust this client ({text}). Check REDIS_TLS_CA_FILE, "
            "REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE and REDIS_TLS_CHECK_HOSTNAME."
        )
    if "cluster support disabled" in text or "Cluster mode is not enabled" in text:
        return "is not a cluster. Unset REDIS_CLUSTER_NODES and set REDIS_HOST or REDIS_URL."
    if "same key slot" in text:
        return (
            "is a cluster, and a key of yours is on another master than the crawl: put the crawl's "
            "hash tag, {project:spider}, into redis_key."
        )
    if isinstance(exc, rex.MovedError) and "CLUSTER" not in settings:
        return "is a node of a Redis Cluster. Set REDIS_CLUSTER_NODES to some of its nodes."
    return ""


def _text(exc: BaseException) -> str:
    text = str(exc)
    if isinstance(origin := exc.__cause__ or exc.__context__, ssl.SSLError):
        text = str(origin)  # which redis-py 5 leaves out
    return text.split("\n", 1)[0][:200] or type(exc).__name__
