"""`crawlo-scrapy redis-conf`."""

from __future__ import annotations

import secrets

import click

from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import config_option, final_settings, project_settings
from crawlo_scrapy.store.acl import reader_rule, worker_rule

_EPILOG = """\b
Examples:
  crawlo-scrapy redis-conf > redis.conf && redis-server redis.conf
  crawlo-scrapy redis-conf --config settings_distributed.py
  crawlo-scrapy redis-conf --acl >> redis.conf
"""


@click.command("redis-conf", epilog=_EPILOG)
@click.option("--acl", is_flag=True, help="Print users with no more rights than they need.")
@config_option
def command(config: str | None, acl: bool) -> None:
    """Print a redis.conf for the project's Redis, its password included.

    From BIND_ADDRESS, REDIS_PORT and REQUIREPASS (or REDIS_PASSWORD); what is appended is on
    disk within a second, and nothing is evicted: a queue is not a cache.

    With --acl: two users to append to it, crawlo-worker and crawlo-reader, each with a new
    random password. The second is for the commands and pages that only look on.
    """
    if acl:
        for name, rule in (("crawlo-worker", worker_rule()), ("crawlo-reader", reader_rule())):
            click.echo(f"user {name} on >{secrets.token_urlsafe(24)} {rule}")
        return
    settings = final_settings(project_settings(config))
    bind = ours.get(settings, "BIND_ADDRESS")
    password = ours.get(settings, "REQUIREPASS") or ours.get(settings, "REDIS_PASSWORD")
    addresses = " ".join(dict.fromkeys([*(bind or "").replace(",", " ").split(), "127.0.0.1"]))
    lines = [
        "# Made by crawlo-scrapy redis-conf.",
        f"bind {addresses}",
        "protected-mode yes",
        f"port {ours.get(settings, 'REDIS_PORT')}",
    ]
    if password:
        lines.append(f"requirepass {_quoted(password)}")
    else:
        lines.append("# requirepass: set REQUIREPASS before you let other hosts in.")
    lines += [
        "# A crawl outlives a restart; a crash costs at most the last second.",
        "appendonly yes",
        "appendfsync everysec",
        "save 900 1",
        "save 300 10",
        "save 60 10000",
        "# A queue is not a cache: rather refuse a write than forget a request.",
        "maxmemory-policy noeviction",
    ]
    click.echo("\n".join(lines))


def _quoted(text: str) -> str:
    for character in ("\\", '"'):
        text = text.replace(character, "\\" + character)
    return f'"{text}"'
