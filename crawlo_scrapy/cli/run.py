"""`crawlo-scrapy run`: what `scrapy crawl` does, with Crawlo's flags, and for all spiders."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from crawlo_scrapy.cli.project import (
    checked_settings,
    complete_spider,
    config_option,
    json_option,
    project_settings,
    require_project,
    spider_loader,
)

if TYPE_CHECKING:
    from scrapy.settings import Settings

_EPILOG = """\b
Examples:
  crawlo-scrapy run myspider
  crawlo-scrapy run myspider --config worker_settings.py -a category=shoes
  crawlo-scrapy run myspider --concurrency 32 -s CRAWLO_CRAWL_ID=monday
  crawlo-scrapy run all
"""

#: Flag's parameter -> settings that it is.
_SETTINGS = {
    "log_level": ("LOG_LEVEL",),
    "log_file": ("LOG_FILE",),
    "concurrency": ("CONCURRENT_REQUESTS", "CONCURRENT_REQUESTS_PER_DOMAIN"),
    "download_delay": ("DOWNLOAD_DELAY",),
    "download_timeout": ("DOWNLOAD_TIMEOUT",),
    "max_retry_times": ("RETRY_TIMES",),
}
_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class Assignment(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """NAME=VALUE, as a pair."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, text


@click.command("run", epilog=_EPILOG)
@click.argument("spider", metavar="SPIDER|all", shell_complete=complete_spider)
@config_option
@click.option("-a", "arguments", type=Assignment(), multiple=True, help="Argument of the spider.")
@click.option("-s", "--set", "assigned", type=Assignment(), multiple=True, help="Set a setting.")
@click.option("--log-level", "-L", type=click.Choice(_LEVELS, case_sensitive=False))
@click.option("--log-file", metavar="FILE")
@click.option("--concurrency", type=click.IntRange(1), help="Requests at once, one site included.")
@click.option("--download-delay", type=click.FloatRange(0), help="Seconds between two requests.")
@click.option("--download-timeout", type=click.FloatRange(0, min_open=True), help="In seconds.")
@click.option("--max-retry-times", type=click.IntRange(0))
@click.option("--output-file", "-o", metavar="FILE", help="Append the items to FILE.")
@click.option("--output-format", metavar="FORMAT", help="json, jsonlines, csv, xml, …")
@click.option("--no-stats", is_flag=True, help="Do not log statistics, at the end or before.")
@click.option("--fresh", is_flag=True, help="Purge the crawl first; refused while workers live.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would run.")
@click.option(
    "--stopped-status",
    type=click.IntRange(0, 255),
    default=0,
    metavar="NUMBER",
    help="Exit status when told to stop (SIGTERM) before the end; default 0, as Scrapy's.",
)
@json_option
def command(spider: str, **flags: Any) -> None:
    """Run SPIDER as a worker of its crawl; start it as often and on as many hosts as you like.

    With `all`, the project's spiders run in this process, MAX_RUNNING_SPIDERS at a time.
    """
    from crawlo_scrapy.extensions.nodelog import log_file

    _die_of_sigterm()
    require_project()
    if flags["output_format"] and not flags["output_file"]:
        raise click.UsageError("--output-format needs --output-file.")
    settings = project_settings(flags["config"], overrides(flags))
    if path := flags["output_file"]:
        set_feed(settings, path, flags["output_format"], check=not flags["dry_run"])
    if spider == "all" and "all" not in spider_loader(settings).list():
        from crawlo_scrapy.cli.run_all import run_all

        if flags["dry_run"]:
            names = sorted(spider_loader(settings).list())
            _show_plan([_plan(settings, name, flags) for name in names], flags["as_json"])
            return
        sys.exit(
            run_all(settings, dict(flags["arguments"]), flags["as_json"], flags["stopped_status"])
        )
    # What is wrong with the settings is said before Scrapy starts, in one line.
    final = checked_settings(settings, spider)
    if flags["dry_run"]:
        _show_plan(_plan(settings, spider, flags), flags["as_json"])
        return
    log_file(final, spider)
    _crawl(settings, spider, flags)


def overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the flags set; what -s says wins."""
    result: dict[str, Any] = {}
    for flag, names in _SETTINGS.items():
        if flags[flag] is not None:
            result.update(dict.fromkeys(names, flags[flag]))
    if flags["no_stats"]:
        result.update(STATS_DUMP=False, STATS_DUMP_INTERVAL=None)
    if flags["fresh"]:
        result["SCHEDULER_FLUSH_ON_START"] = True
    if flags["as_json"] and "LOG_LEVEL" not in result:
        result["LOG_LEVEL"] = "ERROR"
    return {**result, **dict(flags["assigned"])}


def set_feed(settings: Settings, path: str, wanted: str | None, *, check: bool) -> None:
    """Let the items go to *path*; with *check*, see that it can be written."""
    from scrapy.exceptions import UsageError
    from scrapy.utils.conf import feed_process_params_from_cli

    known = [*settings.getdict("FEED_EXPORTERS_BASE"), *settings.getdict("FEED_EXPORTERS")]
    if wanted is not None and wanted not in known:
        raise click.UsageError(f"--output-format {wanted} is none of {', '.join(known)}.")
    try:
        feeds = feed_process_params_from_cli(settings, [f"{path}:{wanted}" if wanted else path])
    except UsageError:
        raise click.UsageError(
            f"--output-file {path} does not end in .json, .jsonl, .csv or .xml: "
            "say --output-format, too."
        ) from None
    settings.set("FEEDS", feeds, "cmdline")
    [uri] = feeds
    if not check or "://" in uri or "%" in uri or uri.startswith("stdout:"):
        return
    try:
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        Path(uri).open("ab").close()
    except OSError as exc:
        raise click.ClickException(
            f"--output-file: cannot write to {uri}: {exc.strerror}."
        ) from None


def _die_of_sigterm() -> None:
    """End at once by a SIGTERM that comes before Scrapy listens to it.

    As process 1 of a container nobody else would: the kernel spares it signals without a handler.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))


def _crawl(settings: Settings, spider: str, flags: dict[str, Any]) -> NoReturn:
    """Hand over to Scrapy's own command line, which exits."""
    from scrapy.cmdline import execute

    from crawlo_scrapy.cli.scrapy_commands import crawl

    if flags["as_json"] or flags["stopped_status"]:
        # In place of Scrapy's `crawl`: the same, and what comes of it.
        settings.set("COMMANDS_MODULE", "crawlo_scrapy.cli.scrapy_commands", "cmdline")
        crawl.Command.as_json = flags["as_json"]
        crawl.Command.stopped_status = flags["stopped_status"]
    argv = ["scrapy", "crawl"]
    for name, value in flags["arguments"]:
        argv += ["-a", f"{name}={value}"]
    sys.argv[0] = "scrapy"  # for Scrapy's messages
    execute([*argv, "--", spider] if spider.startswith("-") else [*argv, spider], settings)
    raise AssertionError("scrapy.cmdline.execute returned")


def _plan(settings: Settings, spider: str, flags: dict[str, Any]) -> dict[str, Any]:
    from crawlo_scrapy import connection
    from crawlo_scrapy.config.modes import wanted_mode

    final = checked_settings(settings, spider)
    return {
        "spider": spider,
        "crawl": connection.keys(final, spider).name,
        "mode": wanted_mode(final),
        "redis": str(connection.address(final)),
        "config": flags["config"],
        "arguments": dict(flags["arguments"]),
        "concurrency": final.getint("CONCURRENT_REQUESTS"),
        "download_delay": final.getfloat("DOWNLOAD_DELAY"),
    }


def _show_plan(plan: dict[str, Any] | list[dict[str, Any]], as_json: bool) -> None:
    from crawlo_scrapy.cli.output import console, print_json

    if as_json:
        print_json(plan)
        return
    for facts in plan if isinstance(plan, list) else [plan]:
        console().print(f"Would run {facts['spider']}:")
        for name, value in facts.items():
            if name != "spider" and value not in (None, {}):
                console().print(f"  {name}: {value}")
