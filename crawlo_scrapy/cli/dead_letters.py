"""`crawlo-scrapy dead-letters`: requests that were given up, to look at and to try again."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import IO, Any

import click

from crawlo_scrapy.cli.control import chosen_words, note
from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    json_option,
    redis_options,
)
from crawlo_scrapy.serializer import url_of
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetter, DeadLetters

#: How many are listed unless more are asked for.
LIMIT = 100

_EPILOG = """\b
Examples:
  crawlo-scrapy dead-letters list myspider --reason callback
  crawlo-scrapy dead-letters requeue myspider 17642500000000000
  crawlo-scrapy dead-letters requeue myspider --reason failed --since 2h
  crawlo-scrapy dead-letters requeue myspider --all
  crawlo-scrapy dead-letters export myspider --format csv -o given_up.csv
  crawlo-scrapy dead-letters purge myspider --reason decode
"""

#: Units of ``--since``, in seconds.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: Columns of an export, in their order.
_COLUMNS = ("id", "url", "reason", "error", "attempts", "worker", "time", "slot", "priority")


def _since(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> timedelta | datetime | None:
    if value is None:
        return None
    if found := re.fullmatch(r"(\d{1,6})([smhd])", value):
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a time such as 2024-05-01T12:00 nor 30m, 2h or 7d."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Which:
    """Some of the dead letters: those of a reason, those given up since a time (or so long)."""

    reason: str | None = None
    since: timedelta | datetime | None = None

    @property
    def words(self) -> str:
        """The options that say the same."""
        words = [f"--reason {self.reason}"] if self.reason is not None else []
        if isinstance(self.since, datetime):
            words.append(f"--since {self.since.isoformat()}")
        elif self.since is not None:
            words.append(f"--since {self.since.total_seconds():g}s")
        return " ".join(words) or "--all"

    async def test(self, crawl: Crawl, client: Client) -> Callable[[DeadLetter], bool]:
        """Return what tells whether a letter is one of them. Redis's clock says what is now."""
        least = 0.0
        if isinstance(self.since, datetime):
            least = self.since.timestamp() * 1000
        elif self.since is not None:
            now, _ = await client.call("time", near=crawl.keys.meta)
            least = (now - self.since.total_seconds()) * 1000
        return lambda letter: self.reason in (None, letter.reason) and letter.time >= least


def which_options(function: Any) -> Any:
    """Add the options that choose among the letters. They arrive as one argument, `which`."""

    def collect(*args: Any, **kwargs: Any) -> Any:
        which = Which(kwargs.pop("reason"), kwargs.pop("since"))
        return function(*args, which=which, **kwargs)

    collect.__name__, collect.__doc__ = function.__name__, function.__doc__
    collect.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    reason = click.option(
        "--reason",
        metavar="WORD",
        help="Only those given up for this reason: attempts, failed, decode, callback, …",
    )
    since = click.option(
        "--since",
        callback=_since,
        metavar="WHEN",
        help="Only those given up since then: 30m, 2h, 7d ago, or a time in UTC.",
    )
    return reason(since(collect))


@click.group("dead-letters", epilog=_EPILOG)
def command() -> None:
    """Requests that were given up: list them, queue them again, or remove them."""


@command.command("list")
@click.argument("spider")
@which_options
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True)
@json_option
@redis_options
def list_(spider: str, which: Which, limit: int, as_json: bool, where: Where) -> None:
    """List the dead letters of SPIDER, oldest first."""
    crawl = crawl_of(spider, where)
    letters = sorted(complete(_find(crawl, which)), key=lambda letter: letter.time)
    if as_json:
        print_json([as_dict(letter) for letter in letters[:limit]])
        return
    if not letters:
        console().print(f"No dead letters in {crawl.keys.name}.")
        return
    rows = table("id", "reason", "#attempts", "time (UTC)", "node", "URL", "error")
    for letter in letters[:limit]:
        rows.add_row(
            letter.id, letter.reason, str(letter.attempts), moment(letter.time), letter.worker,
            url_of(letter.payload), letter.error,
        )  # fmt: skip
    console().print(rows)
    if len(letters) > limit:
        console().print(f"(and {len(letters) - limit:,} more: --limit)")
    reasons = Counter(letter.reason for letter in letters).most_common()
    console().print(", ".join(f"{count:,} {reason}" for reason, count in reasons))


@command.command("export")
@click.argument("spider")
@which_options
@click.option("--format", "format_", type=click.Choice(["jsonl", "csv"]), default="jsonl")
@click.option("--output", "-o", "file", type=click.File("w", "utf-8", lazy=True), default="-")
@redis_options
def export(spider: str, which: Which, format_: str, file: IO[str], where: Where) -> None:
    """Write the dead letters of SPIDER to a file, one a line, in no order."""
    crawl = crawl_of(spider, where)
    count = complete(_export(crawl, which, file, format_))
    click.echo(f"Wrote {plural(count, 'dead letter')} of {crawl.keys.name}.", err=True)


async def _export(crawl: Crawl, which: Which, file: IO[str], format_: str) -> int:
    writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
    count = 0
    if format_ == "csv":
        writer.writeheader()
    async with crawl.client() as client:
        async for letter in _each(crawl, client, which):
            row = as_dict(letter)
            row["time"] = f"{moment(letter.time)}Z".replace(" ", "T")
            if format_ == "csv":
                writer.writerow(row)
            else:
                file.write(json.dumps(row) + "\n")
            count += 1
    return count


def _choice(function: Any) -> Any:
    for option in (
        redis_options,
        click.option("--all", "everything", is_flag=True, help="All of them."),
        which_options,
        click.argument("ids", nargs=-1),
        click.argument("spider"),
    ):
        function = option(function)
    return function


@command.command()
@_choice
def requeue(
    spider: str, ids: tuple[str, ...], which: Which, everything: bool, where: Where
) -> None:
    """Queue dead letters of SPIDER again, with all their attempts before them."""
    crawl, chosen = _choose(spider, ids, which, everything, where)
    what = chosen_words("dead-letters requeue", ids, which.words, len(chosen))
    count = complete(_apply(crawl, chosen, what, DeadLetters.requeue))
    console().print(f"Queued {plural(count, 'request')} of {crawl.keys.name} again.")
    _report_missing(ids, count)


@command.command()
@_choice
def purge(spider: str, ids: tuple[str, ...], which: Which, everything: bool, where: Where) -> None:
    """Remove dead letters of SPIDER for good."""
    crawl, chosen = _choose(spider, ids, which, everything, where)
    what = chosen_words("dead-letters purge", ids, which.words, len(chosen))
    count = complete(_apply(crawl, chosen, what, DeadLetters.purge))
    console().print(f"Removed {plural(count, 'dead letter')} of {crawl.keys.name}.")
    _report_missing(ids, count)


def _choose(
    spider: str, ids: tuple[str, ...], which: Which, everything: bool, where: Where
) -> tuple[Crawl, list[str]]:
    if bool(ids) + (which != Which()) + everything != 1:
        raise click.UsageError("say which: give IDS, or --reason WORD and --since WHEN, or --all.")
    crawl = crawl_of(spider, where)
    found = list(ids) or [letter.id for letter in complete(_find(crawl, which))]
    if not found and which.reason is not None:
        reasons = {letter.reason for letter in complete(_find(crawl, Which()))}
        if which.reason not in reasons:
            there = ", ".join(sorted(reasons)) or "none at all"
            click.echo(f"Note: no dead letter is {which.reason!r}; there are: {there}.", err=True)
    return crawl, found


def _report_missing(ids: tuple[str, ...], count: int) -> None:
    if count < len(set(ids)):
        raise click.ClickException(f"{len(set(ids)) - count} of the ids given were not there.")


async def _find(crawl: Crawl, which: Which) -> list[DeadLetter]:
    async with crawl.client() as client:
        return [letter async for letter in _each(crawl, client, which)]


async def _each(crawl: Crawl, client: Client, which: Which) -> AsyncIterator[DeadLetter]:
    chosen = await which.test(crawl, client)
    told: set[str] = set()  # a scan may show a letter twice
    async for letter in DeadLetters(client, crawl.keys).list():
        if letter.id not in told and chosen(letter):
            told.add(letter.id)
            yield letter


async def _apply(crawl: Crawl, ids: list[str], what: str, action: Any) -> int:
    async with crawl.client() as client:
        if ids:
            await note(client, crawl, what)
        return int(await action(DeadLetters(client, crawl.keys), ids))


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
