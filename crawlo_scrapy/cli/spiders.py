"""`crawlo-scrapy list`."""

from __future__ import annotations

import inspect

import click

from crawlo_scrapy.cli.output import print_json
from crawlo_scrapy.cli.project import (
    config_option,
    json_option,
    project_settings,
    require_project,
    spider_loader,
)

_EPILOG = """\b
Examples:
  crawlo-scrapy list
  crawlo-scrapy list --json
"""


@click.command("list", epilog=_EPILOG)
@config_option
@json_option
def command(config: str | None, as_json: bool) -> None:
    """List the spiders of the project, as `scrapy list` does."""
    require_project()
    loader = spider_loader(project_settings(config))
    names = sorted(loader.list())
    if not as_json:
        for name in names:
            click.echo(name)
        return
    print_json([_described(name, loader.load(name)) for name in names])


def _described(name: str, spidercls: type) -> dict[str, object]:
    return {
        "name": name,
        "class": f"{spidercls.__module__}.{spidercls.__qualname__}",
        "allowed_domains": list(getattr(spidercls, "allowed_domains", None) or ()),
        "description": (inspect.getdoc(spidercls) or "").split("\n", 1)[0]
        if spidercls.__doc__
        else "",
    }
