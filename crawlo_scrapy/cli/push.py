"""`crawlo-scrapy push`: feed a crawl with URLs, from the command line or from a file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.output import console, plural, print_json
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    crawl_of,
    json_option,
    redis_options,
    require_spider,
)
from crawlo_scrapy.client import CrawlClient, Pushed
from crawlo_scrapy.payload import InvalidRequest, PlainRequest, fingerprint

if TYPE_CHECKING:
    from crawlo_scrapy.store.inspect import CrawlState
    from crawlo_scrapy.store.seen import SeenChoice

#: Lines that are no requests are shown up to this many; all are counted.
SHOWN = 20

_EPILOG = """\b
Examples:
  crawlo-scrapy push myspider https://example.com/1 https://example.com/2
  crawlo-scrapy push myspider --file urls.txt --priority 10
  crawlo-scrapy push myspider --file requests.jsonl --callback parse_item
  zcat urls.gz | crawlo-scrapy push shop:myspider --file - --redis-url redis://10.0.0.5

A line of a file is a URL, or a JSON object with "url" and what else a request has: method, headers,
body, cookies, meta, cb_kwargs, flags, priority, encoding, dont_filter, callback, errback. Empty
lines, and lines that begin with #, do not count.
"""


@click.command("push", epilog=_EPILOG)
@click.argument("spider")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@click.option(
    "--file", "file", type=click.File("r", "utf-8", errors="surrogateescape"), metavar="FILE|-"
)
@click.option("--priority", type=int, metavar="N", help="The higher one goes first; default: 0.")
@click.option("--meta", metavar="JSON", help="The requests' meta, a JSON object.")
@click.option("--callback", metavar="NAME", help="Method of the spider; default: parse.")
@click.option("--method", metavar="WORD", help="HTTP method; default: GET.")
@click.option("--body", metavar="TEXT", help="The requests' body.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Repeatable.")
@click.option("--dont-filter", is_flag=True, help="Queue also what the crawl has seen.")
@click.option("--any-scheme", is_flag=True, help="Also URLs that the settings do not allow.")
@json_option
@redis_options
def command(
    spider: str,
    urls: tuple[str, ...],
    file: TextIO | None,
    any_scheme: bool,
    as_json: bool,
    where: Where,
    **given: Any,
) -> int:
    """Queue URLs for the crawl of SPIDER, each unless the crawl has seen it.

    No worker need run: the crawl is begun if there is none, and the next worker joins it. What is
    no request is reported and does not stop the rest; the exit status is 1 then. Interrupted, the
    same command may be given again.
    """
    if bool(urls) == (file is not None):
        raise click.UsageError("say what to push: URLs, or --file FILE.")
    defaults = _defaults(given)
    crawl = crawl_of(spider, where)
    schemes = None if any_scheme else ours.get(crawl.settings, "CRAWLO_ALLOWED_SCHEMES")
    fingerprinter = request_check(crawl, spider, defaults.get("callback"))
    order = ours.get(crawl.settings, "CRAWLO_QUEUE_ORDER")
    bad = Complaints(quiet=as_json)
    with (
        CrawlClient(
            *crawl.keys.names, redis_url=crawl.address, schemes=schemes, order=order,
            most_bytes=ours.get(crawl.settings, "CRAWLO_MAX_REQUEST_SIZE"),
            fingerprint=fingerprinter, seen=seen_of(crawl, spider),
            layout=None if ":" in spider else connection.layout(crawl.settings),
        ) as client,
        _progress(file, as_json) as show,
    ):  # fmt: skip
        requests = lines(file, bad) if file else arguments(urls, bad)
        pushed = client.push(
            requests, on_invalid=lambda _, why: bad.add(why), on_batch=show, **defaults
        )
        state = client.status()
    pushed.invalid = bad.count
    _report(crawl, pushed, state, as_json)
    return 1 if bad.count else 0


class Complaints:
    """Counts what is no request, and says so while it is not too much."""

    def __init__(self, *, quiet: bool) -> None:
        self.count = 0
        self.place = ""
        self._quiet = quiet

    def add(self, why: str) -> None:
        self.count += 1
        if not self._quiet and self.count <= SHOWN:
            self._say(f"{self.place}: {why}")
        elif not self._quiet and self.count == SHOWN + 1:
            self._say("(further ones are only counted)")

    def _say(self, text: str) -> None:
        # Not click.echo: a progress bar takes what is printed, and stays below it.
        print(text, file=sys.stderr)


def _defaults(given: dict[str, Any]) -> dict[str, Any]:
    """Return what holds for all requests."""
    defaults = {
        name: given[name] for name in ("priority", "callback", "method", "body") if given[name]
    }
    if given["dont_filter"]:
        defaults["dont_filter"] = True
    if given["meta"]:
        try:
            defaults["meta"] = json.loads(given["meta"])
        except ValueError as exc:
            raise click.UsageError(f"--meta is no JSON: {exc}.") from None
        if not isinstance(defaults["meta"], dict):
            raise click.UsageError("--meta must be a JSON object, such as '{\"depth\": 1}'.")
    for header in given["headers"]:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"--header {header!r} is not of the form 'NAME: VALUE'.")
        defaults.setdefault("headers", {}).setdefault(name.strip(), []).append(value.strip())
    return defaults


def seen_of(crawl: Crawl, spider: str) -> SeenChoice | None:
    """Return what the project says of the seen set, for a crawl that is begun."""
    if ":" in spider:  # it may be of another project
        return None
    return connection.seen_choice(crawl.settings)


def request_check(
    crawl: Crawl, spider: str, callback: str | None
) -> Callable[[PlainRequest], bytes]:
    """Return what the workers tell equal requests by; it also refuses callbacks that are none."""
    if ":" in spider:  # it may be of another project
        return fingerprint
    from crawlo_scrapy.serializer import is_callback

    spidercls = require_spider(crawl.settings, spider)

    def has(name: str | None) -> bool:
        return not name or is_callback(spidercls, name)

    if not has(callback):
        raise click.ClickException(f"the spider {spider!r} has no method {callback!r}: --callback.")
    fingerprinter = _fingerprinter(crawl.settings, spidercls)

    def check(request: PlainRequest) -> bytes:
        for name in (request.callback, request.errback):
            if not has(name):
                raise InvalidRequest(f"the spider {spider!r} has no method {name!r:.80}")
        return fingerprinter(request)

    return check


def _fingerprinter(settings: Any, spidercls: Any) -> Callable[[PlainRequest], bytes]:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.utils.misc import build_from_crawler, load_object
    from scrapy.utils.request import RequestFingerprinter

    cls = load_object(settings["REQUEST_FINGERPRINTER_CLASS"])
    if cls is RequestFingerprinter:
        return fingerprint
    own: Any = build_from_crawler(cls, Crawler(spidercls, settings))

    def of(request: PlainRequest) -> bytes:
        names = ("url", "method", "headers", "body", "cookies", "meta", "encoding", "priority",
                 "dont_filter", "flags", "cb_kwargs")  # fmt: skip
        try:
            scrapys = Request(**{name: getattr(request, name) for name in names})
            found: bytes = own.fingerprint(scrapys)
        except Exception as exc:
            # The class is the project's own.
            raise InvalidRequest(f"its fingerprint: {type(exc).__name__}: {exc}") from exc
        return found

    return of


def arguments(urls: Iterable[str], bad: Complaints) -> Iterator[str]:
    """Yield *urls*; complaints say which of them they are about."""
    for number, url in enumerate(urls, 1):
        bad.place = f"URL {number}"
        yield url


def lines(file: TextIO, bad: Complaints) -> Iterator[Any]:
    """Yield what the lines of *file* are; those that are no JSON are complained of here."""
    for number, line in enumerate(file, 1):
        bad.place = f"line {number}"
        text = line.strip().removeprefix("\ufeff")
        if not text or text.startswith("#"):
            continue
        if not _is_utf8(text):
            bad.add("it is not UTF-8")
            continue
        if not text.startswith(("{", "[", '"')):
            yield text
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as exc:
            bad.add(f"no JSON: {exc}")
        else:
            yield found


def _is_utf8(text: str) -> bool:
    """Whether *text*, read with surrogates for what is not UTF-8, has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _progress(file: TextIO | None, as_json: bool) -> Iterator[Callable[[Pushed], None]]:
    """Give what shows the progress, on a terminal, of what is read from a file."""
    if file is None or as_json or not sys.stderr.isatty():
        yield lambda pushed: None
        return
    total = os.fstat(file.fileno()).st_size  # 0 for what has no size
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total or None)

        def show(pushed: Pushed) -> None:
            text = f"{pushed.queued:,} queued, {pushed.duplicates:,} seen before"
            progress.update(task, description=text)
            if total:
                progress.update(task, completed=file.buffer.tell())

        yield show


def _report(crawl: Crawl, pushed: Pushed, state: CrawlState, as_json: bool) -> None:
    living = len(state.living(crawl.timeout))
    if as_json:
        print_json({**vars(pushed), "crawl": crawl.keys.name, "workers": living})
        return
    out = console()
    invalid = f", {pushed.invalid:,} invalid" if pushed.invalid else ""
    out.print(
        f"Queued {plural(pushed.queued, 'request')} for {crawl.keys.name}; "
        f"{pushed.duplicates:,} seen before{invalid}."
    )
    if pushed.queued and not living:
        new = state.pushed == pushed.queued and not state.workers_count
        out.print(
            f"{'The crawl is new. ' if new else ''}"
            "No worker runs: the next one that is started will crawl them."
        )
