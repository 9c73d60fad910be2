"""`crawlo-scrapy migrate`: the queue of another scheduler, and what it has seen, into a crawl."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.output import console, plural, print_json
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    json_option,
    redis_options,
    require_spider,
)
from crawlo_scrapy.cli.push import request_check
from crawlo_scrapy.migration.jobdir import JobDirError, JobDirSource
from crawlo_scrapy.migration.move import CountsDiffer, Move, Moved, Source
from crawlo_scrapy.migration.redis_sources import RedisSource, ScrapyRedisSource, crawlo_source
from crawlo_scrapy.migration.requests import Entry, crawlo_request, scrapy_request
from crawlo_scrapy.migration.same import CRAWLOS, SCRAPY_REDISS, same_fingerprints
from crawlo_scrapy.payload import PlainRequest, push_of
from crawlo_scrapy.store.client import Address
from crawlo_scrapy.store.frontier import Push
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.values import Codec

_EPILOG = """\b
Examples:
  crawlo-scrapy migrate scrapy-redis myspider --dry-run
  crawlo-scrapy migrate scrapy-redis myspider --from-url redis://10.0.0.5/2
  crawlo-scrapy migrate jobdir myspider crawls/myspider-1
  crawlo-scrapy migrate crawlo myspider

Stop the old workers first. Interrupted, the same command goes on.
"""


@click.group("migrate", epilog=_EPILOG)
def command() -> None:
    """Move the queue of another scheduler, and what it has seen, into a crawl."""


_from_url = click.option(
    "--from-url", metavar="URL", help="The Redis that it is in; default: that of the crawl."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be moved; change nothing.")
_refingerprint = click.option(
    "--refingerprint",
    is_flag=True,
    help="Leave what was seen behind: only what is queued counts as seen.",
)


def _common(function: Any) -> Any:
    for option in (redis_options, json_option, _dry_run):
        function = option(function)
    return function


@command.command("scrapy-redis", epilog=_EPILOG)
@click.argument("spider")
@_from_url
@click.option("--queue-key", metavar="KEY", help="Default: SCHEDULER_QUEUE_KEY, SPIDER:requests.")
@click.option(
    "--dupefilter-key", metavar="KEY", help="Default: SCHEDULER_DUPEFILTER_KEY, SPIDER:dupefilter."
)
@_refingerprint
@_common
def scrapy_redis(
    spider: str,
    from_url: str | None,
    queue_key: str | None,
    dupefilter_key: str | None,
    refingerprint: bool,
    dry_run: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Move a list or sorted set of scrapy-redis, and its dupefilter, into the crawl of SPIDER.

    What is no request becomes a dead letter. The dupefilter means something only to a crawl with
    the same fingerprints: REQUEST_FINGERPRINTER_CLASS =
    "crawlo_scrapy.fingerprints.ScrapyRedisFingerprinter".
    """
    crawl = _crawl(spider, where)
    names = {"spider": spider}
    settings = crawl.settings
    queue = queue_key or settings.get("SCHEDULER_QUEUE_KEY") or "%(spider)s:requests"
    known = dupefilter_key or settings.get("SCHEDULER_DUPEFILTER_KEY") or "%(spider)s:dupefilter"
    check = request_check(crawl, spider, None)

    async def act() -> Moved:
        other = _other(crawl, from_url)
        async with other.client() as client:
            source = ScrapyRedisSource(
                client, queue % names, None if refingerprint else known % names
            )
            await source.open(crawl.keys.name)
            await same_fingerprints(source, scrapy_request, check, settings, SCRAPY_REDISS)
            reader = _pushes(scrapy_request, check)
            moved = await _move(crawl, source, reader, dry_run, as_json)
            return _noted(moved, source, other.address)

    _report(crawl, complete(act()), dry_run, as_json)


@command.command("crawlo", epilog=_EPILOG)
@click.argument("spider")
@_from_url
@click.option(
    "--queue-key",
    metavar="KEY",
    help="Default: crawlo:PROJECT:SPIDER:stream:tasks, crawlo:PROJECT:SPIDER:queue:requests, or "
    "crawlo:PROJECT:queue:requests.",
)
@_refingerprint
@_common
def crawlo(
    spider: str,
    from_url: str | None,
    queue_key: str | None,
    refingerprint: bool,
    dry_run: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Move a queue of Crawlo 1.4 or 1.7, and what its workers had in hand.

    It goes into the crawl of SPIDER. Crawlo 1.4 has one queue for all spiders of a project:
    requests of others become dead letters; its filter is left behind. That of 1.7 means something
    only to a crawl with the same fingerprints: REQUEST_FINGERPRINTER_CLASS =
    "crawlo_scrapy.fingerprints.CrawloFingerprinter".
    """
    crawl = _crawl(spider, where)
    check = request_check(crawl, spider, None)
    class_name = require_spider(crawl.settings, spider).__name__
    project, name = crawl.keys.names[:2]

    async def act() -> Moved:
        other = _other(crawl, from_url)
        async with other.client() as client:
            source = await crawlo_source(
                client, project, name, crawl.keys.name, key=queue_key, with_seen=not refingerprint
            )
            whose = None if source.name.startswith(f"crawlo:{project}:{name}:") else class_name

            def read(entry: Entry) -> PlainRequest:
                return crawlo_request(entry, whose)

            await same_fingerprints(source, read, check, crawl.settings, CRAWLOS)
            moved = await _move(crawl, source, _pushes(read, check), dry_run, as_json)
            return _noted(moved, source, other.address)

    _report(crawl, complete(act()), dry_run, as_json)


@command.command("jobdir", epilog=_EPILOG)
@click.argument("spider")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_refingerprint
@_common
def jobdir(
    spider: str, folder: Path, refingerprint: bool, dry_run: bool, as_json: bool, where: Where
) -> None:
    """Move the requests of a paused crawl of Scrapy (its JOBDIR) into the crawl of SPIDER.

    Its requests.queue is called requests.queue.moved afterwards. What was seen means something
    only to a project with the REQUEST_FINGERPRINTER_CLASS that it had.
    """
    crawl = _crawl(spider, where)
    disk_queue = str(crawl.settings["SCHEDULER_DISK_QUEUE"])
    if "Marshal" in disk_queue:
        raise click.ClickException(
            f"SCHEDULER_DISK_QUEUE is {disk_queue}: queues that are not pickled cannot be moved."
        )
    reader = _pushes(scrapy_request, request_check(crawl, spider, None))
    source = JobDirSource(folder, lifo="Fifo" not in disk_queue, with_seen=not refingerprint)

    async def act() -> Moved:
        await source.open(crawl.keys.name)
        return await _move(crawl, source, reader, dry_run, as_json)

    try:
        moved = complete(act())
    except JobDirError as exc:
        raise click.ClickException(str(exc)) from None
    finally:
        source.close()
    _report(crawl, moved, dry_run, as_json)


def _crawl(spider: str, where: Where) -> Crawl:
    if ":" in spider:
        raise click.UsageError("SPIDER must be one of this project; --crawl-id names its crawl.")
    return crawl_of(spider, where)


@contextmanager
def _progress(hidden: bool) -> Iterator[Callable[[Moved, int], None]]:
    """Give what shows the progress on a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda moved, total: None
        return
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=None)

        def show(moved: Moved, total: int) -> None:
            text = f"{moved.entries:,} of {plural(total, 'request')}"
            progress.update(task, description=text, total=total, completed=moved.entries)

        yield show


def _other(crawl: Crawl, from_url: str | None) -> Crawl:
    """Return the crawl as if it were in the Redis at *from_url*."""
    if crawl.address.cluster_nodes and not from_url:
        raise click.ClickException(
            "the crawl is in a cluster, where other queues cannot be: say where with --from-url."
        )
    return replace(crawl, address=Address(url=from_url)) if from_url else crawl


def _pushes(
    read: Callable[[Entry], PlainRequest], check: Callable[[PlainRequest], bytes]
) -> Callable[[Entry], Push]:
    codec = Codec()

    def push(entry: Entry) -> Push:
        request = read(entry)
        return push_of(request, codec, check(request))

    return push


async def _move(
    crawl: Crawl, source: Source, reader: Callable[[Entry], Push], dry_run: bool, as_json: bool
) -> Moved:
    order = ours.get(crawl.settings, "CRAWLO_QUEUE_ORDER")
    async with crawl.client() as client:
        if not dry_run and (await inspect(client, crawl.keys)).living(crawl.timeout):
            raise click.ClickException(
                f"workers of {crawl.keys.name} are running: stop them first, or they crawl what "
                "was seen before the move is through."
            )
        with _progress(as_json) as show:
            seen = connection.seen_choice(crawl.settings)
            move = Move(
                source, client, crawl.keys, reader, order=order, show=show, choice=seen,
                layout=connection.layout(crawl.settings),
            )  # fmt: skip
            try:
                return await (move.try_out() if dry_run else move.run())
            except CountsDiffer as exc:
                raise click.ClickException(
                    f"the counts do not match: {exc}. Nothing was removed; did an old worker still "
                    "run? Give the command again."
                ) from None


def _noted(moved: Moved, source: RedisSource, address: Address) -> Moved:
    """Say where there was nothing: a mistyped key must not look like success."""
    if not moved.entries and not moved.fingerprints:
        keys = ", ".join(source.names)
        click.echo(f"Note: there is nothing in {keys} on {address}.", err=True)
    return moved


def _report(crawl: Crawl, moved: Moved, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json({**vars(moved), "crawl": crawl.keys.name, "dry_run": dry_run})
        return
    out = console()
    would = "Would move" if dry_run else "Moved"
    out.print(
        f"{would} {plural(moved.entries, 'request')} into {crawl.keys.name}: {moved.queued:,} "
        f"queued, {moved.duplicates:,} seen before, {plural(moved.dead, 'dead letter')}; "
        f"{plural(moved.fingerprints, 'fingerprint')}."
    )
    if moved.earlier:
        out.print(f"An earlier run had moved {moved.earlier:,} of them.")
    if moved.dead and not dry_run:
        out.print(f"Why they are dead: crawlo-scrapy dead-letters list {crawl.keys.names[1]}")
