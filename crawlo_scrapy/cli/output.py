"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any

import click
from rich.console import Console
from rich.table import Table

#: Columns where there is no terminal: no line of a table is broken for a program that reads it.
PIPE_WIDTH = 400


def console() -> Console:
    """Return a console for the standard output of now. Nothing in a text counts as markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


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
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Say how many bytes, in megabytes."""
    return f"{count / 2**20:,.0f} MB" if count else "-"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
