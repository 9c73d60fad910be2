"""Commands that steer a crawl while it runs, and the log of who used them."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone

import click

from crawlo_scrapy.cli.app import did_you_mean
from crawlo_scrapy.cli.output import console, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, redis_options
from crawlo_scrapy.steering import CHANGEABLE
from crawlo_scrapy.store.control import Control, Note, NotPossible
from crawlo_scrapy.store.keys import clean

_node_option = click.option("--node", metavar="ID", help="One node; default: all of the crawl.")


def who() -> str:
    """Return who runs this command, for the crawl's audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _change(
    spider: str, where: Where, action: Callable[[Control], Awaitable[None]], done: str
) -> None:
    crawl = crawl_of(spider, where)
    try:
        complete(_apply(crawl, action))
    except NotPossible as exc:
        raise click.ClickException(f"{crawl.keys.name} on {crawl.address}: {exc}.") from None
    console().print(f"{crawl.keys.name}: {done}")


async def _apply(crawl: Crawl, action: Callable[[Control], Awaitable[None]]) -> None:
    async with crawl.client() as client:
        await action(Control(client, crawl.keys))


@click.command("pause")
@click.argument("spider")
@_node_option
@redis_options
def pause(spider: str, node: str | None, where: Where) -> None:
    """Have the workers of SPIDER start no request until `resume`.

    What is in progress is finished. Workers that are started meanwhile wait, too.
    """
    if node:
        _change(spider, where, lambda c: c.pause_node(who(), node), f"node {node} pauses.")
    else:
        _change(spider, where, lambda c: c.pause(who()), "paused.")


@click.command("resume")
@click.argument("spider")
@_node_option
@redis_options
def resume(spider: str, node: str | None, where: Where) -> None:
    """Let the crawl of SPIDER go on after `pause`, or take `stop` back."""
    if node:
        resumed = f"node {node} goes on."
        _change(spider, where, lambda c: c.pause_node(who(), node, paused=False), resumed)
    else:
        _change(spider, where, lambda c: c.resume(who()), "goes on.")


@click.command("stop")
@click.argument("spider")
@click.option("--now", is_flag=True, help="Do not wait for what is in progress.")
@redis_options
def stop(spider: str, now: bool, where: Where) -> None:
    """Have all workers of SPIDER leave. Nothing is lost: start workers again to go on.

    With --now what is in progress is given back, and crawled again later.
    """
    _change(spider, where, lambda c: c.stop(who(), now=now), "all workers are told to leave.")


@click.command("drain")
@click.argument("spider")
@click.argument("node")
@redis_options
def drain(spider: str, node: str, where: Where) -> None:
    """Have NODE finish what it has in progress, give back the rest, and leave."""
    _change(spider, where, lambda c: c.drain(who(), node), f"node {node} is told to leave.")


@click.command("scale")
@click.argument("spider")
@click.option("--concurrency", type=click.IntRange(1), required=True, metavar="N")
@_node_option
@redis_options
def scale(spider: str, concurrency: int, node: str | None, where: Where) -> None:
    """Set how many requests each worker of SPIDER has in progress (CONCURRENT_REQUESTS)."""
    whom = f"node {node}" if node else "each worker"
    done = f"{whom} has {concurrency} requests in progress at most."
    _change(spider, where, lambda c: c.scale(who(), concurrency, node or ""), done)


@click.command("delay")
@click.argument("spider")
@click.argument("slot")
@click.argument("seconds")
@redis_options
def delay(spider: str, slot: str, seconds: str, where: Where) -> None:
    """Leave SECONDS between two requests to SLOT (a host), whichever workers send them.

    SECONDS "default" goes back to what the settings say; 0 lifts every limit of the delay.
    """
    try:
        value = None if seconds == "default" else float(seconds)
        if value is not None and not 0 <= value < 10**6:
            raise ValueError
    except ValueError:
        raise click.UsageError(f'SECONDS is {seconds!r}: a number, or "default".') from None
    done = f"delay of {slot} is {seconds}{'' if value is None else ' s'}."
    _change(spider, where, lambda c: c.delay(who(), clean(slot), value), done)


@click.command("set", epilog=f"Settings: {', '.join(CHANGEABLE)}.")
@click.argument("spider")
@click.argument("name")
@click.argument("value")
@redis_options
def set_(spider: str, name: str, value: str, where: Where) -> None:
    """Change the setting NAME of all workers of SPIDER while they run."""
    if name not in CHANGEABLE:
        raise click.UsageError(
            f"{name} cannot change while a crawl runs.{did_you_mean(name, CHANGEABLE)} "
            f"These can: {', '.join(CHANGEABLE)}."
        )
    try:
        CHANGEABLE[name](value)
    except ValueError as exc:
        raise click.UsageError(f"{name} is {value!r}: {exc}.") from None
    _change(spider, where, lambda c: c.set(who(), name, value), f"{name} is {value}.")


@click.command("audit")
@click.argument("spider")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@redis_options
def audit(spider: str, limit: int, as_json: bool, where: Where) -> None:
    """Show who steered the crawl of SPIDER, when and how; newest first."""
    notes = complete(_audit(crawl_of(spider, where), limit))
    if as_json:
        click.echo(json.dumps([vars(note) for note in notes]))
        return
    rows = table("when", "who", "what")
    for note in notes:
        when = datetime.fromtimestamp(note.time / 1000, timezone.utc)
        rows.add_row(when.strftime("%Y-%m-%d %H:%M:%S UTC"), note.who, note.what)
    console().print(rows)


async def _audit(crawl: Crawl, limit: int) -> list[Note]:
    async with crawl.client() as client:
        return await Control(client, crawl.keys).audit(limit)
