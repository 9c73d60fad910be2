"""Commands that steer a crawl while it runs, and the log of who used them."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone

import click

from crawlo_scrapy.cli.app import did_you_mean
from crawlo_scrapy.cli.output import console, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, redis_options
from crawlo_scrapy.steering import CHANGEABLE, MOST_REQUESTS, slot_doubt
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, Note, NotPossible
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.keys import clean

#: Nodes that a message names at most.
SHOWN_NODES = 20

_node_option = click.option("--node", metavar="ID", help="One node; default: all of the crawl.")


def who() -> str:
    """Return who runs this command, for the crawl's audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


async def note(client: Client, crawl: Crawl, what: str) -> None:
    """Note in the audit log of *crawl* what is about to be done to it by other means.

    A crawl that is gone has no log, and items may outlive it.
    """
    try:
        await Control(client, crawl.keys).note(who(), what)
    except NotPossible as exc:
        if exc.state:
            raise click.ClickException(f"{crawl.keys.name} on {crawl.address}: {exc}.") from None


def chosen_words(verb: str, ids: Sequence[str], options: str, count: int) -> str:
    """Say in a note what *verb* was applied to: ids that were given, or what options chose."""
    named = " ".join(ids[:3]) + " …" * (len(ids) > 3)
    return f"{verb} {named or options} ({count})"


def _change(
    spider: str,
    where: Where,
    action: Callable[[Control], Awaitable[None]],
    done: str,
    *,
    node: str | None = None,
    only_there: bool = False,
) -> None:
    """Do *action*; it is about *node*, if that is given, which with *only_there* must exist."""
    crawl = crawl_of(spider, where)
    missing = complete(_missing(crawl, node)) if node else ""
    if missing and only_there:
        raise click.ClickException(missing)
    try:
        complete(_apply(crawl, action))
    except NotPossible as exc:
        more = " Start a worker, or push, to crawl again." if exc.state == "finished" else ""
        raise click.ClickException(f"{crawl.keys.name} on {crawl.address}: {exc}.{more}") from None
    console().print(f"{crawl.keys.name}: {done}")
    if missing:
        click.echo(f"Note: {missing} It holds for one of that name that comes later.", err=True)


async def _missing(crawl: Crawl, node: str) -> str:
    """Say so if no worker of the crawl is *node*."""
    async with crawl.client() as client:
        state = await inspect(client, crawl.keys)
    # A worker that was given up and came back is NODE~2.
    nodes = {worker.node or re.sub(r"~\d+$", "", worker.id) for worker in state.workers}
    if not state.exists or node in nodes or len(state.workers) < state.workers_count:
        return ""
    there = f"it has {', '.join(sorted(nodes)[:SHOWN_NODES])}" if nodes else "it has none"
    return f"there is no node {node!r} in {crawl.keys.name}; {there}."


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
        pauses = f"node {node} pauses."
        _change(spider, where, lambda c: c.pause_node(who(), node), pauses, node=node)
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
    told = f"node {node} is told to leave."
    # One that comes later under that name would leave at once.
    _change(spider, where, lambda c: c.drain(who(), node), told, node=node, only_there=True)


_default_option = click.option(
    "--default", "back", is_flag=True, help="Go back to what each worker's own settings say."
)


@click.command("scale")
@click.argument("spider")
@click.option("--concurrency", type=click.IntRange(1, MOST_REQUESTS), metavar="N")
@_default_option
@_node_option
@redis_options
def scale(spider: str, concurrency: int | None, back: bool, node: str | None, where: Where) -> None:
    """Set how many requests each worker of SPIDER has in progress (CONCURRENT_REQUESTS)."""
    if (concurrency is None) != back:
        raise click.UsageError("say how many: --concurrency N, or --default.")
    whom = f"node {node}" if node else "each worker"
    done = f"{whom} has {concurrency} requests in progress at most."
    if back:
        limit = "the others may have" if node else "its settings say"
        done = f"{whom} has as many requests in progress as {limit}."
    missing = None if back else node
    _change(spider, where, lambda c: c.scale(who(), concurrency, node or ""), done, node=missing)


@click.command("delay", context_settings={"ignore_unknown_options": True})  # SECONDS may be -1
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
        raise click.UsageError(
            f'SECONDS is {seconds!r}: it must be a number, 0 or more, or "default".'
        ) from None
    done = f"delay of {slot} is {seconds}{'' if value is None else ' s'}."
    _change(spider, where, lambda c: c.delay(who(), clean(slot), value), done)
    if doubt := slot_doubt(slot):
        click.echo(f"Note: {doubt}", err=True)


@click.command("set", epilog=f"Settings: {', '.join(CHANGEABLE)}.")
@click.argument("spider")
@click.argument("name")
@click.argument("value", required=False)
@_default_option
@redis_options
def set_(spider: str, name: str, value: str | None, back: bool, where: Where) -> None:
    """Change the setting NAME of all workers of SPIDER while they run.

    With --default instead of VALUE each worker has its own again.
    """
    if name not in CHANGEABLE:
        raise click.UsageError(
            f"{name} cannot change while a crawl runs.{did_you_mean(name, CHANGEABLE)} "
            f"These can: {', '.join(CHANGEABLE)}."
        )
    if (value is None) != back:
        raise click.UsageError(f"say what {name} is to be: a VALUE, or --default.")
    if value is not None:
        try:
            CHANGEABLE[name](value)
        except ValueError as exc:
            raise click.UsageError(f"{name} is {value!r}: {exc}.") from None
    done = f"{name} is {'what the settings say' if value is None else value}."
    _change(spider, where, lambda c: c.set(who(), name, value), done)


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
