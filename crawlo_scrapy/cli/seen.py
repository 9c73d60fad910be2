"""`crawlo-scrapy seen`: what a crawl has seen, counted, and forgotten where it should be new."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

import click

from crawlo_scrapy.cli.output import console, plural, print_json, table
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    json_option,
    redis_options,
)
from crawlo_scrapy.cli.push import Complaints, arguments, lines, request_check
from crawlo_scrapy.cli.seen_forget import Chosen, forget_chosen, glob
from crawlo_scrapy.payload import InvalidRequest, PlainRequest
from crawlo_scrapy.store.bloom import Bloom
from crawlo_scrapy.store.partitions import all_keys
from crawlo_scrapy.store.seen import SeenState, look, overfull

_EPILOG = """\b
Examples:
  crawlo-scrapy seen count myspider
  crawlo-scrapy seen forget myspider --url https://example.com/1 --url https://example.com/2
  crawlo-scrapy seen forget myspider --url https://example.com/search --method POST --body 'q=1'
  crawlo-scrapy seen forget myspider --file urls.txt
  crawlo-scrapy seen forget myspider 'https://example.com/news/*' --file all_urls.txt
  crawlo-scrapy seen forget myspider 'https://example.com/news/*'       (CRAWLO_SEEN_URLS)
  crawlo-scrapy seen forget myspider --older-than 7d      (REDIS_TTL or CRAWLO_SEEN_URLS)
"""

#: Units of ``--older-than``, in seconds.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _age(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if found := re.fullmatch(r"(\d{1,6})([smhd])", value):
        return int(found[1]) * _UNITS[found[2]]
    raise click.BadParameter(f"{value!r} is no age such as 30m, 2h or 7d.")


@click.group("seen", epilog=_EPILOG)
def command() -> None:
    """What a crawl has seen: count it, or forget some of it."""


@command.command("count")
@click.argument("spider")
@json_option
@redis_options
def count(spider: str, as_json: bool, where: Where) -> None:
    """Say how many URLs the crawl of SPIDER has seen, and how it remembers them."""
    crawl = crawl_of(spider, where)
    states = complete(_look(crawl))
    total, home = sum(state.count for state in states), states[0]
    if as_json:
        facts = asdict(home) | {"count": total, "overfull": any(s.overfull for s in states)}
        print_json({"crawl": crawl.keys.name} | facts)
        return
    out = console()
    out.print(f"The crawl {crawl.keys.name} has seen {plural(total, 'URL')}.")
    facts_table = table("", "")
    facts_table.add_row("remembered by", _kind(home))
    facts_table.add_row("new again after", f"{home.ttl:g} s" if home.ttl else "never")
    facts_table.add_row("URLs kept", "yes" if home.urls else "no")
    out.print(facts_table)
    if any(state.overfull for state in states):
        out.print(overfull(home.capacity * len(states)))


def _kind(state: SeenState) -> str:
    if state.how == "exact":
        return "an exact set"
    made = f"made for {plural(state.capacity, 'URL')}, {state.error_rate:.2g} of errors at most"
    if state.how == "bf":
        return f"the Bloom filter of the server's module, {made}"
    filters = Bloom(state.capacity, state.error_rate).filters(state.count)
    return f"{plural(filters, 'Bloom filter')}, {made}"


@command.command("forget", epilog=_EPILOG)
@click.argument("spider")
@click.argument("pattern", required=False)
@click.option("--url", "urls", multiple=True, metavar="URL", help="This URL. Repeatable.")
@click.option(
    "--file",
    type=click.File("r", "utf-8", errors="surrogateescape"),
    metavar="FILE|-",
    help="The URLs or requests in this file, as push reads it; those that PATTERN matches.",
)
@click.option("--method", metavar="WORD", help="HTTP method of --url and --file; default: GET.")
@click.option("--body", metavar="TEXT", help="The requests' body.")
@click.option("--older-than", callback=_age, metavar="AGE", help="Seen so long ago: 30m, 2h, 7d.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@redis_options
def forget_(
    spider: str,
    pattern: str | None,
    urls: tuple[str, ...],
    file: TextIO | None,
    older_than: int | None,
    yes: bool,
    as_json: bool,
    where: Where,
    **given: str | None,
) -> int:
    """Have URLs be new again for the crawl of SPIDER, whether it runs or not.

    In PATTERN, * stands for any text and ? for any character. A crawl keeps no URLs, only hashes:
    a PATTERN chooses from the URLs in --file, or, of a crawl with CRAWLO_SEEN_URLS, from all that
    it has seen. Nothing is queued: a URL is crawled again when it is found or pushed again.
    """
    if urls and (pattern or file is not None):
        raise click.UsageError("--url goes with neither PATTERN nor --file.")
    if older_than is not None and (urls or file is not None):
        raise click.UsageError("--older-than goes with PATTERN only.")
    if not (urls or file is not None or pattern or older_than is not None):
        raise click.UsageError("say what: PATTERN, --url, --file or --older-than.")
    if file is not None and file.name == "<stdin>" and not yes:
        raise click.UsageError("with --file - nobody can be asked: add --yes.")
    crawl = crawl_of(spider, where)
    bad = Complaints(quiet=as_json)
    prints = None
    if urls or file is not None:
        named = lines(file, bad) if file is not None else arguments(urls, bad)
        defaults = {name: value for name, value in given.items() if value}
        requests = _requests(named, defaults, bad)
        prints = _fingerprints(requests, glob(pattern), request_check(crawl, spider, None), bad)
    chosen = Chosen(pattern, older_than, prints, _words(pattern, urls, file, older_than))
    forgotten, unknown = complete(forget_chosen(crawl, chosen, yes))
    if as_json:
        facts = {"forgotten": forgotten, "invalid": bad.count, "unknown": unknown}
        print_json({"crawl": crawl.keys.name} | facts)
    else:
        console().print(f"Forgot {plural(forgotten, 'URL')} of {crawl.keys.name}.")
        if unknown:
            console().print(
                f"Of {plural(unknown, 'seen URL')} only the hash is known: seen before "
                "CRAWLO_SEEN_URLS was set, or recorded without a request."
            )
    return 1 if bad.count else 0


async def _look(crawl: Crawl) -> list[SeenState]:
    async with crawl.client() as client:
        return [await look(client, keys) for keys in await all_keys(client, crawl.keys)]


def _requests(
    given: Iterable[Any], defaults: Mapping[str, str], bad: Complaints
) -> Iterator[PlainRequest]:
    for one in given:
        try:
            yield PlainRequest.read(one, defaults, None)
        except InvalidRequest as exc:
            bad.add(str(exc))


def _fingerprints(
    requests: Iterable[PlainRequest],
    test: Callable[[str], bool],
    check: Callable[[PlainRequest], bytes],
    bad: Complaints,
) -> Iterator[bytes]:
    """Yield what the project's own fingerprinter makes of those requests that pass *test*."""
    for request in requests:
        if test(request.url):
            try:
                yield check(request)
            except InvalidRequest as exc:
                bad.add(str(exc))


def _words(
    pattern: str | None, urls: Sequence[str], file: TextIO | None, older_than: int | None
) -> str:
    words = [pattern or "", *(f"--url {url}" for url in urls[:3]), "…" * (len(urls) > 3)]
    words.append(f"--file {file.name}" if file is not None else "")
    words.append(f"--older-than {older_than}s" if older_than is not None else "")
    return " ".join(word for word in words if word)
