"""Listens, and serves until it is told to end."""

from __future__ import annotations

import gc
import socket
from dataclasses import replace

import uvicorn

from crawlo_scrapy.dashboard.access import Access
from crawlo_scrapy.dashboard.app import create_app
from crawlo_scrapy.dashboard.reader import Reader
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.values import Codec

#: A viewer is not left waiting longer for Redis, in seconds.
REDIS_TIMEOUT = 5.0
#: Looks that may be under way at one time.
CONNECTIONS = 4


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free. Raises `OSError`."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family)


async def serve(
    listening: socket.socket,
    address: Address,
    access: Access,
    *,
    timeout: float,
    acting: bool,
    project: str | None = None,
    root_path: str = "",
) -> None:
    """Serve the crawls in the Redis at *address* until the process is told to end.

    A worker that was not heard of for *timeout* seconds counts as dead. With *project* only its
    crawls are shown. *root_path* is where a proxy has the dashboard. With *acting* crawls can be
    steered there.
    """
    # Scrapy's modules are there to stay: to look through them again and again would take longer
    # than most answers.
    gc.collect()
    gc.freeze()
    address = replace(address, timeout=min(address.timeout, REDIS_TIMEOUT))
    client = Client.connect(address, "dashboard", connections=CONNECTIONS)
    try:
        reader = Reader(client, Codec(), timeout=timeout, project=project)
        config = uvicorn.Config(
            create_app(reader, access, client.address, client if acting else None),
            root_path=root_path,
            # What is asked for is not logged: who looks at the page does so all the time.
            access_log=False,
            log_level="warning",
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        await client.close()
