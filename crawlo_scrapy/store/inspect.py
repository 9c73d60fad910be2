"""How a crawl stands, read in one round trip and without changing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import CRAWLS, Keys, clean
from crawlo_scrapy.store.lenient import text, whole
from crawlo_scrapy.store.partitions import UNDIVIDED, Layout
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.seen import read_state

#: Bounds of what one look at a crawl costs: about 3 ms of Redis's time when all are reached.
MOST_SLOTS = 200
MOST_PRIORITIES = 20
MOST_WORKERS = 500

#: How many crawls are looked for in one round trip.
LIST_STEP = 500


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
    node: str = ""


@dataclass(frozen=True)
class CrawlState:
    """One look at a crawl. Times are Redis's, in milliseconds since 1970; 0: not yet.

    `state` is empty when there is no such crawl. `by_priority` and `by_slot` count what waits in
    the first `slots_read` of `slots` slots; both begin with the largest. Of a divided crawl
    (`layout`) these, and the counters, are the sums over its partitions.
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
    #: More was seen than the Bloom filter was made for.
    overfull: bool = False
    layout: Layout = UNDIVIDED
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
    return (await _inspect(client, [keys], MOST_SLOTS))[0]


async def inspect_all(client: Client, crawls: Sequence[Keys]) -> list[CrawlState]:
    """Return how some crawls stand; what waits is counted in one slot of each only."""
    return await _inspect(client, crawls, 1)


async def _inspect(client: Client, crawls: Sequence[Keys], slots: int) -> list[CrawlState]:
    """Look at each crawl, all in one round trip, and in another one at partitions of theirs."""
    replies = await run(client, *(_call(keys, slots) for keys in crawls)) if crawls else []
    states = [_parse(keys.name, reply) for keys, reply in zip(crawls, replies, strict=True)]
    parts = [
        (place, part)
        for place, (keys, state) in enumerate(zip(crawls, states, strict=True))
        for part in state.layout.keys(keys)[1:]
    ]
    replies = await run(client, *(_call(part, slots) for _, part in parts)) if parts else []
    for (place, part), reply in zip(parts, replies, strict=True):
        states[place] = _sum(states[place], _parse(part.name, reply))
    return states


def _sum(home: CrawlState, part: CrawlState) -> CrawlState:
    """Return *home* with what a partition adds to it."""
    names = (
        "pushed", "acked", "seen", "queued", "leased", "delayed", "dead", "slots", "slots_read",
    )  # fmt: skip
    hosts, priorities = Counter(dict(home.by_slot)), Counter(dict(home.by_priority))
    hosts.update(dict(part.by_slot))
    priorities.update(dict(part.by_priority))
    there = {worker.node: worker for worker in part.workers}
    workers = []
    for worker in home.workers:
        if (twin := there.get(worker.node)) is not None:
            leased, started = worker.leased + twin.leased, worker.started + twin.started
            worker = replace(worker, leased=leased, started=started)
        workers.append(worker)
    return replace(
        home,
        by_slot=hosts.most_common(),
        by_priority=sorted(priorities.items(), reverse=True),
        workers=workers,
        overfull=home.overfull or part.overfull,
        **{name: getattr(home, name) + getattr(part, name) for name in names},
    )


def _call(keys: Keys, slots: int) -> Call:
    return Call(
        "crawl_inspect",
        [
            keys.meta, keys.workers, keys.slots, keys.timed, keys.delayed, keys.dead,
            keys.queue_prefix, keys.worker_prefix, keys.leases_prefix,
        ],
        [slots, MOST_PRIORITIES, MOST_WORKERS],
    )  # fmt: skip


async def find_crawls(client: Client, project: str | None = None) -> list[str]:
    """Return the names of all crawls in this Redis, or of one project's, in order."""
    start = "" if project is None else f"{clean(project)}:"
    listed = map(text, await client.call("zrange", CRAWLS, 0, -1))
    names = [name for name in sorted(listed) if name.startswith(start) and _is_name(name)]
    found = []
    for first in range(0, len(names), LIST_STEP):
        step = names[first : first + LIST_STEP]
        there = await client.send([("EXISTS", keys_of(name).meta) for name in step])
        found += [name for name, exists in zip(step, there, strict=True) if exists == 1]
    return found


def _is_name(name: str) -> bool:
    """Whether a crawl can have that name: other keys may look like one of ours."""
    try:
        return keys_of(name).name == name
    except ValueError:
        return False


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
            priorities[whole(priority)] += length
            hosts[unquote(text(slot))] += length
    numbers = ("run", "created", "finished", "pushed", "acked", "queued", "leased")
    seen = read_state(meta, now)
    return CrawlState(
        name=name,
        state=meta.get("state", ""),
        seeding=meta.get("seeding", ""),
        seeder=meta.get("seeder", ""),
        now=now,
        seen=seen.count,
        overfull=seen.overfull,
        delayed=delayed,
        dead=dead,
        slots=slots,
        slots_read=len(queues),
        workers_count=workers_count,
        layout=Layout.parse(meta.get("layout", "")),
        by_priority=sorted(priorities.items(), reverse=True),
        by_slot=hosts.most_common(),
        workers=[_worker(now, *member) for member in members],
        **{field_name: whole(meta.get(field_name)) for field_name in numbers},
    )


def _worker(now: int, worker_id: bytes, beat: bytes, leased: int, flat: list[bytes]) -> WorkerState:
    record = _record(flat)
    return WorkerState(
        id=text(worker_id),
        beat_age=max(0, now - whole(beat)) / 1000,
        leased=leased,
        started=len([part for part in record.get("started", "").split(",") if part]),
        local=whole(record.get("local")),
        joined=whole(record.get("joined")),
        seeding="seeding" in record,
        host=record.get("host", ""),
        pid=whole(record.get("pid")),
        role=record.get("role", ""),
        version=record.get("version", ""),
        scrapy=record.get("scrapy", ""),
        node=record.get("node", ""),
    )


def _record(flat: list[bytes]) -> dict[str, str]:
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
