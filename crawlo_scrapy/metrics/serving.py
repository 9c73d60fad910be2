"""How metrics leave a process: served to Prometheus, or pushed to its Pushgateway."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
from collections.abc import Mapping
from http.client import HTTPException
from urllib.parse import unquote, urlsplit, urlunsplit

from prometheus_client import CollectorRegistry, push_to_gateway, start_http_server
from prometheus_client.exposition import basic_auth_handler, default_handler

from crawlo_scrapy.settings import SettingError

#: Ports that are tried, from the one that is wanted on: workers of one host each take one.
PORTS_TRIED = 100
#: How long the Pushgateway may take to answer, in seconds.
PUSH_TIMEOUT = 10.0


class MetricsServer:
    """Serves a registry over HTTP, in threads of its own, until it is closed.

    Listens on the first port from *port* on that is free, of *tried*; 0 is any. Raises `OSError`
    when it cannot listen. Takes a while: it may ask the DNS for its own name.
    """

    def __init__(
        self, registry: CollectorRegistry, host: str, port: int, tried: int = PORTS_TRIED
    ) -> None:
        last = min(port + tried, 65536) if port else 1
        for candidate in range(port, last):
            try:
                self._server, self._thread = start_http_server(candidate, host, registry)
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE or candidate == last - 1:
                    raise
            else:
                break
        self.host = host
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/metrics"

    @property
    def local(self) -> bool:
        """Whether only this host can reach it."""
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    def close(self) -> None:
        """Free the port. Waits up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Pushgateway:
    """Pushes a registry to a Pushgateway, into the group of one worker.

    Raises `SettingError` unless *url* is a URL; a user and password in it are for basic
    authentication, and are not shown.
    """

    def __init__(self, url: str, registry: CollectorRegistry, group: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
            raise SettingError(
                "PROMETHEUS_PUSHGATEWAY_URL is not a URL: it must look like http://host:9091"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.shown = f"{parts.scheme}://{host}{port}"
        self._url = urlunsplit((parts.scheme, f"{host}{port}", parts.path, "", ""))
        self._login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._registry = registry
        self._group = dict(group)

    def push(self) -> None:
        """Replace what the gateway has of this worker. Raises `OSError` when that fails."""

        def handler(url, method, timeout, headers, data):  # type: ignore[no-untyped-def]
            if self._login == ("", ""):
                return default_handler(url, method, timeout, headers, data)
            return basic_auth_handler(url, method, timeout, headers, data, *self._login)

        try:
            push_to_gateway(self._url, "crawlo", self._registry, self._group, PUSH_TIMEOUT, handler)
        except HTTPException as exc:
            raise OSError(f"{type(exc).__name__} from the gateway") from exc
