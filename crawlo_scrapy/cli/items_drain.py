"""`crawlo-scrapy items drain`: items out of Redis, into a storage."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
from collections.abc import Coroutine
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import unquote

import click

from crawlo_scrapy import connection
from crawlo_scrapy.cli.output import console, plural, print_json
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.cli.run import Assignment
from crawlo_scrapy.pipelines.drain import Drain, Drained, Target
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.names import default_node
from crawlo_scrapy.pipelines.targets import label, target_for
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.item_reader import ItemReader, StreamState, look

logger = logging.getLogger(__name__)

#: Connections besides those of the lanes.
_CONNECTIONS = 4

_EPILOG = """\b
TARGET is one of
  mongodb://USER:PASSWORD@HOST/DATABASE     or mongodb: the project's MONGO_URI
  mysql://USER:PASSWORD@HOST:PORT/DATABASE  or mysql: the project's MYSQL_HOST, …
  FILE.jsonl or FILE.csv                    appended to, shared with other drainers
  s3://BUCKET/%(batch_time)s.jsonl.gz       and all else that Scrapy's feed storages know
Mode, key, table and batches are those of the project's MONGO_…, MYSQL_… and CRAWLO_ITEM_…
settings, as for the pipelines; -s sets one of them.

\b
Examples:
  crawlo-scrapy items drain myspider --to mongodb://db.example/shop --into products
  crawlo-scrapy items drain myspider --to mysql --follow
  crawlo-scrapy items drain myspider --to items.jsonl
  crawlo-scrapy items drain shop:myspider --redis-url redis://10.0.0.5 --to mongodb://db/shop
"""


@click.command("drain", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--to", required=True, metavar="TARGET", help="Where the items go; see below.")
@click.option("--into", metavar="NAME", help="Table or collection; default: the project's.")
@click.option("--format", "format_", metavar="FORMAT", help="Of a feed: jsonlines, csv, xml, …")
@click.option(
    "--follow", "-f", is_flag=True, help="Stay until the crawl is finished and its stream empty."
)
@click.option(
    "--idle",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Seconds after which what a dead drainer had is taken over.",
)
@click.option("--skip-refused", is_flag=True, help="Go on even if every item is refused.")
@click.option("-s", "--set", "assigned", type=Assignment(), multiple=True, help="Set a setting.")
@json_option
@redis_options
def drain(
    spider: str | None,
    to: str,
    into: str | None,
    format_: str | None,
    follow: bool,
    idle: float,
    skip_refused: bool,
    assigned: tuple[tuple[str, str], ...],
    as_json: bool,
    where: Where,
) -> None:
    """Store the items of SPIDER, and take each out of Redis once it is stored.

    Ends when the stream is empty. Start as many as you like, on any host: each item goes to one
    of them, and what one that was killed had goes to another. An item that may thereby be stored
    twice is known again by its key in MongoDB and MySQL. SIGTERM or Ctrl-C: what is in hand is
    stored, the rest stays.
    """
    _install_reactor()
    crawl = crawl_of(spider, replace(where, assigned=dict(assigned)))
    project, name = (unquote(part) for part in crawl.keys.name.split(":")[:2])
    names = {"spider": name, "project": project, "node": connection.node_id(crawl.settings)}
    _log()
    try:
        target = target_for(to, crawl.settings, names, into=into, format=format_)
        if follow:
            logger.info("items of %s go to %s until it is finished", crawl.keys.name, target.label)
        else:
            require_stream(crawl, " (--follow waits for it.)")
        result = _complete_in_reactor(_drain(crawl, target, follow, idle, skip_refused))
    except StorageError as exc:
        raise click.ClickException(f"--to {label(to)}: {exc}") from None
    _report(crawl, target, result, as_json)


def _log() -> None:
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s: %(message)s")
    logging.getLogger("crawlo_scrapy").setLevel(logging.INFO)


def require_stream(crawl: Crawl, hint: str = "") -> None:
    """Stop with one line unless there is a stream of items."""
    state = complete(_look(crawl))
    if state.exists:
        return
    if not state.state:
        raise click.ClickException(
            f"there is no crawl {crawl.keys.name} in Redis at {crawl.address}, and no items of "
            f"it.{hint}"
        )
    raise click.ClickException(
        f"the crawl {crawl.keys.name} has no stream of items: none of its workers has stored one "
        f"with crawlo_scrapy.pipelines.RedisStreamPipeline.{hint}"
    )


async def _look(crawl: Crawl) -> StreamState:
    async with crawl.client() as client:
        return await look(client, crawl.keys)


async def _drain(
    crawl: Crawl, target: Target, follow: bool, idle: float, skip_refused: bool
) -> Drained:
    connections = target.limits.writes + _CONNECTIONS
    client = Client.connect(crawl.address, "items-drain", connections=connections)
    reader = ItemReader(client, crawl.keys, f"{default_node()}-{secrets.token_hex(4)}")
    work = Drain(reader, target, follow=follow, silence=idle, skip_refused=skip_refused)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    asked = False

    def end() -> None:
        nonlocal asked
        if asked:
            task.cancel()
        asked = True
        work.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await work.run()
    finally:
        await client.close()


def _install_reactor() -> None:
    """Install the reactor in which Scrapy's feed storages work, before a spider's module may."""
    from scrapy.utils.reactor import install_reactor

    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")


def _complete_in_reactor(coroutine: Coroutine[Any, Any, Drained]) -> Drained:
    """Run *coroutine* to its end."""
    from twisted.internet import reactor

    running: Any = reactor
    tasks: list[asyncio.Task[Drained]] = []

    def start() -> None:
        tasks.append(asyncio.ensure_future(coroutine))
        tasks[0].add_done_callback(lambda _: running.stop())

    running.callLater(0, start)  # in its loop, where tasks can be made
    running.run(installSignalHandlers=False)
    try:
        return tasks[0].result()
    except asyncio.CancelledError:
        raise click.Abort from None


def _report(crawl: Crawl, target: Target, result: Drained, as_json: bool) -> None:
    if as_json:
        print_json({"crawl": crawl.keys.name, "to": target.label, **asdict(result)})
        return
    words = [f"Stored {plural(result.stored, 'item')} of {crawl.keys.name} in {target.label}"]
    if result.refused:
        words.append(
            f"{result.refused:,} refused (`crawlo-scrapy items dead list {crawl.keys.name}`)"
        )
    if result.given_back:
        words.append(f"{result.given_back:,} given back unstored")
    if result.left:
        words.append(f"{result.left:,} left in the stream")
    console().print(f"{'; '.join(words)}.")
