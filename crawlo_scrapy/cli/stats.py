"""`crawlo-scrapy stats`: what a crawl has counted, as a whole and node by node."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table

from crawlo_scrapy.cli.live import interval_option, show, watch
from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, json_option, redis_options
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.stats import SAMPLED, NodeStats, Run, Stats, merge
from crawlo_scrapy.values import Codec

#: How many nodes have a column of their own.
MOST_COLUMNS = 6
#: Growth is measured over this time, in seconds.
GROWTH_SPAN = 60.0

_EPILOG = """\b
Examples:
  crawlo-scrapy stats myspider               added up over the crawl's nodes
  crawlo-scrapy stats myspider --nodes       and each node's beside it
  crawlo-scrapy stats myspider --node web-1  of the nodes whose name begins so
  crawlo-scrapy stats myspider --history     runs, newest first
  crawlo-scrapy stats myspider --run 3 --json
  crawlo-scrapy stats myspider --follow
"""


@click.command("stats", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--nodes", "by_node", is_flag=True, help="Each node's stats, too.")
@click.option("--node", metavar="ID", help="Only of nodes whose id begins so.")
@click.option("--run", "number", type=click.IntRange(0), help="Of this run; default: the newest.")
@click.option("--history", is_flag=True, help="The runs whose stats are kept.")
@click.option("--follow", "-f", is_flag=True, help="Again and again, with the growth a minute.")
@interval_option
@json_option
@redis_options
def command(spider: str | None, where: Where, **flags: Any) -> None:
    """Show what the workers of SPIDER have counted, added up over the nodes of a run.

    SPIDER may be left out in a project that has only one.
    """
    if flags["history"] + flags["follow"] + flags["by_node"] > 1:
        raise click.UsageError("--history, --follow and --nodes do not go together.")
    crawl = crawl_of(spider, where)
    if flags["history"]:
        _show_history(crawl, flags["as_json"])
    elif flags["follow"]:
        watch(_follow(crawl, flags))
    else:
        _show_once(crawl, flags)


def stats_of(crawl: Crawl, client: Client) -> Stats:
    """Return what reads the stats of *crawl*."""
    return Stats(client, crawl.keys, Codec(), silence=crawl.timeout)


async def _find(
    crawl: Crawl, stats: Stats, number: int | None, node: str | None
) -> tuple[Run, list[NodeStats]]:
    """Return the run, and those of its nodes, that are asked for. Stops where there are none."""
    runs = await stats.runs()
    run = next((run for run in runs if number in (None, run.number)), None)
    if run is None:
        kept = ", ".join(str(run.number) for run in reversed(runs))
        raise click.ClickException(
            f"there are no stats of run {number}; there are of: {kept}."
            if runs
            else f"there are no stats of {crawl.keys.name} in this Redis."
        )
    nodes = list((await stats.nodes(run.number)).values())
    if node is not None:
        nodes = [n for n in nodes if n.id.startswith(node) or n.worker_id.startswith(node)]
    if not nodes:
        raise click.ClickException(f"no node of run {run.number} has an id that begins so: {node}")
    return run, nodes


def _show_once(crawl: Crawl, flags: dict[str, Any]) -> None:
    run, nodes = complete(_look(crawl, flags))
    totals = merge(node.stats for node in nodes)
    if flags["as_json"]:
        result = {"crawl": crawl.keys.name, "run": run.number, "stats": totals}
        if flags["by_node"]:
            result["nodes"] = {node.id: _as_dict(node) for node in nodes}
        print_json(result)
        return
    out = console()
    out.print(_heading(crawl, run, nodes, flags["node"]))
    columns = nodes[-MOST_COLUMNS:] if flags["by_node"] else []
    rows = table("", "#all" if columns else "#", *(f"#{node.id}" for node in columns))
    for key, value in totals.items():
        own = [node.stats[key].value if key in node.stats else "" for node in columns]
        rows.add_row(key, *(_text(part) for part in (value, *own)))
    out.print(rows)
    if columns and len(columns) < len(nodes):
        out.print(f"(the latest {len(columns)} of {len(nodes)} nodes; --json has all)")


async def _look(crawl: Crawl, flags: dict[str, Any]) -> tuple[Run, list[NodeStats]]:
    async with crawl.client() as client:
        return await _find(crawl, stats_of(crawl, client), flags["number"], flags["node"])


def _as_dict(node: NodeStats) -> dict[str, Any]:
    return {
        "worker": node.worker_id, "written": node.written, "left": node.left,
        "stats": dict(sorted(node.values.items())),
    }  # fmt: skip


def _heading(crawl: Crawl, run: Run, nodes: list[NodeStats], node: str | None) -> str:
    began = f", begun {moment(run.created)} UTC" if run.created else ""
    who = ", ".join(node.id for node in nodes) if node else plural(len(nodes), "node")
    return f"Crawl {crawl.keys.name}, run {run.number}{began}: {who}"


async def _follow(crawl: Crawl, flags: dict[str, Any]) -> None:
    looks: deque[tuple[float, dict[str, Any]]] = deque()
    async with crawl.client() as client:
        stats = stats_of(crawl, client)

        async def look() -> RenderableType:
            run, nodes = await _find(crawl, stats, flags["number"], flags["node"])
            totals = merge(node.stats for node in nodes)
            if flags["as_json"]:
                return json.dumps({"run": run.number, "stats": totals}, default=str)
            looks.append((time.monotonic(), totals))
            while looks[-1][0] - looks[0][0] > GROWTH_SPAN:
                looks.popleft()
            return Group(_heading(crawl, run, nodes, flags["node"]), _growth(looks))

        await show(look, flags["interval"])


def _growth(looks: Sequence[tuple[float, dict[str, Any]]]) -> Table:
    (then, before), (now, totals) = looks[0], looks[-1]
    rows = table("", "#", "#a minute")
    for key, value in totals.items():
        old, grown = before.get(key, 0), ""
        if now > then and value != old and isinstance(value, int) and isinstance(old, int):
            grown = f"{(value - old) * 60 / (now - then):+,.0f}"
        rows.add_row(key, _text(value), grown)
    return rows


def _show_history(crawl: Crawl, as_json: bool) -> None:
    runs = complete(_history(crawl))
    if as_json:
        print_json([asdict(run) | {"stats": totals} for run, totals in runs])
        return
    rows = table("#run", "begun (UTC)", "finished (UTC)", "reason", "#nodes", "#pages", "#items",
                 "#errors")  # fmt: skip
    for run, totals in runs:
        finished = totals.get("finish_time")
        rows.add_row(
            str(run.number), moment(run.created),
            f"{finished:%Y-%m-%d %H:%M:%S}" if isinstance(finished, datetime) else "-",
            str(totals.get("finish_reason", "-")), str(run.nodes),
            *(_text(totals.get(key, 0)) for key in SAMPLED[:3]),
        )  # fmt: skip
    console().print(rows if runs else f"There are no stats of {crawl.keys.name} in this Redis.")


async def _history(crawl: Crawl) -> list[tuple[Run, dict[str, Any]]]:
    async with crawl.client() as client:
        stats = stats_of(crawl, client)
        return [(run, await stats.totals(run.number)) for run in await stats.runs()]


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
