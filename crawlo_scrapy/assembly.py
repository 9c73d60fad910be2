"""What a worker's part in a crawl is made of, by its settings."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import scrapy
from scrapy.utils.misc import load_object

from crawlo_scrapy import __version__, connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.buffers import Buffers
from crawlo_scrapy.exchange import Exchange
from crawlo_scrapy.membership import Registration
from crawlo_scrapy.place import Heartbeats, Terms
from crawlo_scrapy.seeding import Seeding
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.store.frontier import Frontier

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler

    from crawlo_scrapy.engine import Engine
    from crawlo_scrapy.store.client import Client
    from crawlo_scrapy.store.errors import CrawlLost


@dataclass(frozen=True)
class Parts:
    """The parts; `frontier` is the one at the crawl's home."""

    frontier: Frontier
    registration: Registration
    seeding: Seeding
    serializer: RequestSerializer
    exchange: Exchange


def assemble(
    crawler: Crawler,
    spider: Spider,
    client: Client,
    engine: Engine,
    *,
    on_duplicate: Callable[[Request], None],
    on_rollback: Callable[[], None],
    on_lost: Callable[[CrawlLost], None],
    on_stop: Callable[[str, bool], None],
) -> Parts:
    """Return what a worker of *crawler* needs to take part; nothing is sent yet.

    The functions are called as `Exchange` says. Raises `SettingError`.
    """
    settings = crawler.settings
    terms = _terms(settings)
    keys, node = connection.keys(settings, spider.name), connection.node_id(settings)
    order = ours.get(settings, "CRAWLO_QUEUE_ORDER")
    frontiers = [Frontier(client, part, order=order) for part in terms.layout.keys(keys)]
    heartbeats = Heartbeats(connection.address(settings), node, terms)
    registration = Registration(
        client, frontiers[0], heartbeats, node, _record(crawler, node), terms, crawler.stats
    )
    role, seeding_mode = ours.get(settings, "CRAWLO_ROLE"), ours.get(settings, "CRAWLO_SEEDING")
    seeding = Seeding(crawler, role, seeding_mode, engine.restart)
    serializer = RequestSerializer(
        spider,
        [load_object(path) for path in ours.get(settings, "CRAWLO_REQUEST_CLASSES")],
        ours.get(settings, "CRAWLO_SIGNING_KEY"),
        schemes=ours.get(settings, "CRAWLO_ALLOWED_SCHEMES"),
        most_bytes=ours.get(settings, "CRAWLO_MAX_REQUEST_SIZE"),
    )
    concurrency = settings.getint("CONCURRENT_REQUESTS")
    buffers = Buffers(
        engine,
        crawler.stats,
        prefetch=ours.get(settings, "CRAWLO_PREFETCH") or 4 * concurrency,
        low_water=concurrency,
        outbox_limit=ours.get(settings, "CRAWLO_OUTBOX_LIMIT"),
        layout=terms.layout,
    )
    exchange = Exchange(
        frontiers,
        registration,
        seeding,
        serializer,
        buffers,
        engine,
        crawler.stats,
        layout=terms.layout,
        interval=ours.get(settings, "CRAWLO_EXCHANGE_INTERVAL"),
        on_duplicate=on_duplicate,
        on_rollback=on_rollback,
        on_lost=on_lost,
        on_stop=on_stop,
    )
    return Parts(frontiers[0], registration, seeding, serializer, exchange)


def _terms(settings: Any) -> Terms:
    return Terms(
        heartbeat_interval=ours.get(settings, "CRAWLO_HEARTBEAT_INTERVAL"),
        timeout=ours.get(settings, "CRAWLO_WORKER_TIMEOUT"),
        max_attempts=ours.get(settings, "CRAWLO_MAX_ATTEMPTS"),
        named=bool(ours.get(settings, "CRAWLO_CRAWL_ID")),
        seeding=ours.get(settings, "CRAWLO_SEEDING"),
        persist=ours.get(settings, "SCHEDULER_PERSIST"),
        keep_queue=ours.get(settings, "QUEUE_PERSISTENCE"),
        flush=ours.get(settings, "SCHEDULER_FLUSH_ON_START"),
        layout=connection.layout(settings),
        seen=connection.seen_choice(settings),
    )


def _record(crawler: Crawler, node: str) -> dict[str, str | int]:
    return {
        "node": node,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "role": ours.get(crawler.settings, "CRAWLO_ROLE"),
        "concurrency": crawler.settings.getint("CONCURRENT_REQUESTS"),
        "version": __version__,
        "scrapy": scrapy.__version__,
    }
