"""`crawlo-scrapy shell`."""

from __future__ import annotations

import sys

import click

_EPILOG = """\b
Examples:
  crawlo-scrapy shell https://books.toscrape.com
  crawlo-scrapy shell https://books.toscrape.com -c "response.css('title::text').get()"
"""


@click.command("shell", epilog=_EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[URL] [SCRAPY'S OPTIONS]")
def command(arguments: tuple[str, ...]) -> None:
    """Open Scrapy's interactive shell. It joins no crawl and touches no queue."""
    from scrapy.cmdline import execute

    sys.argv[0] = "scrapy"
    execute(["scrapy", "shell", *arguments])
