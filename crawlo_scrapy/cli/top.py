"""`crawlo-scrapy top`: one crawl, live in a terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import click
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from crawlo_scrapy.cli.live import interval_option, show, watch
from crawlo_scrapy.cli.nodes import node_table
from crawlo_scrapy.cli.output import console, plural, size, table
from crawlo_scrapy.cli.project import Crawl, Where, complete, crawl_of, redis_options
from crawlo_scrapy.cli.stats import stats_of
from crawlo_scrapy.extensions.logstats import duration
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.inspect import CrawlState, inspect
from crawlo_scrapy.store.nodes import RATE_SPAN, Node, find_nodes, rate
from crawlo_scrapy.store.stats import ErrorLine, Sample, Stats

#: What is shown at most: slots and priorities, nodes, error lines, samples in a curve.
ROWS, NODES, LINES, CURVE = 8, 20, 5, 60
_BARS = "▁▂▃▄▅▆▇█"


@click.command("top")
@click.argument("spider", required=False)
@click.option("--once", is_flag=True, help="Print one frame and end.")
@interval_option
@redis_options
def command(spider: str | None, once: bool, interval: float, where: Where) -> None:
    """Watch SPIDER's crawl: rates, queue, nodes, latest errors. Reads only; q quits.

    SPIDER may be left out in a project that has only one.
    """
    crawl = crawl_of(spider, where)
    if once:
        console().print(complete(_once(crawl)))
    else:
        watch(_live(crawl, interval))


async def _once(crawl: Crawl) -> RenderableType:
    async with crawl.client() as client:
        return await View(crawl, client).look()


async def _live(crawl: Crawl, interval: float) -> None:
    async with crawl.client() as client:
        await show(View(crawl, client).look, interval, screen=True)


class View:
    """Looks at a crawl, and remembers what it saw in the last minute to tell rates."""

    def __init__(self, crawl: Crawl, client: Client) -> None:
        self._crawl = crawl
        self._client = client
        self._stats: Stats = stats_of(crawl, client)
        self._seen: deque[Sample] = deque()

    async def look(self) -> RenderableType:
        """Return a frame. Raises `StoreError`."""
        state = await inspect(self._client, self._crawl.keys)
        if not state.exists:
            return f"There is no crawl {state.name} in this Redis."
        now = await self._stats.now(state.run)
        samples = await self._stats.series(run=state.run, limit=CURVE + 1)
        nodes = await find_nodes(state, self._stats, self._crawl.timeout)
        lines = await self._stats.errors(LINES)
        recent = sorted({*samples, *self._seen}, key=lambda sample: sample.time)
        frame = Group(
            _head(state), "", _figures(state, now, recent, samples), "", _queue(state), "",
            _nodes(nodes), *_errors(lines),
        )  # fmt: skip
        self._seen.append(now)
        while now.time - self._seen[0].time > 3000 * RATE_SPAN:
            self._seen.popleft()
        return frame


def _head(state: CrawlState) -> str:
    since = (state.finished or state.now) - state.created
    took = f"{'took' if state.finished else 'for'} {duration(since / 60_000)}"
    return f"Crawl {state.name}: {state.state}, run {state.run}, {took}"


def _figures(
    state: CrawlState, now: Sample, recent: Sequence[Sample], samples: Sequence[Sample]
) -> Table:
    rows = table("", "#", "#a minute", "")
    for name in ("pages", "items", "errors"):
        # What is over grows no more.
        grown = None if state.finished else rate(now, recent, name)
        rows.add_row(
            name, f"{getattr(now, name):,}", "-" if grown is None else f"{grown:,.0f}",
            curve([*samples, now], name),
        )  # fmt: skip
    rows.add_row("queued", f"{state.queued:,}", "", _bars([s.queued for s in samples]))
    rows.add_row("in flight", f"{state.started:,} of {state.leased:,}", "", "")
    rows.add_row("done", f"{state.acked:,}", "", "")
    rows.add_row("dead letters", f"{state.dead:,}", "", "")
    rows.add_row("downloaded", size(now.bytes), "", "")
    return rows


def curve(samples: Sequence[Sample], name: str) -> str:
    """Return the growth of a figure from sample to sample, a minute, as a row of bars."""
    return _bars(
        [
            (getattr(later, name) - getattr(sample, name)) / (later.time - sample.time)
            for sample, later in pairwise(samples)
            if later.time > sample.time
        ]
    )


def _bars(values: Sequence[float]) -> str:
    values = values[-CURVE:]
    top = max(values, default=0)
    return "".join(_BARS[round(max(0, v) / top * (len(_BARS) - 1)) if top else 0] for v in values)


def _queue(state: CrawlState) -> RenderableType:
    priorities = table("priority", "#queued")
    for priority, count in state.by_priority[:ROWS]:
        priorities.add_row(str(priority), f"{count:,}")
    slots = table("slot", "#queued")
    for slot, count in state.by_slot[:ROWS]:
        slots.add_row(slot or "(none)", f"{count:,}")
    return Columns([priorities, slots], padding=(0, 4)) if state.by_priority else "Nothing waits."


def _nodes(nodes: list[Node]) -> RenderableType:
    here = [node for node in nodes if node.state != "left"]
    if not here:
        return "No nodes."
    more = f"(and {plural(len(here) - NODES, 'more node')})" if len(here) > NODES else ""
    return Group(node_table(here[:NODES], brief=True), more)


def _errors(lines: list[ErrorLine]) -> list[Any]:
    if not lines:
        return []
    # No wrapping: a line of the log is a line here, cut at the edge.
    texts = [
        Text(f"{datetime.fromtimestamp(line.time):%H:%M:%S} {line.node} {line.text}",
             no_wrap=True, overflow="ellipsis")
        for line in lines
    ]  # fmt: skip
    return ["", "Latest errors", *texts]
