"""`crawlo-scrapy dashboard`: the crawls of a Redis as a web page."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from types import ModuleType

import click

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import (
    complete,
    config_option,
    final_settings,
    in_project,
    project_settings,
)

#: Shorter tokens can be guessed.
SHORTEST_TOKEN = 16
DEFAULT_PORT = 6880

_EPILOG = """\b
Examples:
  crawlo-scrapy dashboard
  crawlo-scrapy dashboard --all --redis-url redis://10.0.0.5 --port 8000
  CRAWLO_DASHBOARD_TOKEN=$(openssl rand -hex 16) crawlo-scrapy dashboard --host 0.0.0.0
"""


@click.command("dashboard", epilog=_EPILOG)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="Where to listen; beyond this machine only with a token.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
    help="0: any that is free.",
)  # fmt: skip
@click.option(
    "--token", envvar="CRAWLO_DASHBOARD_TOKEN", metavar="TEXT",
    help="Who opens the page must know this. Better: the variable CRAWLO_DASHBOARD_TOKEN.",
)  # fmt: skip
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME",
    help="A name that the page is opened by, such as a proxy's; may be repeated.",
)  # fmt: skip
@click.option(
    "--actions/--read-only", default=None,
    help="Whether crawls can be steered there; default: only with a token.",
)  # fmt: skip
@click.option("--root-path", default="", metavar="PATH", help="Where a proxy has the page.")
@click.option("--all", "everything", is_flag=True, help="All crawls in this Redis.")
@click.option("--redis-url", metavar="URL", help="Where Redis is; default: the project's.")
@config_option
def command(
    host: str,
    port: int,
    token: str | None,
    hosts: Sequence[str],
    actions: bool | None,
    root_path: str,
    everything: bool,
    redis_url: str | None,
    config: str | None,
) -> None:
    """Serve a page that shows crawls live: nodes, curves, queue, dead letters, errors, stats.

    Shows the crawls of this project; outside of a project, and with --all, of all. With a token,
    or with --actions, crawls can be steered there.
    """
    access, server = _module("access"), _module("server")
    root_path = f"/{root_path.strip('/')}".rstrip("/")
    if token and len(token) < SHORTEST_TOKEN:
        raise click.UsageError(f"the token needs {SHORTEST_TOKEN} characters: it can be guessed.")
    overrides = {} if redis_url is None else {"REDIS_URL": redis_url}
    settings = final_settings(project_settings(config, overrides))
    try:
        if not token and not access.is_loopback(host):
            raise click.UsageError(
                f"{host} can be reached from other machines: give a --token, or set "
                "CRAWLO_DASHBOARD_TOKEN."
            )
        listening = server.listen(host, port)
    except OSError as exc:
        raise click.ClickException(f"cannot listen at {host}:{port}: {exc.strerror}.") from exc
    project = ours.get(settings, "PROJECT_NAME") or settings["BOT_NAME"]
    acting = bool(token) if actions is None else actions
    with listening, contextlib.suppress(KeyboardInterrupt):
        _announce(listening.getsockname(), root_path, bool(token), acting)
        complete(
            server.serve(
                listening,
                connection.address(settings),
                access.Access(token, hosts if token else {*hosts, host}),
                timeout=ours.get(settings, "CRAWLO_WORKER_TIMEOUT"),
                acting=acting,
                project=project if in_project() and not everything else None,
                root_path=root_path,
            )
        )


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"crawlo_scrapy.dashboard.{name}")
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("crawlo_scrapy"):
            raise
        raise click.ClickException(
            f"the dashboard needs the package {exc.name}. "
            "Run: pip install 'crawlo_scrapy[dashboard]'"
        ) from exc


def _announce(address: tuple[str, int], root_path: str, guarded: bool, acting: bool) -> None:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    click.echo(f"Dashboard: http://{host}:{address[1]}{root_path}/ (Ctrl-C ends it)")
    if not guarded:
        can = "can open it, and steer crawls" if acting else "can open it"
        click.echo(f"Everybody who is logged in on this machine {can}: it has no --token.")
