"""`crawlo-scrapy run`: what `scrapy crawl` does, with Crawlo's flags, and for all spiders."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from crawlo_scrapy.cli.project import (
    config_option,
    final_settings,
    json_option,
    project_settings,
    require_project,
    require_spider,
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
@click.argument("spider", metavar="SPIDER|all")
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
@click.option("--no-stats", is_flag=True, help="Do not print the statistics at the end.")
@click.option("--fresh", is_flag=True, help="Purge the crawl first; refused while workers live.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would run.")
@json_option
def command(spider: str, **flags: Any) -> None:
    """Run SPIDER as a worker of its crawl; start it as often and on as many hosts as you like.

    With `all`, the project's spiders run in this process, MAX_RUNNING_SPIDERS at a time.
    """
    require_project()
    if flags["output_format"] and not flags["output_file"]:
        raise click.UsageError("--output-format needs --output-file.")
    settings = project_settings(flags["config"], overrides(flags))
    if spider == "all" and "all" not in spider_loader(settings).list():
        from crawlo_scrapy.cli.run_all import run_all

        if flags["dry_run"]:
            for name in sorted(spider_loader(settings).list()):
                _describe(settings, name, flags)
            return
        sys.exit(run_all(settings, dict(flags["arguments"]), flags["as_json"]))
    # What is wrong with the settings is said before Scrapy starts, in one line.
    final_settings(settings, require_spider(settings, spider))
    if flags["dry_run"]:
        _describe(settings, spider, flags)
        return
    _crawl(settings, spider, flags)


def overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the flags set; what -s says wins."""
    result: dict[str, Any] = {}
    for flag, names in _SETTINGS.items():
        if flags[flag] is not None:
            result.update(dict.fromkeys(names, flags[flag]))
    if flags["no_stats"]:
        result["STATS_DUMP"] = False
    if flags["fresh"]:
        result["SCHEDULER_FLUSH_ON_START"] = True
    if flags["as_json"] and "LOG_LEVEL" not in result:
        result["LOG_LEVEL"] = "ERROR"
    if flags["output_file"]:
        result["FEEDS"] = _feeds(flags["output_file"], flags["output_format"])
    return {**result, **dict(flags["assigned"])}


def _feeds(uri: str, wanted: str | None) -> dict[str, dict[str, Any]]:
    from scrapy.exceptions import UsageError
    from scrapy.settings import Settings
    from scrapy.utils.conf import feed_process_params_from_cli

    try:
        return feed_process_params_from_cli(Settings(), [f"{uri}:{wanted}" if wanted else uri])
    except UsageError as exc:
        raise click.UsageError(f"--output-file: {exc}") from None


def _crawl(settings: Settings, spider: str, flags: dict[str, Any]) -> NoReturn:
    """Hand over to Scrapy's own command line, which exits."""
    from scrapy.cmdline import execute

    if flags["as_json"]:
        # In place of Scrapy's `crawl`: the same, and what came of it as JSON.
        settings.set("COMMANDS_MODULE", "crawlo_scrapy.cli.scrapy_commands", "cmdline")
    argv = ["scrapy", "crawl"]
    for name, value in flags["arguments"]:
        argv += ["-a", f"{name}={value}"]
    sys.argv[0] = "scrapy"  # for Scrapy's messages
    execute([*argv, "--", spider] if spider.startswith("-") else [*argv, spider], settings)
    raise AssertionError("scrapy.cmdline.execute returned")


def _describe(settings: Settings, spider: str, flags: dict[str, Any]) -> None:
    from crawlo_scrapy import connection
    from crawlo_scrapy.cli.output import console, print_json
    from crawlo_scrapy.config.modes import wanted_mode

    final = final_settings(settings, require_spider(settings, spider))
    facts = {
        "spider": spider,
        "crawl": connection.keys(final, spider).name,
        "mode": wanted_mode(final),
        "redis": str(connection.address(final)),
        "config": flags["config"],
        "arguments": dict(flags["arguments"]),
        "concurrency": final.getint("CONCURRENT_REQUESTS"),
        "download_delay": final.getfloat("DOWNLOAD_DELAY"),
    }
    if flags["as_json"]:
        print_json(facts)
        return
    console().print(f"Would run {spider}:")
    for name, value in facts.items():
        if name != "spider" and value not in (None, {}):
            console().print(f"  {name}: {value}")
