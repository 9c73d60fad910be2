"""How many pages a second Redis sustains: many workers without Scrapy and without a network.

    python -m benchmarks.scale
    python -m benchmarks.scale --masters 3 --partitions 3

A simulated worker leases, finds links, drops those that it has met, pushes the rest and acks, as
a worker of a crawl does; it downloads nothing. Several processes run many of them each. Pages a
second and core are pages by the CPU time of Redis, since the simulators use the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.measure import RedisMeter, RedisWork, markdown
from benchmarks.simworker import Counters, Plan, SimulatedWorker, Sites, join, push_of
from crawlo_scrapy.dupefilter import RecentSet
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import PUSH_BATCH, Push
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.slots import SlotLimit, Slots
from crawlo_scrapy.store.workers import Workers
from tests.servers import RedisCluster
from tests.waiting import wait_until

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Window:
    """What the workers did in some seconds, and what each master did for it."""

    seconds: float
    work: list[RedisWork]
    pages: int
    pushed: int
    exchanges: int

    @property
    def busiest(self) -> float:
        """Seconds of CPU time of the busiest master."""
        return max(one.cpu_us for one in self.work) / 1e6

    def total(self, name: str) -> float:
        """Return a figure of all masters together, a page."""
        return float(sum(getattr(one, name) for one in self.work)) / self.pages


class Simulation:
    """A crawl, and processes full of workers."""

    def __init__(self, plan: Plan, address: Address) -> None:
        self.plan = plan
        self._address = address
        self._layout = Layout(plan.partitions)
        self._stop = multiprocessing.Event()
        self._measuring = multiprocessing.Event()

    async def prepare(self) -> None:
        """Make the crawl: what is known, and what is queued."""
        plan, sites = self.plan, Sites(self.plan, 0)
        client = Client.connect(self._address)
        try:
            parts = await join(client, plan, "seeder")
            for part in parts:
                if plan.limited:
                    limit = SlotLimit(delay=0.001, concurrency=1000)
                    await Slots(client, part.frontier.keys).configure({"": limit})
            waiting = plan.known - plan.queued
            for first in range(0, plan.known, PUSH_BATCH):
                pushes: list[list[Push]] = [[] for _ in parts]
                for page in range(first, min(first + PUSH_BATCH, plan.known)):
                    push = push_of(page, sites, "f" if page >= waiting else "r")
                    pushes[self._layout.place(push.slot, push.member)].append(push)
                for part, some in zip(parts, pushes, strict=True):
                    await part.frontier.exchange(part.member, some)
            for part in parts:
                workers = Workers(client, part.frontier.keys)
                await workers.leave(part.member, "seeded", keep_crawl=True)
        finally:
            await client.close()

    def run(self, ports: Sequence[int]) -> dict[str, Any]:
        """Let the workers crawl, and return what they did and what the masters did meanwhile."""
        plan = self.plan
        shares = [range(n, plan.workers, plan.processes) for n in range(plan.processes)]
        counters = [Counters() for _ in shares]
        ready = multiprocessing.Barrier(plan.processes + 1)
        results: Any = multiprocessing.SimpleQueue()
        processes = [
            multiprocessing.Process(target=self._work, args=(*job, ready, results), daemon=True)
            for job in zip(shares, counters, strict=True)
        ]
        for process in processes:
            process.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(redis.Redis(port=port)) for port in ports]
            ready.wait(timeout=600)
            time.sleep(plan.warm_up)
            self._measuring.set()
            windows = [self._window(clients, counters) for _ in range(plan.windows)]
            self._measuring.clear()
        self._stop.set()
        found = [results.get() for _ in processes]
        for process in processes:
            process.join()
        if None in found:
            raise SystemExit("a process of simulated workers failed")
        latencies = sorted(latency for some in found for latency in some)
        return {"plan": asdict(plan)} | summary(windows) | {"exchange_ms": percentiles(latencies)}

    def _window(self, clients: list[redis.Redis], counters: list[Counters]) -> Window:
        """Return what was done in some seconds from now on."""
        meters = [RedisMeter(client) for client in clients]
        before, begin = _sum(counters), time.monotonic()
        time.sleep(self.plan.seconds)
        work = [meter.read() for meter in meters]
        done = [new - old for new, old in zip(_sum(counters), before, strict=True)]
        return Window(time.monotonic() - begin, work, *done)

    def _work(self, share: range, counters: Counters, ready: Any, results: Any) -> None:
        """Run the workers of one process."""
        try:
            workers = asyncio.run(self._crawl(share, counters, ready))
        except BaseException:
            ready.abort()
            results.put(None)
            raise
        results.put([latency for worker in workers for latency in worker.latencies])

    async def _crawl(self, share: range, counters: Counters, ready: Any) -> list[SimulatedWorker]:
        plan, sites = self.plan, Sites(self.plan, share.start + 1)
        cache = RecentSet(plan.cache)
        sites.fill(cache, min(plan.known // plan.workers, plan.cache))
        # Of a worker's partitions none waits for another, or for a heartbeat.
        most = 1 + plan.partitions
        clients = [Client.connect(self._address, f"w-{n}", connections=most) for n in share]
        workers = []
        for number, client in zip(share, clients, strict=True):
            parts = await join(client, plan, f"worker-{number}")
            workers.append(SimulatedWorker(plan, sites, parts, copy.deepcopy(cache)))
        ready.wait(timeout=600)
        await asyncio.gather(
            *(worker.run(counters, self._measuring, self._stop) for worker in workers),
            *(worker.live(self._stop) for worker in workers),
        )
        for client in clients:
            await client.close()
        return workers


def _sum(counters: list[Counters]) -> list[int]:
    return [sum(column) for column in zip(*(c.read() for c in counters), strict=True)]


def summary(windows: list[Window]) -> dict[str, Any]:
    """Return the figures of the cheapest window; times of Redis are µs a page."""
    best = min(windows, key=lambda window: window.busiest / window.pages)
    return {
        "pages_per_s": best.pages / best.seconds,
        "pages_per_core_s": best.pages / best.busiest,
        "pages_per_core_s_of_all": [round(one.pages / one.busiest) for one in windows],
        "busiest_cpu_us_a_page": best.busiest * 1e6 / best.pages,
        "cpu_us_a_page": best.total("cpu_us"),
        "script_us_a_page": best.total("command_us"),
        "commands_a_page": best.total("commands"),
        "pushed_a_page": best.pushed / best.pages,
        "pages_an_exchange": best.pages / best.exchanges,
        "bytes_a_page": {"to": best.total("bytes_in"), "from": best.total("bytes_out")},
        "share_of_a_core": best.busiest / best.seconds,
    }


def percentiles(latencies: list[float]) -> dict[str, float]:
    last = len(latencies) - 1
    found = {str(percent): latencies[last * percent // 100] for percent in PERCENTILES}
    return found | {"max": latencies[-1]}


def _serves(client: redis.Redis) -> bool:
    state: dict[str, str] = client.execute_command("CLUSTER INFO")
    return state["cluster_state"] == "ok"


def simulate(plan: Plan) -> dict[str, Any]:
    """Start what the plan needs, run it, and return its figures."""
    with ExitStack() as stack:
        if plan.masters > 1:
            servers = stack.enter_context(RedisCluster()).nodes
            for one in servers:
                with redis.Redis(port=one.port) as client:
                    client.config_set("appendonly", "yes" if plan.aof else "no")
        else:
            config = {"cluster-enabled": "yes"} if plan.cluster else {}
            servers = [stack.enter_context(LocalRedis(aof=plan.aof, config=config))]
            if plan.cluster:
                with redis.Redis(port=servers[0].port) as client:
                    client.execute_command("CLUSTER ADDSLOTS", *range(16384))
                    wait_until(lambda: _serves(client), "the cluster is up")
        address = Address(url=servers[0].url)
        if plan.cluster or plan.masters > 1:
            address = Address(cluster_nodes=tuple(f"{HOST}:{one.port}" for one in servers))
        simulated = Simulation(plan, address)
        asyncio.run(simulated.prepare())
        print(f"prepared: {plan}", file=sys.stderr)
        result: dict[str, Any] = simulated.run([one.port for one in servers])
    return result


HEAD = ("masters", "workers", "pages/s", "pages an exchange", "links pushed a page",
        "CPU µs a page", "of the busiest master", "pages/s a core of it", "bytes to, from a page",
        "exchange ms: 50 %", "95 %", "99 %", "max")  # fmt: skip


def rows(results: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    for result in results:
        plan, ms, traffic = result["plan"], result["exchange_ms"], result["bytes_a_page"]
        yield [
            str(plan["masters"]), str(plan["workers"]), f"{result['pages_per_s']:,.0f}",
            f"{result['pages_an_exchange']:.0f}", f"{result['pushed_a_page']:.2f}",
            f"{result['cpu_us_a_page']:.1f}", f"{result['busiest_cpu_us_a_page']:.1f}",
            f"{result['pages_per_core_s']:,.0f}",
            f"{traffic['to']:,.0f}, {traffic['from']:,.0f}",
            *(f"{ms[str(p)]:.1f}" for p in PERCENTILES), f"{ms['max']:.1f}",
        ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in asdict(Plan()).items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=type(default), default=default)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = vars(parser.parse_args())
    file = options.pop("json")
    plan = Plan(**options)
    if plan.partitions % plan.masters:
        parser.error("--partitions must be a multiple of --masters")
    result = simulate(plan)
    print(markdown(HEAD, list(rows([result]))))
    if file:
        file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
