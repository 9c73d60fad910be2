"""`crawlo-scrapy nodes`: the workers of a crawl and how they are doing."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table

from crawlo_scrapy.cli.output import console, print_json, size, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.cli.stats import stats_of
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.nodes import Node, find_nodes

_EPILOG = """\b
Examples:
  crawlo-scrapy nodes myspider
  crawlo-scrapy nodes myspider --all --json
"""


@click.command("nodes", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--all", "everyone", is_flag=True, help="Those that have left, too.")
@json_option
@redis_options
def command(spider: str | None, everyone: bool, as_json: bool, where: Where) -> None:
    """Show the nodes of SPIDER's crawl: where they run, what they do, when they were heard of.

    A node is silent when it was not heard of for CRAWLO_WORKER_TIMEOUT seconds, and lost once
    others have taken over its requests.
    """
    crawl = crawl_of(spider, where)
    nodes = [node for node in complete(_look(crawl)) if everyone or node.state != "left"]
    if as_json:
        print_json([asdict(node) for node in nodes])
        return
    console().print(node_table(nodes) if nodes else f"No nodes in {crawl.keys.name}.")


async def _look(crawl: Crawl) -> list[Node]:
    async with crawl.client() as client:
        state = await inspect(client, crawl.keys)
        return await find_nodes(state, stats_of(crawl, client), crawl.timeout)


#: Columns that are left out where there is little room.
_DETAILS = ("host", "#pid", "role", "version")


def node_table(nodes: list[Node], *, brief: bool = False) -> Table:
    """Return the nodes as a table, with or without what does not change."""
    columns = [
        "node", "host", "#pid", "role", "version", "state", "#pages/min", "#pages", "#items",
        "#errors", "#in flight", "#memory", "#last beat",
    ]  # fmt: skip
    shown = [column for column in columns if not (brief and column in _DETAILS)]
    rows = table(*shown)
    for node in nodes:
        rate = node.pages_per_minute
        cells = [
            node.worker_id or node.id, node.host or "-", str(node.pid or "-"), node.role or "-",
            node.version or "-", node.state, "-" if rate is None else f"{rate:,.0f}",
            f"{node.pages:,}", f"{node.items:,}", f"{node.errors:,}",
            f"{node.started} of {node.leased}", size(node.memory),
            "-" if node.beat_age is None else f"{node.beat_age:.1f} s",
        ]  # fmt: skip
        rows.add_row(*(c for c, name in zip(cells, columns, strict=True) if name in shown))
    return rows
