"""`crawlo-scrapy exporter`: how crawls stand, for Prometheus."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import (
    Where,
    complete,
    crawl_of,
    final_settings,
    in_project,
    project_settings,
    redis_options,
)
from crawlo_scrapy.metrics import require_client
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys

_EPILOG = """\b
Examples:
  crawlo-scrapy exporter                  every crawl of this project
  crawlo-scrapy exporter shop:myspider    one crawl, by its full name from anywhere
  crawlo-scrapy exporter --all --host 0.0.0.0 --redis-url redis://10.0.0.5
"""


@click.command("exporter", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--all", "everything", is_flag=True, help="All crawls in this Redis.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9640, show_default=True,
    help="Port to listen on; 0: any.",
)  # fmt: skip
@redis_options
def command(spider: str | None, everything: bool, host: str, port: int, where: Where) -> None:
    """Serve metrics of crawls until it is stopped: queue, workers, dead letters, pages, items.

    Redis is read when Prometheus asks, and nothing is written. Who can reach the port can read
    the metrics: there is no login.
    """
    require_client("crawlo-scrapy exporter")
    if spider is None and not everything and not in_project():
        raise click.ClickException(
            "this is not inside a Scrapy project: name a crawl as PROJECT:SPIDER, or use --all."
        )
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s: %(message)s"
    )
    keys, project = None, None
    if spider is not None:
        crawl = crawl_of(spider, where)
        address, keys, timeout = crawl.address, crawl.keys, crawl.timeout
    else:
        settings = final_settings(project_settings(where.config, where.overrides))
        address = connection.address(settings)
        timeout = ours.get(settings, "CRAWLO_WORKER_TIMEOUT")
        if not everything:
            project = ours.get(settings, "PROJECT_NAME") or settings["BOT_NAME"]
    complete(_serve(host, port, address, timeout, project, keys))


async def _serve(
    host: str, port: int, address: Address, timeout: float, project: str | None, keys: Keys | None
) -> None:
    from prometheus_client import CollectorRegistry

    from crawlo_scrapy.metrics.crawls import Crawls, CrawlsCollector
    from crawlo_scrapy.metrics.serving import MetricsServer

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    client = Client.connect(address, "crawlo-exporter")
    registry = CollectorRegistry()
    crawls = Crawls(client, timeout=timeout, project=project, keys=keys)
    registry.register(CrawlsCollector(crawls, loop, {}))
    try:
        server = await asyncio.to_thread(MetricsServer, registry, host, port, 1)
    except OSError as exc:
        raise click.ClickException(
            f"cannot listen on {host}, port {port}: {exc.strerror}. Choose others with --host "
            "and --port."
        ) from None
    try:
        click.echo(f"Metrics of crawls are at {server.url}", err=True)
        await stopped.wait()
    finally:
        await asyncio.to_thread(server.close)
        await client.close()
