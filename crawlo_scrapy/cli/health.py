"""`crawlo-scrapy health`: the liveness probe of a worker."""

from __future__ import annotations

import socket

import click

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    final_settings,
    project_settings,
    redis_options,
)
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreUnavailable
from crawlo_scrapy.store.inspect import CrawlState, find_crawls, inspect, keys_of

_EPILOG = """\b
Examples:
  crawlo-scrapy health myspider
  crawlo-scrapy health --node "$CRAWLO_NODE_ID"
"""


@click.command("health", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--node", metavar="ID", help="This worker; default: any worker of this host.")
@click.option("--strict", is_flag=True, help="Fail while Redis cannot be reached, too.")
@redis_options
def command(spider: str | None, node: str | None, strict: bool, where: Where) -> None:
    """Exit with status 0 if a worker of this host has lately been heard of, else 1.

    While Redis is away the status is 0: workers ride that out, and to restart them would cost
    what they hold.
    """
    try:
        states, timeout = complete(_look(spider, where))
    except StoreUnavailable as exc:
        if strict:
            raise
        click.echo(f"unknown: {exc}")
        return
    host = socket.gethostname()
    mine = [
        worker
        for state in states
        for worker in state.workers
        if (worker.id.split("~")[0] == node if node else worker.host == host)
    ]
    living = [worker for worker in mine if worker.beat_age <= timeout]
    if living:
        newest = min(living, key=lambda worker: worker.beat_age)
        click.echo(f"alive: {newest.id}, last heard of {newest.beat_age:.1f} s ago")
        return
    name = node or f"worker of host {host}"
    if mine:
        age = min(worker.beat_age for worker in mine)
        raise click.ClickException(f"{name} has been silent for {age:.1f} s.")
    raise click.ClickException(f"{name} is in no crawl here.")


async def _look(spider: str | None, where: Where) -> tuple[list[CrawlState], float]:
    if spider is not None:
        crawl: Crawl = crawl_of(spider, where)
        async with crawl.client() as client:
            return [await inspect(client, crawl.keys)], crawl.timeout
    settings = final_settings(project_settings(where.config, where.overrides))
    project = ours.get(settings, "PROJECT_NAME") or settings["BOT_NAME"]
    client = Client.connect(connection.address(settings))
    try:
        names = await find_crawls(client, project)
        states = [await inspect(client, keys_of(name)) for name in names]
    finally:
        await client.close()
    return states, ours.get(settings, "CRAWLO_WORKER_TIMEOUT")
