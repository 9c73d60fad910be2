"""The group of all commands. A command's module is imported when the command is used."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import Any

import click

from crawlo_scrapy import __version__
from crawlo_scrapy.serverprocess import ServerError
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.errors import StoreError

#: Name -> module in this package, which holds a click command called `command` unless another
#: name follows; and what it does.
COMMANDS = {
    "run": ("run", "Run a spider, or all, as workers of their crawls."),
    "list": ("spiders", "List the spiders of the project."),
    "check": ("check", "Check that spiders load, and their contracts."),
    "status": ("status", "Show how a crawl stands."),
    "stats": ("stats", "Show what a crawl has counted, as a whole and by node."),
    "nodes": ("nodes", "Show the nodes of a crawl."),
    "top": ("top", "Watch a crawl."),
    "dashboard": ("dashboard", "Serve a page that shows crawls live."),
    "dead-letters": ("dead_letters", "List, requeue or purge requests that were given up."),
    "push": ("push", "Queue URLs for a crawl."),
    "migrate": ("migrate", "Move the queue of another scheduler into a crawl."),
    "items": ("items", "Take a crawl's items further, look at them, export them."),
    "pause": ("control:pause", "Have the workers of a crawl start nothing for a while."),
    "resume": ("control:resume", "Let a crawl go on."),
    "stop": ("control:stop", "Have all workers of a crawl leave."),
    "drain": ("control:drain", "Have one node leave."),
    "scale": ("control:scale", "Set how many requests workers have in progress."),
    "delay": ("control:delay", "Set the delay of a host, for all workers together."),
    "set": ("control:set_", "Change a setting of running workers."),
    "audit": ("control:audit", "Show who steered a crawl."),
    "seen": ("seen", "Count what a crawl has seen, or forget some of it."),
    "repartition": ("repartition", "Divide a crawl into another number of partitions."),
    "purge": ("purge", "Remove a crawl from Redis."),
    "demo": ("demo", "Watch a crawl survive the death of a worker."),
    "startproject": ("startproject", "Make a new project."),
    "genspider": ("genspider", "Make a new spider in the project."),
    "shell": ("shell", "Open Scrapy's shell; it joins no crawl."),
    "settings": ("settings", "Show each option: its value, where from, what it became."),
    "doctor": ("doctor", "Find out whether a crawl can start here."),
    "redis-conf": ("redis_conf", "Print a redis.conf that suits a crawl."),
    "exporter": ("exporter", "Serve metrics of crawls to Prometheus."),
    "health": ("health", "Liveness probe for a worker in a container."),
    "completion": ("completion", "Print the completion script of your shell."),
    "version": ("version", "Show versions."),
    "help": ("help", "Show help on a command."),
}

#: What newer versions of click raise for a group without a command; older ones show its help.
_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

_EPILOG = """\b
Examples:
  crawlo-scrapy demo
  crawlo-scrapy startproject shop
  crawlo-scrapy run myspider --config worker_settings.py
  crawlo-scrapy status myspider
"""


class LazyGroup(click.Group):
    """A group that knows its commands by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(
            import_module(f"crawlo_scrapy.cli.{module}"), name or "command"
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"there is no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)


def did_you_mean(word: str, known: Any) -> str:
    """Return a question that begins with a space, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


@click.group(
    cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="crawlo-scrapy")
def cli() -> None:
    """Distributed crawling for Scrapy: many processes, one crawl, nothing lost.

    Scrapy's own commands stay as they are: `scrapy crawl NAME` and `crawlo-scrapy run NAME`
    do the same.
    """


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status. What a user can mend is one line."""
    try:
        result = cli.main(arguments, prog_name="crawlo-scrapy", standalone_mode=False)
    except _NO_ARGUMENTS as exc:
        click.echo(exc.ctx.get_help())
        return 0
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "crawlo-scrapy"
        return _failed(f"{exc.format_message()} (See `{path} --help`.)", exc.exit_code)
    except click.ClickException as exc:
        return _failed(exc.format_message(), exc.exit_code)
    except (StoreError, SettingError, ServerError) as exc:
        return _failed(str(exc), 1)
    except (click.Abort, KeyboardInterrupt):
        return _failed("aborted.", 130)
    return result if isinstance(result, int) else 0


def _failed(message: str, status: int) -> int:
    lines = message.splitlines()
    if len(lines) == 2:  # a heading and the one thing under it
        message = " ".join(line.strip() for line in lines)
    click.echo(f"Error: {message}", err=True)
    return status
