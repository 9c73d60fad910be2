"""`crawlo-scrapy version`."""

from __future__ import annotations

import platform
from importlib.metadata import version

import click

from crawlo_scrapy import __version__
from crawlo_scrapy.cli.output import print_json
from crawlo_scrapy.cli.project import json_option


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """Show the versions of crawlo_scrapy and of what it stands on."""
    names = ("Scrapy", "Twisted", "redis")
    versions = {"crawlo_scrapy": __version__, **{name: version(name) for name in names}}
    versions["Python"] = platform.python_version()
    if as_json:
        print_json(versions)
        return
    for name, number in versions.items():
        click.echo(f"{name} {number}")
