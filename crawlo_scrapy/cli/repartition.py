"""`crawlo-scrapy repartition`: a crawl divided anew, with all that it has queued and seen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.output import console, plural, print_json, size
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.store.partitions import DIVIDED_BY, MOST_PARTITIONS, Layout, layout_of
from crawlo_scrapy.store.repartition import Outcome, Repartition

_EPILOG = """\b
Examples:
  crawlo-scrapy repartition myspider --partitions 6 --dry-run
  crawlo-scrapy repartition myspider --partitions 6
  crawlo-scrapy repartition shop:myspider:monday --partitions 4 --by fingerprint --yes
  crawlo-scrapy repartition myspider --accept-loss

Stop the workers first. Interrupted, the same command goes on.
"""


@click.command("repartition", epilog=_EPILOG)
@click.argument("spider")
@click.option(
    "--partitions",
    type=click.IntRange(1, MOST_PARTITIONS),
    metavar="N",
    help="Into how many partitions; default: as many as now, after a loss.",
)
@click.option("--by", type=click.Choice(DIVIDED_BY), help="By what; default: as it is now.")
@click.option("--accept-loss", is_flag=True, help="Go on without partitions that are gone.")
@click.option("--dry-run", is_flag=True, help="Say what would be moved; change nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@redis_options
def command(
    spider: str,
    partitions: int | None,
    by: str | None,
    accept_loss: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Divide the crawl of SPIDER into another number of partitions, with all that it has.

    Refused while workers live in it. Afterwards CRAWLO_PARTITIONS and CRAWLO_PARTITION_BY have to
    say the same as this command.
    """
    crawl = crawl_of(spider, where)
    before = complete(_before(crawl))
    partitions, by = partitions or before.count, by or before.by
    layout = Layout(partitions, by) if partitions > 1 else Layout()
    if layout.by == "fingerprint":
        _check_limits(spider, where, layout)
    if dry_run or not yes:
        outlook = complete(_act(crawl, layout, accept_loss, look=True))
        if dry_run:
            _report(crawl, outlook, as_json, dry_run=True)
            return
        click.confirm(
            f"Divide {crawl.keys.name} on {crawl.address}, which has {outlook.before.title}, into "
            f"{layout.title} ({_content(outlook)})?",
            abort=True,
        )
    _report(crawl, complete(_act(crawl, layout, accept_loss, quiet=as_json)), as_json)


def _check_limits(spider: str, where: Where, layout: Layout) -> None:
    """Stop where the settings have limits of slots: workers would refuse to start."""
    settings = {"CRAWLO_PARTITIONS": str(layout.count), "CRAWLO_PARTITION_BY": layout.by}
    connection.layout(crawl_of(spider, replace(where, assigned=settings)).settings)


async def _before(crawl: Crawl) -> Layout:
    async with crawl.client() as client:
        return await layout_of(client, crawl.keys)


async def _act(
    crawl: Crawl, layout: Layout, accept_loss: bool, *, look: bool = False, quiet: bool = False
) -> Outcome:
    async with crawl.client() as client:
        with _progress(look or quiet) as show:
            repartition = Repartition(
                client,
                crawl.keys,
                layout,
                timeout=crawl.timeout,
                max_attempts=ours.get(crawl.settings, "CRAWLO_MAX_ATTEMPTS"),
                accept_loss=accept_loss,
                show=show,
            )
            return await (repartition.look() if look else repartition.run())


@contextmanager
def _progress(hidden: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows the progress on a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show


def _content(outcome: Outcome) -> str:
    content = (
        f"{plural(outcome.requests, 'request')}, {plural(outcome.letters, 'dead letter')}, "
        f"{plural(outcome.seen, 'seen URL')}"
    )
    if outcome.lost:
        content += f"; without what was in partition {', '.join(map(str, outcome.lost))}"
    return content


def _report(crawl: Crawl, outcome: Outcome, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        layouts = {"before": str(outcome.before), "after": str(outcome.after)}
        print_json(vars(outcome) | layouts | {"crawl": crawl.keys.name, "dry_run": dry_run})
        return
    out, after = console(), outcome.after
    would = "Would divide" if dry_run else "Divided"
    out.print(
        f"{would} {crawl.keys.name}, which {'has' if dry_run else 'had'} {outcome.before.title}, "
        f"into {after.title}: {_content(outcome)}."
    )
    if dry_run:
        now, then = outcome.memory
        out.print(f"Memory of what was seen: about {size(now)} now, {size(then)} afterwards.")
        return
    if outcome.resumed:
        out.print("An earlier run was interrupted, and had done some of it.")
    out.print(
        f"Workers need CRAWLO_PARTITIONS = {after.count}"
        + (f" and CRAWLO_PARTITION_BY = {after.by!r} now." if after.count > 1 else " now.")
    )
