"""A crawl that nobody crawls: what its nodes would have left in Redis."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import ormsgpack

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import MAX, MIN, NEWEST, SUM, ErrorLine
from crawlo_scrapy.store.statswriter import Origin, Retention, StatsWriter
from crawlo_scrapy.store.workers import Workers
from crawlo_scrapy.values import Codec

#: Time from one sample to the next, in ms.
INTERVAL = 60_000
_STATUSES = (200, 301, 304, 403, 404, 429, 500, 503)


class SimulatedCrawl:
    """A crawl of *nodes* workers that has been running for *hours*."""

    def __init__(self, client: Client, keys: Keys, *, nodes: int = 50, hours: float = 24.0) -> None:
        self.keys = keys
        self.count = nodes
        self.hours = hours
        self.members: list[Membership] = []
        #: How it stands now, in the order of `Sample` without the time.
        self.figures: list[int] = []
        self.use(client)

    def use(self, client: Client) -> None:
        """Write with *client* from now on."""
        self.client = client
        self._frontier = Frontier(client, self.keys)
        # Its samples are written by hand; a write of stats never finds that one is due.
        kept = Retention(silence=1e6, interval=1e9)
        self._writer = StatsWriter(client, self.keys, Codec(), kept)

    async def make(self, *, queued: int = 1000, letters: int = 200) -> None:
        """Write all of it."""
        seconds, _ = await self.client.call("time")
        now = int(seconds) * 1000
        created = now - round(self.hours * 3_600_000)
        for number in range(self.count):
            await self.join(number)
        await self.client.call("hset", self.keys.meta, "created", created)
        for member in self.members:
            member.created = created
        await self._queue(queued)
        await self._bury(letters)
        await self._samples(created, now)
        for number, member in enumerate(self.members):
            await self.write(member, self.stats(number))
        queued, acked, seen = self.figures[6:9]
        facts = {"queued": queued, "acked": acked, "seen": seen, "seeding": "done"}
        await self.client.call("hset", self.keys.meta, mapping=facts)

    async def join(self, number: int) -> Membership:
        """Let one more worker join."""
        record = {"host": f"host-{number // 4}", "pid": 4000 + number, "role": "auto",
                  "version": "0.1.0", "scrapy": "2.19.0"}  # fmt: skip
        status, member = await Workers(self.client, self.keys).join(
            f"host-{number // 4}-{4000 + number}", record, bucket_fill=400
        )
        assert isinstance(member, Membership), status
        self.members.append(member)
        return member

    async def _queue(self, count: int) -> None:
        for start in range(0, count, 500):
            pushes = [
                Push(
                    "n", n % 1000, n, f"site-{n % 40}.test", n % 5,
                    ormsgpack.packb({"u": f"https://site-{n % 40}.test/page/{n}"}),
                )
                for n in range(start, min(count, start + 500))
            ]  # fmt: skip
            await self._frontier.exchange(self.members[0], pushes)
        for member in self.members:
            await self._frontier.exchange(member, limit=8)

    async def _bury(self, count: int) -> None:
        letters = DeadLetters(self.client, self.keys)
        for n in range(count):
            reason = ("attempts", "callback", "decode", "failed")[n % 4]
            payload = ormsgpack.packb({"u": f"https://site-{n % 40}.test/broken/{n}?a=1&b=2"})
            await letters.bury_request(
                self.members[n % self.count], f"x{n}", Push("n", 0, n, "site-1.test", 0, payload),
                reason, f"TimeoutError: User timeout caused connection failure ({n}).",
            )  # fmt: skip

    async def _samples(self, created: int, now: int) -> None:
        keys, run = self.keys, self.members[0].run
        history = list(self.history(created, now))
        self.figures = history[-1][1]
        await self._append(keys.stats_series(run), history)
        for number, member in enumerate(self.members):
            memory = 150_000_000 + number * 1_000_000
            own = [
                (time, [*(figure // self.count for figure in totals[:4]), memory, 16])
                for time, totals in history
            ]
            await self._append(keys.stats_node_series(run, member.worker_id), own)

    async def _append(self, series: str, samples: list[tuple[int, list[int]]]) -> None:
        replies = await self.client.send(
            ("XADD", series, f"{time}-0", "v", ",".join(map(str, figures)))
            for time, figures in samples
        )
        assert not any(isinstance(reply, Exception) for reply in replies), replies

    def history(self, created: int, now: int) -> Iterator[tuple[int, list[int]]]:
        """Yield time and figures, in the order of `Sample`, of each sample."""
        pages = items = errors = 0
        chance = random.Random(2)
        for step, time in enumerate(range(created + INTERVAL, now, INTERVAL)):
            pace = 1 + 0.5 * math.sin(step / 90) + chance.uniform(-0.15, 0.15)
            pages += self.count * round(60 * pace)
            items += self.count * round(45 * pace)
            errors += self.count * (2 * (step % 300 < 8) or chance.random() < 0.02)
            queued = round(200_000 * (1 + math.sin(step / 200 + 1)) + 3000)
            yield (
                time,
                [
                    pages, items, errors, pages * 30_000, self.count * 180_000_000,
                    self.count * 16, queued, pages, pages + queued, 0, self.count,
                ],
            )  # fmt: skip

    def stats(self, number: int, more: int = 0) -> dict[str, tuple[bytes, Any]]:
        """Return what a node has counted, *more* pages than its part: about 120 keys."""
        pages, items = (figure // self.count + more for figure in self.figures[:2])
        shares = (0.93, 0.02, 0.01, 0.005, 0.02, 0.005, 0.005, 0.005)
        stats: dict[str, tuple[bytes, Any]] = {
            "response_received_count": (SUM, pages),
            "item_scraped_count": (SUM, items),
            "log_count/ERROR": (SUM, self.figures[2] // self.count),
            "log_count/INFO": (SUM, 4321),
            "downloader/request_count": (SUM, pages + 30),
            "downloader/response_bytes": (SUM, pages * 30_000),
            "downloader/exception_type_count/twisted.internet.error.TimeoutError": (SUM, 25),
            "crawlo/memory": (NEWEST, 150_000_000 + 1_000_000 * number),
            "memusage/max": (MAX, 190_000_000),
            "start_time": (MIN, "2026-02-01 12:00:00"),
            "elapsed_time_seconds": (MAX, self.hours * 3600),
        }
        for status, share in zip(_STATUSES, shares, strict=True):
            key = f"downloader/response_status_count/{status}"
            stats[key] = (SUM, round(pages * share))
        for kind in range(100):
            stats[f"shop/category_{kind:03}/pages"] = (SUM, pages // (kind + 1))
        return stats

    async def write(
        self, member: Membership, stats: dict[str, tuple[bytes, Any]], *lines: ErrorLine
    ) -> None:
        """Let a worker write *stats*: key to how it adds up and its value."""
        encoded = {key: self._writer.encode(*stat) for key, stat in stats.items()}
        origin = Origin(member.worker_id, member.worker_id, member.run, member.created)
        written = await self._writer.write(origin, encoded, lines=lines)
        assert written.status == "ok", written

    async def beat(self) -> None:
        """Let all workers be heard of."""
        workers = Workers(self.client, self.keys)
        for member in self.members:
            await workers.beat(member, timeout=1e6)
