"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Columns where there is no terminal: no line of a table is broken for a program that reads it.
PIPE_WIDTH = 400


class _PlainConsole(Console):
    """Prints texts without what a terminal would obey: they may come from anywhere."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)


def plain(text: str) -> str:
    """Return *text* with its control characters written out, but for ends of lines and tabs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def console() -> Console:
    """Return a console for the standard output of now. Nothing in a text counts as markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return _PlainConsole(markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def print_json(value: Any) -> None:
    click.echo(plain(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def table(*columns: str, title: str | None = None) -> Table:
    """Return a plain table; a column whose name begins with ``#`` holds numbers."""
    result = Table(
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0),
        show_header=any(columns),
    )  # fmt: skip
    for column in columns:
        name = column.removeprefix("#")
        result.add_column(name, justify="right" if name != column else "left", overflow="fold")
    return result


def moment(milliseconds: int) -> str:
    """Say when, in UTC."""
    if not milliseconds:
        return "-"
    try:
        when = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return "?"  # whoever may write to Redis may write any number
    return when.strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Say how many bytes, in megabytes."""
    return f"{count / 2**20:,.0f} MB" if count else "-"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
