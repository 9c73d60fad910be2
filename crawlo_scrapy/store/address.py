"""Where Redis is: one server, the master that Sentinels name, or a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from crawlo_scrapy.store.errors import StoreRefused

#: Longest wait for one Sentinel, in seconds; the next one is asked after it.
SENTINEL_TIMEOUT = 2.0

#: What Redis does not take in the name of a client, or we do not want there.
_NO_CLIENT_NAME = re.compile(r"[^A-Za-z0-9_.-]")
#: Valkey's names of the schemes, which redis-py does not know.
_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}


@dataclass(frozen=True)
class Tls:
    """How TLS is spoken. The files are in PEM; without `ca_file` the system's authorities count.

    The host name goes out as SNI and must stand in the server's certificate, unless
    `check_hostname` is off. Without `verify` any certificate will do.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    check_hostname: bool = True
    verify: bool = True

    def options(self) -> dict[str, Any]:
        """Return redis-py's options for it."""
        return {
            "ssl_ca_certs": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
            "ssl_check_hostname": self.check_hostname and self.verify,
            "ssl_cert_reqs": "required" if self.verify else "none",
        }


@dataclass(frozen=True)
class Address:
    """Where Redis is and how to log in. Passwords never show in a repr.

    With `url` the other parts only fill in what the URL leaves out. With `sentinels` (host:port,
    or a URL with a login of its own) Redis is the master that they name for `service`; with
    `cluster_nodes` (host:port) it is the cluster that these belong to; `url`, `host` and `port`
    do not count then. `timeout` is in seconds. `max_connections` is for all clients of a worker
    together, to one server.
    """

    url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    max_connections: int = 20
    timeout: float = 10.0
    tls: Tls | None = None
    sentinels: tuple[str, ...] = field(default=(), repr=False)
    service: str = "mymaster"
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    cluster_nodes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.cluster_nodes:
            return f"cluster {', '.join(self.cluster_nodes)}"
        if self.sentinels:
            return f"{self.service} of Sentinels {', '.join(map(_place, self.sentinels))}"
        return _place(self.url) if self.url else f"{self.host}:{self.port}/{self.db}"

    @property
    def settings(self) -> str:
        """The settings that this address comes from, for messages."""
        if self.cluster_nodes:
            return "REDIS_CLUSTER_NODES is"
        if self.sentinels:
            return "REDIS_SENTINEL_URLS and REDIS_SENTINEL_SERVICE are"
        return "REDIS_URL, or REDIS_HOST and REDIS_PORT, are"

    def server_url(self) -> str:
        """Return the URL of the one server, without what `options` holds.

        Raises `StoreRefused` for a URL that does not parse.
        """
        if not self.url:
            host = f"[{self.host}]" if ":" in self.host else quote(self.host)
            return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"
        if not is_valid(self.url):
            raise invalid_url()
        url = _redis_url(self.url)
        # Who asks for TLS never gets less for a URL that does not.
        return url.replace("redis:", "rediss:", 1) if self.tls else url

    def options(self, name: str, url: str = "") -> dict[str, Any]:
        """Return what each connection to Redis is made with. *name* shows in CLIENT LIST.

        *url* is that of the server, if it is known.
        """
        tls = self.tls or (Tls() if url.startswith("rediss:") else None)
        if url.startswith("unix:"):
            tls = None
        return {
            "db": self.db,
            "username": self.username,
            "password": self.password,
            "client_name": _NO_CLIENT_NAME.sub("_", name[:200]) or None,
            **self._socket(self.timeout),
            **(tls.options() if tls else {}),
        }

    def cluster_options(self, name: str) -> dict[str, Any]:
        """Return the same for the nodes of a cluster. Raises `StoreRefused`."""
        options = self.options(name)
        if options.pop("db"):
            raise StoreRefused(
                f"REDIS_DB is {self.db}, and a Redis Cluster has only database 0. Unset it: each "
                "crawl has keys of its own."
            )
        # One node whose slots nobody serves must not stop the crawls on the others.
        return {**options, "ssl": self.tls is not None, "require_full_coverage": False}

    def cluster_places(self) -> list[tuple[str, int]]:
        """Return host and port of the nodes to start from. Raises `StoreRefused`."""
        places = []
        for text in self.cluster_nodes:
            host, _, port = text.rpartition(":")
            if not host or not port.isdigit():
                raise StoreRefused("REDIS_CLUSTER_NODES must be a list of host:port.")
            places.append((host.strip("[]"), int(port)))
        return places

    def sentinel_clients(self, from_url: Callable[..., Any]) -> list[Any]:
        """Return a client for each Sentinel. *from_url* makes one of a URL and options."""
        clients = []
        for text in self.sentinels:
            url = text if "://" in text else f"{'rediss' if self.tls else 'redis'}://{text}"
            if not is_valid(url):
                raise StoreRefused(
                    f"REDIS_SENTINEL_URLS holds {_place(url)}: write host:26379, or "
                    "redis://user:password@host:26379 with special characters percent-encoded."
                )
            parts = urlsplit(_redis_url(url))
            secure = (self.tls or Tls()).options() if parts.scheme == "rediss" else {}
            options = {
                "username": self.sentinel_username,
                "password": self.sentinel_password,
                **self._socket(min(self.timeout, SENTINEL_TIMEOUT)),
                **secure,
            }
            # Sentinels have no databases.
            clients.append(from_url(parts._replace(path="").geturl(), **options))
        return clients

    def _socket(self, timeout: float) -> dict[str, Any]:
        return {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2}


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
    return parts.scheme in ("redis", "rediss", *_SCHEMES) and (not database or database.isdigit())


def invalid_url() -> StoreRefused:
    """Return the error for a URL that does not parse."""
    return StoreRefused(
        "REDIS_URL is not a valid Redis URL: it must look like "
        "redis://user:password@host:6379/0, rediss://… or unix:///path; "
        "special characters in the password must be percent-encoded."
    )


def _redis_url(url: str) -> str:
    scheme, rest = url.split(":", 1)
    return f"{_SCHEMES.get(scheme.lower(), scheme.lower())}:{rest}"


def _place(url: str) -> str:
    """Return *url*, or host:port, without its login."""
    if "://" not in url:
        url = f"redis://{url}"
    if not is_valid(url):
        # A part of a password that is not percent-encoded may stand anywhere in it.
        return "(an address that is not valid)"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or 'localhost'}{port}{parts.path if parts.path != '/' else ''}"
