"""`crawlo-scrapy purge`: a crawl and all it knows, removed."""

from __future__ import annotations

import click

from crawlo_scrapy.cli.output import console, plural
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, redis_options
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import CrawlState, inspect
from crawlo_scrapy.store.item_reader import StreamState, look

_EPILOG = """\b
Examples:
  crawlo-scrapy purge myspider
  crawlo-scrapy purge shop:myspider:monday --yes --redis-url redis://10.0.0.5
"""


@click.command("purge", epilog=_EPILOG)
@click.argument("spider")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Even while workers live in the crawl.")
@click.option("--items", is_flag=True, help="Items that nobody has drained, too.")
@redis_options
def command(spider: str, yes: bool, force: bool, items: bool, where: Where) -> None:
    """Remove the crawl of SPIDER from Redis: queue, seen URLs, dead letters, statistics.

    Refused while workers live in it, unless --force is given: they close with an error. Refused
    while items wait in it or are dead, unless --items removes them, too.
    """
    crawl = crawl_of(spider, where)
    state, stream = complete(_look(crawl))
    name = crawl.keys.name
    living = state.living(crawl.timeout)
    if living and not force:
        raise click.ClickException(
            f"{plural(len(living), 'worker')} of {name} "
            f"({', '.join(worker.id for worker in living[:3])}) still at work. "
            "Stop them first, or use --force."
        )
    if not items and (stream.waiting or stream.dead):
        raise click.ClickException(
            f"{plural(stream.waiting, 'item')} of {name} are not drained, {stream.dead:,} are "
            f"dead. Store them first (`crawlo-scrapy items drain {name} --to …`, "
            f"`crawlo-scrapy items dead list {name}`), or remove them, too: --items."
        )
    content = (
        f"{state.queued:,} queued, {state.leased:,} leased, {state.seen:,} seen, "
        f"{plural(state.dead, 'dead letter')}, {plural(stream.waiting + stream.dead, 'item')}"
    )
    if not yes:
        click.confirm(f"Purge {name} on {crawl.address} ({content})?", abort=True)
    removed = complete(_purge(crawl, items))
    if removed:
        console().print(f"Purged {name}: {content}; {plural(removed, 'key')}.")
    else:
        console().print(f"There was nothing of {name} in this Redis.")


async def _look(crawl: Crawl) -> tuple[CrawlState, StreamState]:
    async with crawl.client() as client:
        return await inspect(client, crawl.keys), await look(client, crawl.keys)


async def _purge(crawl: Crawl, items: bool) -> int:
    async with crawl.client() as client:
        return await Frontier(client, crawl.keys).purge(items=items)
