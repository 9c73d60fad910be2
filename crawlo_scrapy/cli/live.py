"""Commands that look again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import click
from rich.console import RenderableType
from rich.live import Live

from crawlo_scrapy.cli.output import console
from crawlo_scrapy.cli.project import complete

interval_option = click.option(
    "--interval", type=click.FloatRange(0.1), default=2.0, show_default=True, metavar="SECONDS",
    help="Time between two looks.",
)  # fmt: skip


def watch(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run *coroutine* until it ends, or somebody presses Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        complete(coroutine)


async def show(
    look: Callable[[], Awaitable[RenderableType]], interval: float, *, screen: bool = False
) -> None:
    """Show what *look* returns, anew every *interval* seconds, until ``q`` is pressed.

    Where there is no terminal, one frame is printed after the other; a text as a line.
    """
    out = console()
    if not out.is_terminal:
        while True:
            frame = await look()
            click.echo(frame) if isinstance(frame, str) else out.print(frame)
            sys.stdout.flush()
            await asyncio.sleep(interval)
    out.soft_wrap = False  # a frame that is broken into more lines would not be drawn over
    with (
        Live(await look(), console=out, auto_refresh=False, screen=screen) as live,
        _keys() as quit_,
    ):
        while not quit_.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(quit_.wait(), interval)
            live.update(await look(), refresh=True)


@contextlib.contextmanager
def _keys() -> Iterator[asyncio.Event]:
    """An event that is set once somebody presses ``q``."""
    pressed = asyncio.Event()
    if not sys.stdin.isatty():
        yield pressed
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    loop = asyncio.get_running_loop()

    def read() -> None:
        if b"q" in os.read(terminal, 100).lower():
            pressed.set()

    tty.setcbreak(terminal)
    loop.add_reader(terminal, read)
    try:
        yield pressed
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
