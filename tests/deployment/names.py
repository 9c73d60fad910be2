"""What manifests may say: variables that mean something, commands that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import click

from crawlo_scrapy.cli.app import cli
from crawlo_scrapy.config.environment import read_environment
from crawlo_scrapy.config.parse import OptionError


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Those that no option is read from."""
    return [name for name in names if not _is_read(name)]


def _is_read(name: str) -> bool:
    try:
        return bool(read_environment({name: "1"}))
    except OptionError:  # it wants another value
        return True


def check_command(words: Sequence[str]) -> Mapping[str, object]:
    """Return the options of a command line of ours, which must be one that is understood."""
    assert words[0] == "crawlo-scrapy"
    group = click.Context(cli, info_name="crawlo-scrapy")
    name, command, rest = cli.resolve_command(group, list(words[1:]))
    assert command is not None
    return command.make_context(name, rest, parent=group).params
