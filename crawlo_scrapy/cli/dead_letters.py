"""`crawlo-scrapy dead-letters`: requests that were given up, to look at and to try again."""

from __future__ import annotations

from typing import Any

import click

from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    json_option,
    redis_options,
)
from crawlo_scrapy.store.dead_letters import DeadLetter, DeadLetters

#: How many are listed unless more are asked for.
LIMIT = 100

_EPILOG = """\b
Examples:
  crawlo-scrapy dead-letters list myspider --reason callback
  crawlo-scrapy dead-letters requeue myspider 17642500000000000
  crawlo-scrapy dead-letters requeue myspider --all
  crawlo-scrapy dead-letters purge myspider --reason decode
"""

reason_option = click.option(
    "--reason",
    metavar="WORD",
    help="Only those given up for this reason: attempts, decode, callback, fingerprint, …",
)


@click.group("dead-letters", epilog=_EPILOG)
def command() -> None:
    """Requests that were given up: list them, queue them again, or remove them."""


@command.command("list")
@click.argument("spider")
@reason_option
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True)
@json_option
@redis_options
def list_(spider: str, reason: str | None, limit: int, as_json: bool, where: Where) -> None:
    """List the dead letters of SPIDER, oldest first."""
    crawl = crawl_of(spider, where)
    letters = sorted(complete(_find(crawl, reason)), key=lambda letter: letter.time)
    if as_json:
        print_json([as_dict(letter) for letter in letters[:limit]])
        return
    if not letters:
        console().print(f"No dead letters in {crawl.keys.name}.")
        return
    rows = table("id", "reason", "#attempts", "time (UTC)", "URL", "error")
    for letter in letters[:limit]:
        rows.add_row(
            letter.id, letter.reason, str(letter.attempts), moment(letter.time),
            url_of(letter.payload), letter.error,
        )  # fmt: skip
    console().print(rows)
    if len(letters) > limit:
        console().print(f"(and {len(letters) - limit:,} more: --limit)")


def _choice(function: Any) -> Any:
    for option in (
        redis_options,
        click.option("--all", "everything", is_flag=True, help="All of them."),
        reason_option,
        click.argument("ids", nargs=-1),
        click.argument("spider"),
    ):
        function = option(function)
    return function


@command.command()
@_choice
def requeue(
    spider: str, ids: tuple[str, ...], reason: str | None, everything: bool, where: Where
) -> None:
    """Queue dead letters of SPIDER again, with all their attempts before them."""
    crawl, chosen = _choose(spider, ids, reason, everything, where)
    count = complete(_requeue(crawl, chosen))
    console().print(f"Queued {plural(count, 'request')} of {crawl.keys.name} again.")
    _report_missing(ids, count)


@command.command()
@_choice
def purge(
    spider: str, ids: tuple[str, ...], reason: str | None, everything: bool, where: Where
) -> None:
    """Remove dead letters of SPIDER for good."""
    crawl, chosen = _choose(spider, ids, reason, everything, where)
    count = complete(_remove(crawl, chosen))
    console().print(f"Removed {plural(count, 'dead letter')} of {crawl.keys.name}.")
    _report_missing(ids, count)


def _choose(
    spider: str, ids: tuple[str, ...], reason: str | None, everything: bool, where: Where
) -> tuple[Crawl, list[str]]:
    if bool(ids) + (reason is not None) + everything != 1:
        raise click.UsageError("say which: give IDS, or --reason WORD, or --all.")
    crawl = crawl_of(spider, where)
    return crawl, list(ids) or [letter.id for letter in complete(_find(crawl, reason))]


def _report_missing(ids: tuple[str, ...], count: int) -> None:
    if count < len(set(ids)):
        raise click.ClickException(f"{len(set(ids)) - count} of the ids given were not there.")


async def _find(crawl: Crawl, reason: str | None) -> list[DeadLetter]:
    async with crawl.client() as client:
        # A scan may show a letter twice.
        found = {letter.id: letter async for letter in DeadLetters(client, crawl.keys).list()}
    return [letter for letter in found.values() if reason in (None, letter.reason)]


async def _requeue(crawl: Crawl, ids: list[str]) -> int:
    async with crawl.client() as client:
        return await DeadLetters(client, crawl.keys).requeue(ids)


async def _remove(crawl: Crawl, ids: list[str]) -> int:
    async with crawl.client() as client:
        return await DeadLetters(client, crawl.keys).purge(ids)


def as_dict(letter: DeadLetter) -> dict[str, Any]:
    """Return the letter as JSON has it."""
    return {
        "id": letter.id,
        "url": url_of(letter.payload),
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "worker": letter.worker,
        "time": letter.time,
        "slot": letter.slot,
        "priority": letter.priority,
    }


def url_of(payload: bytes) -> str:
    """Return the URL in a payload, or what can be seen of it. No request is built."""
    import ormsgpack

    try:
        url = ormsgpack.unpackb(payload, ext_hook=lambda number, data: None)["u"]
    except (ValueError, TypeError, LookupError):
        return f"(no URL can be read: {payload[:40]!r})"
    return str(url)
