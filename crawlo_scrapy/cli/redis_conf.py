"""`crawlo-scrapy redis-conf`."""

from __future__ import annotations

import click

from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import config_option, final_settings, project_settings


@click.command("redis-conf")
@config_option
def command(config: str | None) -> None:
    """Print a redis.conf for the project's Redis, its password included.

    From BIND_ADDRESS, REDIS_PORT and REQUIREPASS (or REDIS_PASSWORD); what is appended is on
    disk within a second, and nothing is evicted: a queue is not a cache.
    """
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
