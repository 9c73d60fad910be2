"""`crawlo-scrapy status`: how a crawl stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.output import console, moment, plural, print_json, table
from crawlo_scrapy.cli.project import (
    Crawl,
    Where,
    complete,
    crawl_of,
    final_settings,
    in_project,
    json_option,
    project_settings,
    redis_options,
)
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, wanted_rows
from crawlo_scrapy.store.inspect import CrawlState, find_crawls, inspect, keys_of
from crawlo_scrapy.store.slotstate import SlotState, slot_states

#: How many slots and priorities are shown.
TOP = 10

_EPILOG = """\b
Examples:
  crawlo-scrapy status                        every crawl of this project
  crawlo-scrapy status myspider               one crawl
  crawlo-scrapy status myspider --slots       with the limits of its hosts
  crawlo-scrapy status shop:myspider:monday   by its full name, from anywhere
  crawlo-scrapy status --all --redis-url redis://10.0.0.5
"""


@click.command("status", epilog=_EPILOG)
@click.argument("spider", required=False)
@click.option("--all", "everything", is_flag=True, help="All crawls in this Redis.")
@click.option("--slots", is_flag=True, help="Also what limits the busiest hosts now.")
@click.option("--slot", "hosts", multiple=True, metavar="HOST", help="The same of this host.")
@json_option
@redis_options
def command(
    spider: str | None,
    everything: bool,
    slots: bool,
    hosts: tuple[str, ...],
    as_json: bool,
    where: Where,
) -> None:
    """Show how a crawl stands: queue, requests in flight, workers, what was set while it runs.

    Without SPIDER: the crawls of this project.
    """
    if spider is not None:
        crawl = crawl_of(spider, where)
        state, wanted, limits = complete(_look(crawl, slots or bool(hosts), hosts))
        if as_json:
            more = {"limits": [asdict(slot) for slot in limits]} if slots or hosts else {}
            print_json(as_dict(state, crawl.timeout) | {"control": wanted} | more)
        else:
            show(state, crawl.timeout, wanted)
            if slots or hosts:
                _show_limits(limits)
        if not state.exists:
            raise click.exceptions.Exit(1)
        return
    if slots or hosts:
        raise click.UsageError("say which SPIDER the hosts are of.")
    if not everything and not in_project():
        raise click.ClickException(
            "this is not inside a Scrapy project: name a crawl as PROJECT:SPIDER, or use --all."
        )
    settings = final_settings(project_settings(where.config, where.overrides))
    project = None if everything else ours.get(settings, "PROJECT_NAME") or settings["BOT_NAME"]
    timeout = ours.get(settings, "CRAWLO_WORKER_TIMEOUT")
    states = complete(_look_at_all(Client.connect(connection.address(settings)), project))
    if as_json:
        print_json([as_dict(state, timeout) for state in states])
    else:
        _show_all(states, timeout, project)


async def _look(
    crawl: Crawl, with_slots: bool, hosts: Sequence[str]
) -> tuple[CrawlState, dict[str, str], list[SlotState]]:
    async with crawl.client() as client:
        state = await inspect(client, crawl.keys)
        limits = await slot_states(client, crawl.keys, hosts) if with_slots else []
        return state, await Control(client, crawl.keys).read(), limits


async def _look_at_all(client: Client, project: str | None) -> list[CrawlState]:
    try:
        names = await find_crawls(client, project)
        return [await inspect(client, keys_of(name)) for name in names]
    finally:
        await client.close()


def as_dict(state: CrawlState, timeout: float) -> dict[str, Any]:
    """Return the state as JSON has it."""
    result = asdict(state)
    result["started"] = state.started
    result["by_priority"] = [{"priority": p, "queued": n} for p, n in state.by_priority]
    result["by_slot"] = [{"slot": slot, "queued": n} for slot, n in state.by_slot[:TOP]]
    result["workers"] = [
        asdict(worker) | {"alive": worker.beat_age <= timeout} for worker in state.workers
    ]
    return result


def show(state: CrawlState, timeout: float, wanted: Mapping[str, str]) -> None:
    """Print one crawl."""
    out = console()
    if not state.exists:
        out.print(f"There is no crawl {state.name} in this Redis.")
        return
    out.print(f"Crawl {state.name}: {_state(state)}, run {state.run}")
    facts = table("", "")
    facts.add_row("created", f"{moment(state.created)} UTC")
    if state.finished:
        facts.add_row("finished", f"{moment(state.finished)} UTC")
    facts.add_row("seeding", _seeding(state))
    facts.add_row(
        "queued", f"{state.queued:,}{f', {state.delayed:,} delayed' * bool(state.delayed)}"
    )
    facts.add_row("in flight", f"{state.started:,} started of {state.leased:,} leased")
    facts.add_row("done", f"{state.acked:,}")
    full = "; more than its Bloom filter was made for: see `crawlo-scrapy seen count`"
    facts.add_row("seen", f"{state.seen:,} URLs{full * state.overfull}")
    facts.add_row("dead letters", f"{state.dead:,}")
    out.print(facts)
    _show_queue(state)
    _show_workers(state, timeout)
    if wanted:
        rows = table("set while it runs", "for", "value")
        for what, whom, value in wanted_rows(wanted):
            rows.add_row(what, whom or "all nodes", value)
        out.print()
        out.print(rows)


def _show_limits(limits: list[SlotState]) -> None:
    rows = table("host", "#queued", "#leased", "#at most", "#delay", "from", "on hold")
    for slot in limits:
        rows.add_row(
            slot.slot or "(none)", f"{slot.queued:,}",
            "-" if slot.leased is None else f"{slot.leased:,}", str(slot.concurrency or "-"),
            f"{slot.delay:.3g} s" if slot.delay_from else "-", slot.delay_from or "-",
            f"for {slot.held:.1f} s" if slot.held else "-",
        )  # fmt: skip
    console().print()
    console().print(rows if limits else "No host is queued, leased or limited.")


def _show_queue(state: CrawlState) -> None:
    if not state.by_priority:
        return
    priorities = table("priority", "#queued")
    for priority, count in state.by_priority[:TOP]:
        priorities.add_row(str(priority), f"{count:,}")
    slots = table("slot", "#queued")
    for slot, count in state.by_slot[:TOP]:
        slots.add_row(slot or "(none)", f"{count:,}")
    out = console()
    out.print()
    out.print(priorities)
    out.print()
    out.print(slots)
    if state.slots_read < state.slots:
        out.print(f"(counted in {state.slots_read:,} of {plural(state.slots, 'slot')})")


def _show_workers(state: CrawlState, timeout: float) -> None:
    out = console()
    out.print()
    if not state.workers:
        out.print("No workers.")
        return
    workers = table("worker", "host", "#pid", "role", "#leased", "#started", "#last beat", "")
    for worker in state.workers:
        silent = worker.beat_age > timeout
        workers.add_row(
            worker.id, worker.host, str(worker.pid), worker.role, str(worker.leased),
            str(worker.started), f"{worker.beat_age:.1f} s",
            "silent: counts as dead" if silent else "seeding" * worker.seeding,
        )  # fmt: skip
    out.print(workers)
    if len(state.workers) < state.workers_count:
        out.print(f"(and {state.workers_count - len(state.workers):,} more)")


def _show_all(states: list[CrawlState], timeout: float, project: str | None) -> None:
    if not states:
        console().print(
            f"No crawls{'' if project is None else f' of the project {project}'} in this Redis."
        )
        return
    crawls = table(
        "crawl", "state", "#queued", "#in flight", "#done", "#seen", "#workers", "#dead letters"
    )
    for state in states:
        crawls.add_row(
            state.name, _state(state), f"{state.queued:,}", f"{state.leased:,}",
            f"{state.acked:,}", f"{state.seen:,}", str(len(state.living(timeout))),
            f"{state.dead:,}",
        )  # fmt: skip
    console().print(crawls)


def _state(state: CrawlState) -> str:
    return state.state or "gone"


def _seeding(state: CrawlState) -> str:
    if state.seeding == "every":
        return "each worker has its own start requests"
    if state.seeding:
        return state.seeding
    return f"under way on {state.seeder}" if state.seeder else "nobody has begun"
