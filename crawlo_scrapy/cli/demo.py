"""`crawlo-scrapy demo`: a crawl that loses a worker and no page."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar

from crawlo_scrapy.cli.demo_crawl import WORKER_TIMEOUT, DemoCrawl, Result
from crawlo_scrapy.cli.example import example_project
from crawlo_scrapy.cli.output import console, plural, table
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.inspect import CrawlState

WORKERS = 3
#: Share of the pages after which a worker is killed.
KILL_AT = 0.4
#: Pause between two looks at the crawl, in seconds: so exact is the time of the take-over.
LOOK_INTERVAL = 0.1
#: A demo that takes longer hangs, in seconds.
TIMEOUT = 300.0


@dataclass
class Kill:
    """The worker that was killed, when, what it held, and when others had taken that up."""

    name: str
    time: float
    held: int
    replacement: str
    taken_up_after: float | None = None


_EPILOG = """\b
Examples:
  crawlo-scrapy demo
  crawlo-scrapy demo --redis-url redis://10.0.0.5 --items shop-items
"""


@click.command("demo", epilog=_EPILOG)
@click.option("--redis-url", metavar="URL", help="Use this Redis; default: one of its own.")
@click.option("--items", metavar="FOLDER", help="Where the items go; default: a new folder here.")
def command(redis_url: str | None, items: str | None) -> None:
    """Crawl a shop of 2,000 pages with three workers, kill one of them, and count.

    Everything runs on this machine: the shop, Redis, and the workers, which are ordinary
    `scrapy crawl` processes. Exit status 1 if a page was lost.
    """
    folder = _items_folder(items)
    try:
        with contextlib.ExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crawlo-demo-")))
            url = redis_url or stack.enter_context(LocalRedis()).url
            complete = asyncio.run(_demo(logs, folder, url, redis_url is None))
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes
    if not complete:
        raise click.exceptions.Exit(1)


def _items_folder(wanted: str | None) -> Path:
    folder = Path(wanted or f"crawlo-demo-items-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.ClickException(f"{folder} exists and is not an empty folder (--items).")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise click.ClickException(f"cannot make the folder {folder}: {exc.strerror}") from None
    return folder


class Interruption:
    """Ctrl-C and SIGTERM end the demo cleanly."""

    def __init__(self) -> None:
        self._asked = False

    def watch(self) -> None:
        """Cancel the task that calls this when a signal comes."""
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            self._asked = True
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, interrupt)

    def check(self) -> None:
        """Raise if a signal came. A library between may have swallowed the cancellation."""
        if self._asked:
            raise asyncio.CancelledError


async def _demo(logs: Path, items: Path, redis_url: str, own_redis: bool) -> bool:
    out, interruption = console(), Interruption()
    interruption.watch()
    await _check(redis_url)
    crawl = DemoCrawl(example_project(), logs, items, redis_url)
    try:
        shop = await crawl.start_shop()
        out.print(f"The shop is at {shop}: {len(crawl.pages):,} pages.")
        out.print(
            f"Redis is {'one of our own' if own_redis else 'yours'} at {Address(url=redis_url)}."
        )
        out.print(
            f"For this demo a worker counts as dead after {WORKER_TIMEOUT:g} s of silence "
            "(CRAWLO_WORKER_TIMEOUT; default: 15)."
        )
        kill = await _watch(crawl, out, interruption)
        result = await crawl.result()
    finally:
        await crawl.close()
    _summarise(out, result, kill, items)
    return not result.lost and not result.worker_failures


async def _check(redis_url: str) -> None:
    client = Client.connect(Address(url=redis_url))
    try:
        await client.check_server()
    finally:
        await client.close()


async def _watch(crawl: DemoCrawl, out: Console, interruption: Interruption) -> Kill | None:
    """Start the workers, kill one in the middle, and return when all have ended."""
    started, kill = time.monotonic(), None
    for _ in range(WORKERS):
        crawl.start_worker()
    out.print(f"Started {plural(WORKERS, 'worker')}: scrapy crawl shop")
    with Live(console=out, refresh_per_second=8, transient=True) as live:
        while crawl.running:
            interruption.check()
            state = await crawl.look()
            if kill is None and len(crawl.paths) >= KILL_AT * len(crawl.pages):
                kill = _kill_one(crawl, state, out)
            elif kill is not None and kill.taken_up_after is None:
                _note_take_over(kill, state, out)
            live.update(_view(crawl, state, kill))
            if time.monotonic() - started > TIMEOUT:
                raise click.ClickException(f"the crawl has not ended after {TIMEOUT:g} s.")
            await asyncio.sleep(LOOK_INTERVAL)
    out.print(f"All workers have ended after {time.monotonic() - started:.1f} s.")
    return kill


def _kill_one(crawl: DemoCrawl, state: CrawlState, out: Console) -> Kill | None:
    held = {worker.id: worker.leased for worker in state.workers if worker.id in crawl.running}
    victim = max(held, key=lambda name: held[name], default="")
    if not victim or not held[victim]:
        return None
    pid = crawl.workers[victim].pid
    crawl.kill(victim)
    kill = Kill(victim, time.monotonic(), held[victim], crawl.start_worker())
    out.print(
        f"kill -9 {pid}: {victim} died, holding {plural(kill.held, 'request')}. "
        f"Started {kill.replacement} in its place."
    )
    return kill


def _note_take_over(kill: Kill, state: CrawlState, out: Console) -> None:
    if all(worker.id != kill.name for worker in state.workers):
        kill.taken_up_after = time.monotonic() - kill.time
        out.print(f"What {kill.name} held was taken up after {kill.taken_up_after:.1f} s.")


def _view(crawl: DemoCrawl, state: CrawlState, kill: Kill | None) -> RenderableType:
    alive = {worker.id: worker for worker in state.workers}
    workers = table("worker", "#pid", "", "#holds", "#last beat")
    for name, process in crawl.workers.items():
        worker = alive.get(name)
        if name in crawl.killed:
            word = "killed" if worker else "killed, its requests were taken up"
        elif not process.alive:
            word = "ended"
        else:
            word = "crawling" if worker else "starting"
        workers.add_row(
            name, str(process.pid), word,
            str(worker.leased) if worker else "", f"{worker.beat_age:.1f} s" if worker else "",
        )  # fmt: skip
    done, total = len(crawl.paths), len(crawl.pages)
    return Group(
        ProgressBar(total=total, completed=done, width=60),
        f"{done:,} of {total:,} pages fetched   {state.queued:,} queued   "
        f"{state.leased:,} in flight   {state.seen:,} seen",
        workers,
    )


def _summarise(out: Console, result: Result, kill: Kill | None, items: Path) -> None:
    rows = table("", "")
    rows.add_row("pages expected", f"{result.expected:,}")
    rows.add_row("pages crawled", f"{result.crawled:,}")
    rows.add_row("pages lost", f"{len(result.lost):,}")
    rows.add_row("pages fetched twice", f"{result.fetched_twice:,}")
    if kill is None:
        rows.add_row("killed", "nobody: the crawl ended too early")
    elif kill.taken_up_after is not None:
        rows.add_row("dead worker's requests taken up", f"after {kill.taken_up_after:.1f} s")
    else:
        rows.add_row("dead worker's requests taken up", "never")
    rows.add_row("items", f"{result.items:,} in {items}")
    out.print()
    out.print(rows)
    for path in result.lost[:10]:
        out.print(f"lost: {path}")
    for failure in result.worker_failures:
        out.print(failure)
