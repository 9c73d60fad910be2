"""`crawlo-scrapy genspider`: Scrapy's own, and a test for the spider."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from crawlo_scrapy.cli.project import project_settings, require_project, require_spider
from crawlo_scrapy.cli.startproject import fill, templates

_EPILOG = """\b
Examples:
  crawlo-scrapy genspider books books.toscrape.com
  crawlo-scrapy genspider local http://127.0.0.1:8000/start
  crawlo-scrapy genspider -t crawl books books.toscrape.com
"""


@click.command("genspider", epilog=_EPILOG)
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
    words += [*(["--force"] * force), name, domain]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode or name not in _names():
        # Scrapy says what is wrong and exits with status 0.
        reason = " ".join(done.stdout.split()) or "scrapy genspider failed"
        raise click.ClickException(f"{reason.rstrip('.')}.")
    click.echo(done.stdout, nl=False)
    _allow_every_port(name)
    tests = Path(closest_scrapy_cfg()).parent / "tests"
    module = name.replace("-", "_").replace(".", "_")
    test = tests / f"test_{module}.py"
    if tests.is_dir() and not test.exists():
        host = urlsplit(domain if "://" in domain else f"//{domain}").netloc or domain
        text = (templates() / "spider_test.py.tmpl").read_text("utf-8")
        project = project_settings()["BOT_NAME"]
        test.write_text(fill(text, project, spider=name, domain=host), "utf-8")
        click.echo(f"Made its test {test}")


def _names() -> list[str]:
    from crawlo_scrapy.cli.project import spider_loader

    return list(spider_loader(project_settings()).list())


def _allow_every_port(name: str) -> None:
    """Take the port out of the spider's allowed_domains: with it, every link is off site."""
    spider: Any = require_spider(project_settings(), name)
    path = Path(inspect.getfile(spider))
    text = path.read_text("utf-8")
    for domain in getattr(spider, "allowed_domains", ()):
        host = urlsplit(f"//{domain}").hostname
        if host and host != domain:
            text = text.replace(f'allowed_domains = ["{domain}"]', f'allowed_domains = ["{host}"]')
    path.write_text(text, "utf-8")
