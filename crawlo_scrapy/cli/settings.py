"""`crawlo-scrapy settings`."""

from __future__ import annotations

from dataclasses import asdict

import click

from crawlo_scrapy.cli.output import console, print_json, table
from crawlo_scrapy.cli.project import (
    config_option,
    json_option,
    project_settings,
    require_spider,
)

_EPILOG = """\b
Examples:
  crawlo-scrapy settings
  crawlo-scrapy settings myspider --config worker_settings.py
  crawlo-scrapy settings --all --json
"""


@click.command("settings", epilog=_EPILOG)
@click.argument("spider", required=False)
@config_option
@click.option("--all", "everything", is_flag=True, help="Options that are not set, too.")
@json_option
def command(spider: str | None, config: str | None, everything: bool, as_json: bool) -> None:
    """Show each option that is set: its value, where it came from, what it became.

    With SPIDER, its own settings count, too. Secrets are not shown.
    """
    from crawlo_scrapy.addon import allow_extension_list
    from crawlo_scrapy.config.report import describe

    settings = project_settings(config)
    if spider is not None:
        allow_extension_list(settings)
        require_spider(settings, spider).update_settings(settings)
    rows = describe(settings, everything=everything)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    shown = table("option", "value", "from", "became")
    for row in rows:
        shown.add_row(row.name, row.value, row.source, row.becomes)
    console().print(shown if rows else "No option is set.")
