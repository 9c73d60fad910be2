"""What `crawlo-scrapy seen forget` does: find what was chosen, ask, forget, tell the workers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import click

from crawlo_scrapy.cli.control import who
from crawlo_scrapy.cli.output import plural
from crawlo_scrapy.cli.project import Crawl
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, NotPossible
from crawlo_scrapy.store.forgetting import (
    CANNOT,
    STEP,
    forget,
    forget_slices,
    forget_urls,
    kept_count,
    kept_urls,
)
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import all_keys
from crawlo_scrapy.store.seen import SeenState, look


@dataclass(frozen=True)
class Chosen:
    """What is to be forgotten; *words* say it as on the command line.

    `prints` are fingerprints, read as they are needed; without them it is searched for in Redis,
    by `pattern` and by age (`older_than`, in seconds).
    """

    pattern: str | None
    older_than: int | None
    prints: Iterable[bytes] | None
    words: str

    def refuse(self, crawl: Crawl, home: SeenState) -> None:
        """Stop where that cannot be found, or not be forgotten."""
        name = crawl.keys.name
        by_slice = bool(home.ttl and self.older_than is not None and not self.pattern)
        if home.how != "exact" and not by_slice:
            raise click.ClickException(f"{name} has a Bloom filter (CRAWLO_SEEN = bloom). {CANNOT}")
        if self.prints is not None or home.urls or by_slice:
            return
        if self.pattern:
            raise click.ClickException(
                f"{name} keeps no URLs, and a pattern finds nothing in hashes. Name the URLs "
                "(--url), or give a file of URLs for the pattern to choose from (--file); or set "
                "CRAWLO_SEEN_URLS = True, which keeps those that are seen from then on."
            )
        raise click.ClickException(
            f"{name} does not know when a URL was seen. That needs a crawl with REDIS_TTL, or "
            "CRAWLO_SEEN_URLS = True for what is seen from then on."
        )

    async def question(self, client: Client, parts: Sequence[Keys], home: SeenState) -> str:
        """Return what is to be forgotten, for a person to say yes to."""
        if self.prints is not None:
            return f"{self.words} of {plural(home.count, 'seen URL')}"
        if not home.urls:
            return f"what was seen so long ago, in whole slices of {home.ttl / 5:g} s"
        test, before = glob(self.pattern), self.before(home)
        found = 0
        for keys in parts:
            async for page in kept_urls(client, keys, test, before=before):
                found += len(page)
        return plural(found, "URL")

    def before(self, home: SeenState) -> int | None:
        """Return the time before which it was seen."""
        return None if self.older_than is None else home.now - self.older_than * 1000

    async def forget(self, client: Client, keys: Keys, home: SeenState) -> int:
        """Forget what is in one partition; return how many. Not for `prints`."""
        if not home.urls:
            assert self.older_than is not None
            return await forget_slices(client, keys, self.older_than)
        total = 0
        async for page in kept_urls(client, keys, glob(self.pattern), before=self.before(home)):
            total += await forget_urls(client, keys, page)
        return total


async def forget_chosen(crawl: Crawl, chosen: Chosen, yes: bool) -> tuple[int, int]:
    """Forget what was *chosen*. Returns how many, and how many could not be looked at."""
    async with crawl.client() as client:
        parts = await all_keys(client, crawl.keys)
        states = [await look(client, keys) for keys in parts]
        home = replace(states[0], count=sum(state.count for state in states))
        chosen.refuse(crawl, home)
        if not yes:
            what = await chosen.question(client, parts, home)
            text = f"Forget {what}, for {crawl.keys.name} on {crawl.address}?"
            await asyncio.to_thread(click.confirm, text, abort=True)
        unknown = total = 0
        if chosen.prints is not None:
            for batch in _batches(chosen.prints):
                for keys in parts:
                    total += await forget(client, keys, batch)
        else:
            for keys, state in zip(parts, states, strict=True):
                if home.urls:
                    unknown += max(0, state.count - await kept_count(client, keys))
                total += await chosen.forget(client, keys, home)
        if total:
            await _tell(client, crawl, f"seen forget {chosen.words} ({total})")
        return total, unknown


async def _tell(client: Client, crawl: Crawl, what: str) -> None:
    """Have the workers forget, too, what they remember to have seen."""
    try:
        await Control(client, crawl.keys).forgot(who(), what)
    except NotPossible as exc:
        if exc.state:
            raise click.ClickException(f"{crawl.keys.name} on {crawl.address}: {exc}.") from None


def _batches(prints: Iterable[bytes]) -> Iterator[list[bytes]]:
    source = iter(prints)
    while batch := list(islice(source, STEP)):
        yield batch


def glob(pattern: str | None) -> Callable[[str], bool]:
    """Return what tells whether a URL matches; None matches all."""
    if pattern is None:
        return lambda url: True
    parts = [{"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern]
    compiled = re.compile("".join(parts), re.DOTALL)
    return lambda url: compiled.fullmatch(url) is not None
