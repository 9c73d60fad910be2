"""`crawlo-scrapy items`: what stands in a crawl's stream of items."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from crawlo_scrapy.cli.items_dead import dead
from crawlo_scrapy.cli.items_drain import drain, require_stream
from crawlo_scrapy.cli.items_export import export
from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.pipelines.dead_items import shown_json
from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.pipelines.stream_format import decode
from crawlo_scrapy.store.item_reader import ReaderState, StreamState, look, readers
from crawlo_scrapy.store.items import Entry, Items

#: How many items `tail` shows unless more are asked for.
LIMIT = 10
#: How long `tail --follow` waits for an item before it asks again, in ms.
_WAIT_MS = 2000

_EPILOG = """\b
Examples:
  crawlo-scrapy items drain myspider --to mongodb://db.example/shop --follow
  crawlo-scrapy items tail myspider --follow
  crawlo-scrapy items count myspider
  crawlo-scrapy items export myspider -o items.csv
"""


@click.group("items", epilog=_EPILOG)
def command() -> None:
    """Items that RedisStreamPipeline has put into Redis: store them elsewhere, look at them.

    Only `drain` takes items out.
    """


command.add_command(drain)
command.add_command(export)
command.add_command(dead)


@command.command()
@click.argument("spider", required=False)
@json_option
@redis_options
def count(spider: str | None, as_json: bool, where: Where) -> None:
    """Say how many items of SPIDER wait, who has them, and how many are dead."""
    crawl = crawl_of(spider, where)
    state, found = complete(_look(crawl))
    held = sum(reader.holds for reader in found)
    if as_json:
        print_json({
            "crawl": crawl.keys.name, "waiting": state.waiting, "held": held,
            "dead": state.dead, "readers": [asdict(reader) for reader in found],
        })  # fmt: skip
    else:
        console().print(
            f"{crawl.keys.name}: {plural(state.waiting, 'item')} in the stream, {held:,} of them "
            f"with a reader, {state.dead:,} dead"
        )
        if found:
            rows = table("reader", "#items", "#seconds silent")
            for reader in found:
                rows.add_row(reader.name, f"{reader.holds:,}", f"{reader.idle:.1f}")
            console().print(rows)
    if not state.exists and not state.state:
        raise click.exceptions.Exit(1)


async def _look(crawl: Crawl) -> tuple[StreamState, list[ReaderState]]:
    async with crawl.client() as client:
        return await look(client, crawl.keys), await readers(client, crawl.keys)


@command.command()
@click.argument("spider", required=False)
@click.option("--lines", "-n", type=click.IntRange(0), default=LIMIT, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Say id, time and class, too.")
@redis_options
def tail(spider: str | None, lines: int, follow: bool, as_json: bool, where: Where) -> None:
    """Print the newest items of SPIDER, each as a line of JSON. They stay where they are."""
    crawl = crawl_of(spider, where)
    if not follow:
        require_stream(crawl)
    complete(_tail(crawl, lines, follow, as_json))


async def _tail(crawl: Crawl, lines: int, follow: bool, as_json: bool) -> None:
    async with crawl.client() as client:
        items = Items(client, crawl.keys)
        newest = await items.last(max(1, lines))
        for entry in newest[-lines:] if lines else ():
            click.echo(_line(entry, as_json))
        after = newest[-1].id if newest else "0"
        while follow:
            for entry in await items.wait_after(after, _WAIT_MS):
                click.echo(_line(entry, as_json))
                after = entry.id


def _line(entry: Entry, as_json: bool) -> str:
    try:
        fields: Any = decode(entry.item)[0]
    except ItemRefused as exc:
        fields = {"error": str(exc)}
    if not as_json:
        return shown_json(fields)
    return json.dumps({
        "id": entry.id, "time": moment(entry.time), "class": entry.item.item_class,
        "item": json.loads(shown_json(fields)),
    })  # fmt: skip
