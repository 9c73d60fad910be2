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
from crawlo_scrapy.migration.move import BATCH, CountsDiffer, Move, Moved, Source
from crawlo_scrapy.migration.redis_sources import CrawloSource, ScrapyRedisSource
from crawlo_scrapy.migration.requests import Entry, crawlo_request, scrapy_request
from crawlo_scrapy.payload import InvalidRequest, PlainRequest, push_of
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
        async with _other(crawl, from_url).client() as client:
            source = ScrapyRedisSource(
                client, queue % names, None if refingerprint else known % names
            )
            await source.open(crawl.keys.name)
            if not refingerprint:
                await _same_fingerprints(source, check, settings)
            reader = _pushes(scrapy_request, check)
            return await _move(crawl, source, reader, dry_run, as_json)

    _report(crawl, complete(act()), dry_run, as_json)


@command.command("crawlo", epilog=_EPILOG)
@click.argument("spider")
@_from_url
@click.option("--queue-key", metavar="KEY", help="Default: crawlo:PROJECT_NAME:queue:requests.")
@_common
def crawlo(
    spider: str,
    from_url: str | None,
    queue_key: str | None,
    dry_run: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Move a queue of Crawlo 1.4, and what its workers had in hand, into the crawl of SPIDER.

    Crawlo has one queue for all spiders of a project: requests of others become dead letters. Its
    filter is left behind, for its fingerprints are of another kind: only what is queued counts as
    seen.
    """
    crawl = _crawl(spider, where)
    queue = queue_key or f"crawlo:{crawl.keys.names[0]}:queue:requests"
    class_name = require_spider(crawl.settings, spider).__name__
    reader = _pushes(
        lambda entry: crawlo_request(entry, class_name), request_check(crawl, spider, None)
    )

    async def act() -> Moved:
        async with _other(crawl, from_url).client() as client:
            source = CrawloSource(client, queue)
            await source.open(crawl.keys.name)
            return await _move(crawl, source, reader, dry_run, as_json)

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


async def _same_fingerprints(
    source: ScrapyRedisSource, check: Callable[[PlainRequest], bytes], settings: Any
) -> None:
    """Stop unless the crawl's fingerprints are those of *source*.

    Every request in its queue is in its dupefilter, unless it was not to be filtered. One that is
    found there by our fingerprint proves it; where none can be asked for, the class has to.
    """
    if not await source.seen_total():
        return
    asked = 0
    for entry in await source.read(0, BATCH):
        try:
            request = scrapy_request(entry)
            fingerprint = check(request)
        except InvalidRequest:
            continue
        if not request.dont_filter:
            asked += 1
            if await source.knows(fingerprint):
                return
    path = str(settings["REQUEST_FINGERPRINTER_CLASS"])
    if not asked and "ScrapyRedisFingerprinter" in path:
        return
    raise click.ClickException(
        "the fingerprints of this project are not, as far as can be told, those in the dupefilter; "
        "they are hashes and cannot be made into others. Set REQUEST_FINGERPRINTER_CLASS = "
        "'crawlo_scrapy.fingerprints.ScrapyRedisFingerprinter' to keep those of scrapy-redis 0.8 "
        "or 0.9, or give --refingerprint to leave them behind: pages that were crawled may then "
        "be crawled once more."
    )


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
            move = Move(source, client, crawl.keys, reader, order=order, show=show)
            try:
                return await (move.try_out() if dry_run else move.run())
            except CountsDiffer as exc:
                raise click.ClickException(
                    f"the counts do not match: {exc}. Nothing was removed; did an old worker still "
                    "run? Give the command again."
                ) from None


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
