"""`crawlo-scrapy items export`: items into one file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.items_drain import require_stream
from crawlo_scrapy.cli.output import plural
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    final_settings,
    project_settings,
    redis_options,
)
from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError
from crawlo_scrapy.pipelines.exporting import Exporting
from crawlo_scrapy.pipelines.fields import fingerprint, to_json
from crawlo_scrapy.pipelines.stream_format import decode
from crawlo_scrapy.store.items import Items, StreamItem

_EPILOG = """\b
Examples:
  crawlo-scrapy items export myspider -o items.json
  crawlo-scrapy items export myspider -o items.csv.gz --once
  crawlo-scrapy items export myspider | jq .price
  crawlo-scrapy items export --from items/a.jsonl --from items/b.jsonl -o items.csv
"""


@click.command("export", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--output", "-o", metavar="FILE", help="Default: the standard output.")
@click.option("--format", "format_", metavar="FORMAT", help="json, jsonlines, csv, xml, …")
@click.option(
    "--from",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Read a file of JSON lines, and not Redis; may be repeated.",
)
@click.option("--once", is_flag=True, help="Leave out repeats, by CRAWLO_ITEM_KEY or all fields.")
@redis_options
def export(
    spider: str | None,
    output: str | None,
    format_: str | None,
    files: tuple[str, ...],
    once: bool,
    where: Where,
) -> None:
    """Write the items of SPIDER that are in Redis now into one file; they stay in Redis.

    FILE's ending tells the format, and a further .gz, .bz2 or .xz compresses. A table has a
    column for each field that some item has. A file that is there is replaced at the end.
    """
    if files and spider is not None:
        raise click.UsageError("give SPIDER or --from, not both.")
    if files:
        settings = final_settings(project_settings(where.config, where.overrides))
    else:
        crawl = crawl_of(spider, where)
        require_stream(crawl)
        settings = crawl.settings
    try:
        exporting = Exporting(settings, output or "", format_ or (None if output else "jsonlines"))
    except StorageError as exc:
        raise click.ClickException(f"{exc}.") from None
    spool = _Spool(ours.get(settings, "CRAWLO_ITEM_KEY") if once else None)
    with spool.file:
        if files:
            for path in files:
                spool.add_lines(path)
        else:
            complete(_read(crawl, spool))
        count = _write(exporting, spool, output)
    notes = [f"Exported {plural(count, 'item')}"]
    if spool.repeats:
        notes.append(f"left out {plural(spool.repeats, 'repeat')}")
    if spool.broken:
        notes.append(f"left out {spool.broken:,} that could not be read: {spool.why}")
    click.echo(f"{'; '.join(notes)}.", err=True)


async def _read(crawl: Crawl, spool: _Spool) -> None:
    async with crawl.client() as client:
        async for entry in Items(client, crawl.keys).all():
            spool.add(entry.item)


class _Spool:
    """Items on disk as JSON lines, between reading and writing: the columns are known after all."""

    def __init__(self, key: list[str] | None) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by its user
        self.columns: dict[str, None] = {}
        self.repeats = self.broken = 0
        self.why = ""
        self._key = key
        self._seen: set[str] = set()

    def add_lines(self, path: str) -> None:
        with open(path, "rb") as file:
            for line in file:
                if line.strip():
                    self.add(StreamItem("json", "builtins.dict", line))

    def add(self, item: StreamItem) -> None:
        try:
            fields, _ = decode(item)
            line = to_json(fields)
            known_by = None if self._key is None else fingerprint(fields, self._key)
        except ItemRefused as exc:
            self.broken += 1
            self.why = self.why or str(exc)
            return
        if known_by in self._seen:
            self.repeats += 1
            return
        if known_by is not None:
            self._seen.add(known_by)
        self.columns.update(dict.fromkeys(fields))
        self.file.write(line + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.file.seek(0)
        return map(json.loads, self.file)


def _write(exporting: Exporting, spool: _Spool, output: str | None) -> int:
    if output is None:
        count = exporting.write(sys.stdout.buffer, spool, list(spool.columns))
        sys.stdout.buffer.flush()
        return count
    path = Path(output)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                count = exporting.write(file, spool, list(spool.columns))
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as exc:
        raise click.ClickException(f"cannot write {output}: {exc.strerror}.") from None
    return count
