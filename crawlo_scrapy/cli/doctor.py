"""`crawlo-scrapy doctor`: whether a crawl can start here, and what to do if not."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click
import scrapy

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli import budget
from crawlo_scrapy.cli.finding import Finding
from crawlo_scrapy.cli.output import console, plural, print_json, table
from crawlo_scrapy.cli.project import (
    Where,
    complete,
    final_settings,
    in_project,
    json_option,
    project_settings,
    redis_options,
    spider_loader,
)
from crawlo_scrapy.config.modes import wanted_mode
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.acl import missing_rights
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.inspect import find_crawls
from crawlo_scrapy.store.keys import clean

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: A round trip above this, in milliseconds, deserves a word; a worker makes about five a second.
SLOW_ROUND_TRIP_MS = 50.0
#: A clock that is off by more than this, in seconds, confuses readers of logs.
CLOCK_OFF = 2.0
#: Less free memory than this share of maxmemory is little.
LITTLE_MEMORY = 0.1
ROUND_TRIPS = 5

_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"


_EPILOG = """\b
Examples:
  crawlo-scrapy doctor
  crawlo-scrapy doctor --config worker_settings.py
  crawlo-scrapy doctor --redis-url redis://10.0.0.5 --json
  crawlo-scrapy doctor --urls 100000000    is there memory for so many?
"""


@click.command("doctor", epilog=_EPILOG)
@click.option(
    "--urls",
    type=click.IntRange(min=1),
    metavar="N",
    help="Say how much memory a crawl of so many URLs needs.",
)
@json_option
@redis_options
def command(urls: int | None, as_json: bool, where: Where) -> None:
    """Find out whether a crawl can start here. Exit status 1 if it cannot.

    Looks at the project, its settings, Scrapy, and Redis; changes nothing.
    """
    findings = complete(_examine(where, urls))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = table("", "", "", "")
        for finding in findings:
            rows.add_row(finding.level, finding.subject, finding.text, finding.advice)
        console().print(rows)
    if any(finding.level == "error" for finding in findings):
        raise click.exceptions.Exit(1)


async def _examine(where: Where, urls: int | None) -> list[Finding]:
    findings = [Finding("ok", "Python", platform.python_version()), _scrapy()]
    try:
        settings = final_settings(project_settings(where.config, where.overrides))
    except SettingError as exc:
        return [*findings, Finding("error", "settings", str(exc), "Mend these values.")]
    findings += [_project(settings), _reactor(settings)]
    mode = wanted_mode(settings)
    if mode == "standalone" and where.redis_url is None:
        text = "RUN_MODE is standalone: the crawl is of one process, and Redis is not used"
        return [*findings, Finding("ok", "mode", text)]
    found = await _examine_redis(settings, urls)
    if mode == "auto" and found[0].level == "error":
        text = f"{found[0].text} RUN_MODE is auto: each process would crawl on its own"
        found = [Finding("warning", "Redis", text, "RUN_MODE = 'distributed' starts nothing then.")]
    return findings + found


def _scrapy() -> Finding:
    numbers = tuple(int(part) for part in scrapy.__version__.split(".")[:2])
    if numbers < (2, 13):
        return Finding("error", "Scrapy", scrapy.__version__, "pip install 'scrapy>=2.13'")
    return Finding("ok", "Scrapy", scrapy.__version__)


def _project(settings: BaseSettings) -> Finding:
    if not in_project():
        return Finding(
            "warning", "project", "not inside a Scrapy project", "Go to the folder of scrapy.cfg."
        )
    try:
        names = sorted(spider_loader(settings).list())  # type: ignore[arg-type]
    except Exception as exc:
        text = f"the spiders cannot be imported ({type(exc).__name__}: {exc})"
        return Finding("error", "project", text, "Try `scrapy list`.")
    if not names:
        return Finding(
            "warning",
            "project",
            f"{settings['BOT_NAME']} has no spiders",
            "crawlo-scrapy genspider",
        )
    return Finding("ok", "project", f"{settings['BOT_NAME']}: {', '.join(names)}")


def _reactor(settings: BaseSettings) -> Finding:
    if settings["TWISTED_REACTOR"] != _REACTOR:
        return Finding(
            "error",
            "reactor",
            str(settings["TWISTED_REACTOR"]),
            f"Set TWISTED_REACTOR = '{_REACTOR}'.",
        )
    return Finding("ok", "reactor", "asyncio")


async def _examine_redis(settings: BaseSettings, urls: int | None) -> list[Finding]:
    try:
        client = Client.connect(connection.address(settings), "crawlo-doctor")
        choice = connection.seen_choice(settings)
    except (SettingError, StoreError) as exc:
        return [Finding("error", "Redis", str(exc))]
    try:
        server = await client.check_server()
        findings = [Finding("ok", "Redis", f"{server} at {client.address}")]
        crawls = await find_crawls(client)
        queued = await budget.queued_by_server(client, crawls)
        servers = await client.servers()
        rooms = []
        for address in servers:
            name = f"{address.host}:{address.port}" if len(servers) > 1 else ""
            found, info = await _examine_server(address)
            free = max(0, budget.limit_of(info) - int(info.get("used_memory", 0)))
            rooms.append(free)
            found.append(budget.Budget(free, queued.get(name, 0), choice).finding())
            label = f"{name}: " if name else ""
            findings += [replace(finding, text=label + finding.text) for finding in found]
        if urls is not None:
            parts = connection.layout(settings).count
            findings.append(budget.expected(urls, choice, sorted(rooms)[-parts:]))
        findings.append(await _crawls(client, settings, crawls))
    except (SettingError, StoreError) as exc:
        return [Finding("error", "Redis", str(exc))]
    finally:
        await client.close()
    return findings


async def _examine_server(address: Address) -> tuple[list[Finding], dict[str, Any]]:
    client = Client.connect(address, "crawlo-doctor")
    try:
        findings = [await _round_trip(client), await _clock(client), await _rights(client)]
        info: dict[str, Any] = await client.call("info", "everything")
        return [*findings, _persistence(info), _eviction(info), _memory(info)], info
    finally:
        await client.close()


async def _rights(client: Client) -> Finding:
    missing = await missing_rights(client)
    if missing:
        return Finding(
            "error", "rights", f"a worker may not use: {', '.join(missing)}",
            "Give the user the rule that crawlo-scrapy redis-conf --acl prints.",
        )  # fmt: skip
    return Finding("ok", "rights", "all that a worker needs")


async def _round_trip(client: Client) -> Finding:
    times = []
    for _ in range(ROUND_TRIPS):
        begin = time.perf_counter()
        await client.call("ping")
        times.append((time.perf_counter() - begin) * 1000)
    best = min(times)
    text = f"{best:.2f} ms there and back"
    if best > SLOW_ROUND_TRIP_MS:
        advice = "Put Redis nearer, or raise CRAWLO_PREFETCH."
        return Finding("warning", "distance", text, advice)
    return Finding("ok", "distance", text)


async def _clock(client: Client) -> Finding:
    seconds, micros = await client.call("time")
    off = time.time() - (int(seconds) + int(micros) / 1e6)
    if abs(off) > CLOCK_OFF:
        return Finding(
            "warning", "clock", f"this host is {off:+.1f} s off Redis's clock",
            "The crawl goes by Redis's clock; logs do not. Turn on NTP.",
        )  # fmt: skip
    return Finding("ok", "clock", f"{abs(off):.1f} s from Redis's")


def _persistence(info: dict[str, Any]) -> Finding:
    if not int(info.get("aof_enabled", 0)):
        return Finding(
            "warning", "persistence", "appendonly is off: a restart of Redis loses the crawl",
            "CONFIG SET appendonly yes; see crawlo-scrapy redis-conf.",
        )  # fmt: skip
    if info.get("aof_last_write_status", "ok") != "ok":
        return Finding("error", "persistence", "Redis cannot write its AOF", "Free its disk.")
    return Finding("ok", "persistence", "append only file")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(info.get("maxmemory", 0)):
        return Finding(
            "error", "eviction", f"maxmemory-policy is {policy}: Redis would throw requests away",
            "CONFIG SET maxmemory-policy noeviction",
        )  # fmt: skip
    if policy != "noeviction":
        return Finding(
            "warning", "eviction", f"maxmemory-policy is {policy}: it counts once maxmemory is set",
            "CONFIG SET maxmemory-policy noeviction",
        )  # fmt: skip
    return Finding("ok", "eviction", policy)


def _memory(info: dict[str, Any]) -> Finding:
    used = int(info.get("used_memory", 0))
    most = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0))
    text = f"{used / 2**20:,.0f} MB used of {most / 2**20:,.0f} MB"
    if most and used > most * (1 - LITTLE_MEMORY):
        return Finding("warning", "memory", text, "Raise maxmemory, or purge old crawls.")
    return Finding("ok", "memory", text if most else f"{used / 2**20:,.0f} MB used")


async def _crawls(client: Client, settings: BaseSettings, names: list[str]) -> Finding:
    project = ours.get(settings, "PROJECT_NAME") or settings["BOT_NAME"]
    own = [name for name in names if name.startswith(f"{clean(project)}:")]
    keys = int(await client.call("dbsize"))
    text = (
        f"{plural(len(own), 'crawl')} of {project}, {len(names) - len(own):,} of others; "
        f"{plural(keys, 'key')} in this database"
    )
    return Finding("ok", "crawls", text)
