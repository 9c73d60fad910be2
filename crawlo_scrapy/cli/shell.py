"""`crawlo-scrapy shell`."""

from __future__ import annotations

import sys

import click


@click.command("shell", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[URL] [SCRAPY'S OPTIONS]")
def command(arguments: tuple[str, ...]) -> None:
    """Open Scrapy's interactive shell. It joins no crawl and touches no queue."""
    from scrapy.cmdline import execute

    sys.argv[0] = "scrapy"
    execute(["scrapy", "shell", *arguments])
