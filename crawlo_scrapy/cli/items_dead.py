"""`crawlo-scrapy items dead`: items that no storage took."""

from __future__ import annotations

import json
from typing import Any

import click

from crawlo_scrapy.cli.control import chosen_words, note
from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.pipelines.dead_items import shown_json
from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.pipelines.stream_format import decode
from crawlo_scrapy.store.dead_items import DeadItems
from crawlo_scrapy.store.items import Entry

#: How many are listed unless more are asked for.
LIMIT = 100
#: How much of an item a table shows, in characters.
_WIDTH = 200

_EPILOG = """\b
Examples:
  crawlo-scrapy items dead list myspider
  crawlo-scrapy items dead requeue myspider --all
  crawlo-scrapy items dead purge myspider 1764025200000-0
"""


@click.group("dead", epilog=_EPILOG)
def dead() -> None:
    """Items that their storage refused: list them, put them back, or remove them."""


@dead.command("list")
@click.argument("spider")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True)
@json_option
@redis_options
def list_(spider: str, limit: int, as_json: bool, where: Where) -> None:
    """List the dead items of SPIDER, oldest first."""
    crawl = crawl_of(spider, where)
    found = complete(_find(crawl))
    if as_json:
        print_json([as_dict(entry) for entry in found[:limit]])
        return
    if not found:
        console().print(f"No dead items in {crawl.keys.name}.")
        return
    rows = table("id", "time (UTC)", "storage", "reason", "item")
    for entry in found[:limit]:
        shown = shown_json(_fields(entry))
        cut = shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}…"
        rows.add_row(entry.id, moment(entry.time), entry.storage, entry.reason, cut)
    console().print(rows)
    if len(found) > limit:
        console().print(f"(and {len(found) - limit:,} more: --limit)")


def _choice(function: Any) -> Any:
    for option in (
        redis_options,
        click.option("--all", "everything", is_flag=True, help="All of them."),
        click.argument("ids", nargs=-1),
        click.argument("spider"),
    ):
        function = option(function)
    return function


@dead.command()
@_choice
def requeue(spider: str, ids: tuple[str, ...], everything: bool, where: Where) -> None:
    """Put dead items of SPIDER back into the stream, where `items drain` finds them."""
    crawl, chosen = _choose(spider, ids, everything, where)
    what = chosen_words("items dead requeue", ids, "--all", len(chosen))
    count = complete(_apply(crawl, chosen, what, DeadItems.requeue))
    console().print(f"Put {plural(count, 'item')} of {crawl.keys.name} back into the stream.")
    _report_missing(ids, count)


@dead.command()
@_choice
def purge(spider: str, ids: tuple[str, ...], everything: bool, where: Where) -> None:
    """Remove dead items of SPIDER for good."""
    crawl, chosen = _choose(spider, ids, everything, where)
    what = chosen_words("items dead purge", ids, "--all", len(chosen))
    count = complete(_apply(crawl, chosen, what, DeadItems.purge))
    console().print(f"Removed {plural(count, 'dead item')} of {crawl.keys.name}.")
    _report_missing(ids, count)


def _choose(
    spider: str, ids: tuple[str, ...], everything: bool, where: Where
) -> tuple[Crawl, list[str]]:
    if bool(ids) + everything != 1:
        raise click.UsageError("say which: give IDS, or --all.")
    wrong = [word for word in ids if not word.replace("-", "", 1).isdigit()]
    if wrong:
        raise click.UsageError(f"{wrong[0]!r} is not the id of an item, such as 1764025200000-0.")
    crawl = crawl_of(spider, where)
    return crawl, list(ids) or [entry.id for entry in complete(_find(crawl))]


def _report_missing(ids: tuple[str, ...], count: int) -> None:
    if count < len(set(ids)):
        raise click.ClickException(f"{len(set(ids)) - count} of the ids given were not there.")


async def _find(crawl: Crawl) -> list[Entry]:
    async with crawl.client() as client:
        return [entry async for entry in DeadItems(client, crawl.keys).list()]


async def _apply(crawl: Crawl, ids: list[str], what: str, action: Any) -> int:
    async with crawl.client() as client:
        if ids:
            await note(client, crawl, what)
        return int(await action(DeadItems(client, crawl.keys), ids))


def as_dict(entry: Entry) -> dict[str, Any]:
    """Return a dead item as JSON has it."""
    return {
        "id": entry.id,
        "time": moment(entry.time),
        "storage": entry.storage,
        "reason": entry.reason,
        "class": entry.item.item_class,
        "item": json.loads(shown_json(_fields(entry))),
    }


def _fields(entry: Entry) -> dict[str, Any]:
    try:
        return decode(entry.item)[0]
    except ItemRefused:
        return {"payload": entry.item.payload}
