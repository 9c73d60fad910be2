"""`crawlo-scrapy check`."""

from __future__ import annotations

import subprocess
import sys

import click

from crawlo_scrapy.cli.output import print_json
from crawlo_scrapy.cli.project import (
    config_option,
    final_settings,
    json_option,
    project_settings,
    require_project,
    require_spider,
    spider_loader,
)

_EPILOG = """\b
Examples:
  crawlo-scrapy check
  crawlo-scrapy check myspider --config worker_settings.py --json
"""


@click.command("check", epilog=_EPILOG)
@click.argument("spiders", nargs=-1, metavar="[SPIDER]...")
@click.option("-v", "--verbose", is_flag=True, help="Say more about each contract.")
@config_option
@json_option
def command(spiders: tuple[str, ...], verbose: bool, config: str | None, as_json: bool) -> None:
    """Check that spiders load with settings that can be used, and test their contracts.

    The contracts are tested by `scrapy check`, which fetches pages and joins no crawl.
    """
    require_project()
    settings = project_settings(config)
    names = list(spiders) or sorted(spider_loader(settings).list())
    for name in names:
        final_settings(settings, require_spider(settings, name))
    words = [sys.executable, "-m", "scrapy", "check", *(["-v"] * verbose), *names]
    if not as_json:
        raise click.exceptions.Exit(subprocess.run(words, check=False).returncode)
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    print_json(
        {
            "ok": done.returncode == 0,
            "spiders": names,
            "contracts": (done.stdout + done.stderr).strip().splitlines(),
        }
    )
    raise click.exceptions.Exit(done.returncode)
