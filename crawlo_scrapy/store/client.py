"""One way to a Redis client, whatever the address looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
import redis.exceptions as rex
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from crawlo_scrapy.store.errors import StoreRefused, translate

OLDEST_REDIS = (6, 2)
OLDEST_VALKEY = (7, 2)


@dataclass(frozen=True)
class Address:
    """Where Redis is and how to log in. The password never shows in a repr.

    With `url` the other parts only fill in what the URL leaves out. `timeout` is in seconds.
    """

    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    max_connections: int = 20
    timeout: float = 10.0
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        if not self.url:
            return f"{self.host}:{self.port}/{self.db}"
        if not is_valid(self.url):
            # A part of a password that is not percent-encoded may stand anywhere in it.
            return "(an address that is not valid)"
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname or 'localhost'}{port}{parts.path if parts.path != '/' else ''}"


def is_valid(url: str) -> bool:
    """Return whether *url* is a Redis URL; redis-py takes many a one that is none."""
    try:
        parts = urlsplit(url)
        database = parts.path.strip("/")
        _ = parts.port
    except ValueError:
        return False
    if parts.fragment or "@" in parts.query:
        return False
    if parts.scheme == "unix":
        return bool(parts.path)
    return parts.scheme in ("redis", "rediss") and (not database or database.isdigit())


def client_options(address: Address, name: str) -> dict[str, Any]:
    """Return what every client is made with, except how it retries.

    Raises `StoreRefused` for a URL that does not parse.
    """
    if address.url is not None and not is_valid(address.url):
        raise invalid_url()
    return {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "max_connections": address.max_connections,
        "socket_timeout": address.timeout,
        "socket_connect_timeout": address.timeout,
        "protocol": 2,
        "client_name": "".join(c if c.isalnum() or c in "-_." else "_" for c in name) or None,
        **address.options,
    }


def invalid_url() -> StoreRefused:
    """Return the error for a URL that does not parse."""
    return StoreRefused(
        "REDIS_URL is not a valid Redis URL: it must look like "
        "redis://user:password@host:6379/0, rediss://… or unix:///path; "
        "special characters in the password must be percent-encoded."
    )


class Client:
    """A Redis client and the address to name in messages."""

    def __init__(self, redis_client: redis.asyncio.Redis, address: str) -> None:
        self.redis = redis_client
        self.address = address

    @classmethod
    def connect(cls, address: Address, name: str = "") -> Client:
        """Return a client; nothing is sent yet. *name* shows in CLIENT LIST.

        Retries are the caller's: a reconnect that nobody notices would hide that the server
        lost what it had confirmed. Raises `StoreRefused` for a URL that does not parse.
        """
        options = client_options(address, name) | {"retry": Retry(NoBackoff(), 0)}
        if address.url is None:
            client = redis.asyncio.Redis(host=address.host, port=address.port, **options)
            return cls(client, str(address))
        try:
            client = redis.asyncio.Redis.from_url(address.url, **options)
            return cls(client, str(address))
        except ValueError:
            # The text of the error may hold the URL, and so a password.
            raise invalid_url() from None

    async def check_server(self) -> str:
        """Return name and version of the server. Raises `StoreRefused` when it is too old."""
        info = await self.call("info", "server")
        if "valkey_version" in info:
            name, version, oldest = "Valkey", str(info["valkey_version"]), OLDEST_VALKEY
        else:
            name, version, oldest = "Redis", str(info.get("redis_version", "0")), OLDEST_REDIS
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < oldest:
            raise StoreRefused(
                f"{name} {version} at {self.address} is too old: crawlo_scrapy needs "
                "Redis 6.2 or newer, or Valkey 7.2 or newer."
            )
        return f"{name} {version}"

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call one method of the client, with our errors. Raises `StoreError`."""
        try:
            return await getattr(self.redis, method)(*args, **kwargs)
        except (rex.RedisError, OSError) as exc:
            raise translate(exc, self.address) from exc

    async def close(self) -> None:
        """Close all connections; never raises for a server that is gone."""
        try:
            await self.redis.aclose()
        except (rex.RedisError, OSError, RuntimeError):
            return
