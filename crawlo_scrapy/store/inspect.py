"""How a crawl stands, read in one round trip and without changing anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import ALL_CRAWLS, Keys, clean, crawl_name
from crawlo_scrapy.store.scripts import Call, run

#: Bounds of what one look at a crawl costs: about 3 ms of Redis's time when all are reached.
MOST_SLOTS = 200
MOST_PRIORITIES = 20
MOST_WORKERS = 500

#: How many keys Redis looks at in one step of the search for crawls.
SCAN_STEP = 1000


@dataclass(frozen=True)
class WorkerState:
    """A worker in the registry. `beat_age` is in seconds, by Redis's clock.

    Of the `leased` requests it has `started` some; `local` ones are only in its memory.
    """

    id: str
    beat_age: float
    leased: int
    started: int
    local: int
    joined: int
    seeding: bool
    host: str = ""
    pid: int = 0
    role: str = ""
    version: str = ""
    scrapy: str = ""


@dataclass(frozen=True)
class CrawlState:
    """One look at a crawl. Times are Redis's, in milliseconds since 1970; 0: not yet.

    `state` is empty when there is no such crawl. `by_priority` and `by_slot` count what waits in
    the first `slots_read` of `slots` slots; both begin with the largest.
    """

    name: str
    state: str
    run: int
    seeding: str
    seeder: str
    now: int
    created: int
    finished: int
    pushed: int
    acked: int
    seen: int
    queued: int
    leased: int
    delayed: int
    dead: int
    slots: int
    slots_read: int
    workers_count: int
    by_priority: list[tuple[int, int]] = field(default_factory=list)
    by_slot: list[tuple[str, int]] = field(default_factory=list)
    workers: list[WorkerState] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        return bool(self.state)

    @property
    def started(self) -> int:
        """How many requests the workers' engines have."""
        return sum(worker.started for worker in self.workers)

    def living(self, timeout: float) -> list[WorkerState]:
        """The workers that were heard of in the last *timeout* seconds."""
        return [worker for worker in self.workers if worker.beat_age <= timeout]


async def inspect(client: Client, keys: Keys) -> CrawlState:
    """Return how the crawl stands now. Raises `StoreError`."""
    [reply] = await run(client, _call(keys, MOST_SLOTS))
    return _parse(keys.name, reply)


async def inspect_all(client: Client, crawls: Sequence[Keys]) -> list[CrawlState]:
    """Return how some crawls stand, in one round trip; what waits is counted in one slot only."""
    replies = await run(client, *(_call(keys, 1) for keys in crawls)) if crawls else []
    return [_parse(keys.name, reply) for keys, reply in zip(crawls, replies, strict=True)]


def _call(keys: Keys, slots: int) -> Call:
    return Call(
        "crawl_inspect",
        [
            keys.meta, keys.workers, keys.slots, keys.timed, keys.delayed, keys.dead,
            keys.queue_prefix, keys.worker_prefix, keys.leases_prefix,
        ],
        [slots, MOST_PRIORITIES, MOST_WORKERS],
    )  # fmt: skip


async def find_crawls(
    client: Client, project: str | None = None, *, pause: float = 0.0
) -> list[str]:
    """Return the names of all crawls in this Redis, or of one project's, in order.

    Scans all keys in small steps, because nobody keeps a list of crawls; with *pause* it rests
    for so many seconds between two of them.
    """
    pattern = ALL_CRAWLS if project is None else f"crawlo:{{{clean(project)}:*}}:meta"
    found: set[str] = set()
    async for page in client.scan(pattern, SCAN_STEP):
        found.update(crawl_name(key.decode()) for key in page)
        await asyncio.sleep(pause)
    return sorted(found)


def keys_of(name: str) -> Keys:
    """Return the keys of the crawl of that name, as `find_crawls` gives it."""
    parts = [unquote(part) for part in name.split(":")]
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError(
            f"{name!r} is not the name of a crawl: PROJECT:SPIDER or PROJECT:SPIDER:ID"
        )
    return Keys(*parts)


def _parse(name: str, reply: list[Any]) -> CrawlState:
    now, flat, delayed, dead, slots, workers_count, queues, members = reply
    meta = _record(flat)
    now = int(now)
    priorities: Counter[int] = Counter()
    hosts: Counter[str] = Counter()
    for slot, lengths in queues:
        for priority, length in zip(lengths[::2], lengths[1::2], strict=True):
            priorities[int(priority)] += length
            hosts[unquote(slot.decode())] += length
    numbers = ("run", "created", "finished", "pushed", "acked", "seen", "queued", "leased")
    return CrawlState(
        name=name,
        state=meta.get("state", ""),
        seeding=meta.get("seeding", ""),
        seeder=meta.get("seeder", ""),
        now=now,
        delayed=delayed,
        dead=dead,
        slots=slots,
        slots_read=len(queues),
        workers_count=workers_count,
        by_priority=sorted(priorities.items(), reverse=True),
        by_slot=hosts.most_common(),
        workers=[_worker(now, *member) for member in members],
        **{field_name: int(meta.get(field_name) or 0) for field_name in numbers},
    )


def _worker(now: int, worker_id: bytes, beat: bytes, leased: int, flat: list[bytes]) -> WorkerState:
    record = _record(flat)
    return WorkerState(
        id=worker_id.decode(),
        beat_age=max(0, now - int(float(beat))) / 1000,
        leased=leased,
        started=len([part for part in record.get("started", "").split(",") if part]),
        local=int(record.get("local") or 0),
        joined=int(record.get("joined") or 0),
        seeding="seeding" in record,
        host=record.get("host", ""),
        pid=int(record.get("pid") or 0),
        role=record.get("role", ""),
        version=record.get("version", ""),
        scrapy=record.get("scrapy", ""),
    )


def _record(flat: list[bytes]) -> dict[str, str]:
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
