"""`crawlo-scrapy purge`: a crawl and all it knows, removed."""

from __future__ import annotations

import click

from crawlo_scrapy.cli.output import console, plural
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, redis_options
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import CrawlState, inspect


@click.command("purge")
@click.argument("spider")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Even while workers live in the crawl.")
@redis_options
def command(spider: str, yes: bool, force: bool, where: Where) -> None:
    """Remove the crawl of SPIDER from Redis: queue, seen URLs, dead letters, statistics, items.

    Refused while workers live in it, unless --force is given: they close with an error.
    """
    crawl = crawl_of(spider, where)
    state = complete(_look(crawl))
    name = crawl.keys.name
    living = state.living(crawl.timeout)
    if living and not force:
        raise click.ClickException(
            f"{plural(len(living), 'worker')} of {name} "
            f"({', '.join(worker.id for worker in living[:3])}) still at work. "
            "Stop them first, or use --force."
        )
    content = (
        f"{state.queued:,} queued, {state.leased:,} leased, {state.seen:,} seen, "
        f"{plural(state.dead, 'dead letter')}"
    )
    if not yes:
        click.confirm(f"Purge {name} on {crawl.address} ({content})?", abort=True)
    removed = complete(_purge(crawl))
    if removed:
        console().print(f"Purged {name}: {content}; {plural(removed, 'key')}.")
    else:
        console().print(f"There was nothing of {name} in this Redis.")


async def _look(crawl: Crawl) -> CrawlState:
    async with crawl.client() as client:
        return await inspect(client, crawl.keys)


async def _purge(crawl: Crawl) -> int:
    async with crawl.client() as client:
        return await Frontier(client, crawl.keys).purge()
