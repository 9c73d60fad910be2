"""`crawlo-scrapy genspider`: Scrapy's own, and a test for the spider."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from crawlo_scrapy.cli.project import project_settings, require_project
from crawlo_scrapy.cli.startproject import fill, templates


@click.command("genspider")
@click.argument("name")
@click.argument("domain")
@click.option("-t", "--template", default="basic", show_default=True, help="One of Scrapy's.")
@click.option("--force", is_flag=True, help="Write over a spider of that name.")
def command(name: str, domain: str, template: str, force: bool) -> None:
    """Make the spider NAME for DOMAIN, and a test for it where the project has tests/."""
    from scrapy.utils.conf import closest_scrapy_cfg

    require_project()
    if not force and name in _names():
        raise click.ClickException(f"there is a spider {name!r} already (--force replaces it).")
    words = [sys.executable, "-m", "scrapy", "genspider", "-t", template]
    done = subprocess.run([*words, *(["--force"] * force), name, domain], check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
    settings = project_settings()
    tests = Path(closest_scrapy_cfg()).parent / "tests"
    module = name.replace("-", "_").replace(".", "_")
    test = tests / f"test_{module}.py"
    if tests.is_dir() and not test.exists():
        host = urlsplit(domain if "://" in domain else f"//{domain}").netloc or domain
        text = (templates() / "spider_test.py.tmpl").read_text("utf-8")
        test.write_text(fill(text, settings["BOT_NAME"], spider=name, domain=host), "utf-8")
        click.echo(f"Made its test {test}")


def _names() -> list[str]:
    from crawlo_scrapy.cli.project import spider_loader

    return list(spider_loader(project_settings()).list())
