"""Statistics: what nodes write adds up, whatever happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store import statsfold
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import (
    ERRORS_KEPT,
    MAX,
    MIN,
    NEWEST,
    NO_RUN,
    SUM,
    ErrorLine,
    Stat,
    Stats,
    merge,
)
from crawlo_scrapy.store.statswriter import (
    WRITE_BATCH,
    Origin,
    Retention,
    StatsWriter,
    Written,
)
from crawlo_scrapy.store.workers import Workers
from crawlo_scrapy.values import Codec
from tests.backends import address_of, client_of
from tests.store.background import Background
from tests.store.conftest import Store, push

NOON = datetime(2026, 2, 1, 12, tzinfo=timezone.utc)
#: How a key of the tests adds up, by its first letter.
KINDS = {"c": SUM, "x": MAX, "n": MIN, "s": NEWEST}


class Writer:
    """One node that writes what it is told, and keeps the version."""

    def __init__(self, client: Client, keys: Keys, origin: Origin, **retention: Any) -> None:
        self.writer = StatsWriter(client, keys, Codec(), Retention(**retention))
        self.origin = origin
        self.version = ""

    async def write(self, **values: Any) -> str:
        return (await self.send(values)).status

    async def send(self, values: Mapping[str, Any], **more: Any) -> Written:
        encoded = {
            key: b"" if value is ... else self.writer.encode(KINDS[key[0]], value)
            for key, value in values.items()
        }
        written = await self.writer.write(self.origin, encoded, self.version, **more)
        self.version = written.version
        return written

    async def leave(self, **values: Any) -> None:
        assert (await self.send(values, closing=True)).status == "ok"


def origin(member: Membership, node: str = "") -> Origin:
    return Origin(node or member.worker_id, member.worker_id, member.run, member.created)


async def node(store: Store, name: str, **retention: Any) -> Writer:
    """Join as *name* and return its writer."""
    return Writer(store.client, store.keys, origin(await store.join(name)), **retention)


@pytest.fixture
def stats(store: Store) -> Stats:
    return Stats(store.client, store.keys, Codec())


async def next_run(store: Store) -> None:
    """Let the crawl be finished and everybody have left."""
    await store.client.call("hset", store.keys.meta, mapping={"state": "finished", "finished": 1})
    await store.client.call("delete", store.keys.workers)


# How values add up.


async def test_sums_over_nodes(store: Store, stats: Stats) -> None:
    a, b = await node(store, "a"), await node(store, "b")
    await a.write(c=1, c_float=0.5, x=3, n=3, s="a")
    await b.write(c=2, x=5, n=1, s="b", c_other=1)
    await a.write(c=10)
    assert await stats.totals() == {
        "c": 12, "c_float": 0.5, "c_other": 1, "n": 1, "s": "b", "x": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        0, -1, 2**70, 1.5, float("inf"), True, None, "tёxt", b"bytes", NOON, timedelta(hours=1),
        Decimal("1.10"), [1, "a", None], {"a": {"b": [1, 2.5]}}, (1, 2), {1, 2}, "\ud800", "",
    ],
    ids=repr,
)  # fmt: skip
async def test_values_keep_their_types(store: Store, stats: Stats, value: Any) -> None:
    await (await node(store, "a")).write(s=value)
    found = (await stats.totals())["s"]
    assert (found, type(found)) == (value, type(value))


async def test_newest_is_by_the_write_that_changed_it(store: Store, stats: Stats) -> None:
    a, b = await node(store, "a"), await node(store, "b")
    await a.write(s=1)
    await b.write(s=2)
    a.version = ""  # all of it again, after an error
    await a.write(s=1)
    assert (await stats.totals())["s"] == 2
    await a.write(s=3)
    assert (await stats.totals())["s"] == 3


async def test_a_removed_key_is_gone(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    await a.write(c=1, s=2)
    await a.write(s=...)
    assert await stats.totals() == {"c": 1}


async def test_keys_of_any_form(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    names = ["c\0", "c\n", "c{}", "c*", "cö", "c" * 5000, "c/200"]
    await a.write(**dict.fromkeys(names, 1))
    assert await stats.totals() == dict.fromkeys(sorted(names), 1)
    assert await a.write(**{"c\ud800": 1}) == "ok"


async def test_more_keys_than_one_script_writes(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    values = {f"c{number:05}": number for number in range(2 * WRITE_BATCH + 1)}
    assert await a.write(**values) == "ok"
    assert await a.write(c00001=5) == "ok"
    assert await stats.totals() == {**values, "c00001": 5}


async def test_a_value_of_a_class_that_is_not_here(store: Store, stats: Stats) -> None:
    await (await node(store, "a")).write(c=1, s=2)
    field = b"=" + b"0" * 16 + b"\xc7\x00\x7f"
    await store.client.call("hset", store.keys.stats(1, "a"), "s", field)
    totals = await stats.totals()
    assert totals["c"] == 1
    assert "cannot be decoded" in totals["s"]


# Writes that fail, are repeated, or come too late.


async def test_a_repeated_write_counts_once(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    for _ in range(3):
        a.version = ""  # the answer got lost
        assert await a.write(c=7) == "ok"
    assert await stats.totals() == {"c": 7}


async def test_a_redis_that_has_forgotten_asks_for_everything(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    await a.write(c=1, c_other=1)
    before = await store.client.call("hgetall", store.keys.stats(1, "a"))
    await a.write(c=2, c_other=2)
    await store.client.call("hset", store.keys.stats(1, "a"), mapping=before)
    assert await a.write(c=3) == "again"
    assert await stats.totals() == {"c": 1, "c_other": 1}
    assert await a.write(c=3, c_other=2) == "ok"
    assert await stats.totals() == {"c": 3, "c_other": 2}


async def test_a_node_that_redis_has_lost_is_asked_for_everything(store: Store) -> None:
    a = await node(store, "a")
    await a.write(c=1)
    await store.client.call("delete", store.keys.stats(1, "a"))
    assert await a.write(c_other=1) == "again"


async def test_struck_off_and_back_it_is_the_same_node(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    await a.write(c=5)
    back = origin(await store.join("a~2"), node="a")
    a.origin = back
    assert await a.write(c=6) == "ok"
    [found] = (await stats.nodes()).values()
    assert (found.id, found.worker_id, found.values) == ("a", "a~2", {"c": 6})


async def test_nothing_is_written_to_a_purged_crawl(store: Store) -> None:
    a = await node(store, "a")
    await a.write(c=1)
    await store.client.call("hset", store.keys.meta, "state", "purging")
    lines = [ErrorLine(1.0, "a", "log", "ERROR", "text")]
    assert (await a.send({"c": 2}, lines=lines)).status == "busy"
    await store.frontier.purge()
    assert (await a.send({"c": 3}, lines=lines, closing=True)).status == "gone"
    assert [key async for key in store.client.redis.scan_iter(store.keys.prefix + "*")] == []
    await store.join("b")  # another crawl of the same number
    assert (await a.send({"c": 3}, lines=lines)).status == "gone"


async def test_a_purge_of_the_queue_keeps_stats(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    await a.write(c=1)
    await store.frontier.purge(queue_only=True)
    await a.leave(c=2)
    b = await node(store, "b")
    await b.write(c=10)
    assert [await stats.totals(run.number) for run in await stats.runs()] == [{"c": 10}, {"c": 2}]


# Runs.


async def test_each_run_has_its_own(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    await a.write(c=1)
    await next_run(store)
    b = await node(store, "b")
    await b.write(c=10)
    await a.leave(c=2)  # late, and all the same welcome
    assert [(run.number, run.nodes) for run in await stats.runs()] == [(2, 1), (1, 1)]
    assert await stats.totals() == {"c": 10}
    assert await stats.totals(run=1) == {"c": 2}


async def test_old_runs_go(store: Store, stats: Stats) -> None:
    writers = []
    for _ in range(4):
        writers.append(await node(store, "a", runs=2))
        await writers[-1].write(c=1)
        await next_run(store)
    assert [run.number for run in await stats.runs()] == [4, 3]
    assert await writers[0].write(c=2) == "gone"
    names = [
        key.decode() async for key in store.client.redis.scan_iter(store.keys.stats_prefix + "*")
    ]
    parts = {name.removeprefix(store.keys.stats_prefix).partition(":")[0] for name in names}
    assert parts == {"runs", "3", "4"}


async def test_stats_without_a_crawl(store: Store, stats: Stats) -> None:
    a = Writer(store.client, store.keys, Origin("a"))
    b = Writer(store.client, store.keys, Origin("b"))
    await a.write(c=1)
    await b.write(c=2)
    assert await stats.totals() == {"c": 3}
    assert [run.number for run in await stats.runs()] == [NO_RUN]


async def test_the_last_to_leave_drops(store: Store, stats: Stats) -> None:
    a, b = await node(store, "a"), await node(store, "b")
    await a.write(c=1)
    await b.write(c=1)
    await store.client.call("zrem", store.keys.workers, "a")
    await a.leave(c=2)
    assert await a.writer.drop(1, unless_alive=True) == -1
    await store.client.call("zrem", store.keys.workers, "b")
    assert await a.writer.drop(1, unless_alive=True) == -1, "b has not written its last"
    await b.leave(c=2)
    assert await b.writer.drop(1, unless_alive=True) == 2
    assert [key async for key in store.client.redis.scan_iter(store.keys.stats_prefix + "*")] == []


async def test_reset_by_the_first_worker(store: Store, stats: Stats) -> None:
    old = await node(store, "old")
    await old.leave(c=100)
    await store.client.call("zrem", store.keys.workers, "old")
    # Of three that start at once it is the first, and each may be the first to write.
    a = await node(store, "a")
    await store.client.call("hincrby", store.keys.worker("a"), "joined", 1)
    b = await node(store, "b")
    await store.client.call("hincrby", store.keys.worker("b"), "joined", 2)
    assert await b.writer.reset(b.origin) == -1
    await b.write(c=2)
    await store.client.call("zadd", store.keys.stats_nodes(1), {"b": 10**15})
    assert await a.writer.reset(a.origin) == 1
    await a.write(c=1)
    assert await stats.totals() == {"c": 3}


async def test_reset_without_a_crawl(store: Store, stats: Stats) -> None:
    a = Writer(store.client, store.keys, Origin("a"))
    await a.leave(c=1)
    b = Writer(store.client, store.keys, Origin("b"))
    assert await b.writer.reset(b.origin) == 1
    await b.write(c=5)
    assert await b.writer.reset(Origin("c")) == -1, "b lives"
    assert await stats.totals() == {"c": 5}


# Samples.

PAGES, ITEMS = "response_received_count", "item_scraped_count"


async def write_sampled(writer: Writer, pages: int, items: int, memory: int, **more: Any) -> None:
    w = writer.writer
    values = {
        PAGES: w.encode(SUM, pages),
        ITEMS: w.encode(SUM, items),
        "crawlo/memory": w.encode(NEWEST, memory),
    }
    await w.write(writer.origin, values, **more)


async def test_a_sample_of_the_crawl(store: Store, stats: Stats) -> None:
    member = await store.join("a")
    await store.frontier.exchange(member, [push(1), push(2), push(3)], limit=1)
    a = Writer(store.client, store.keys, origin(member))
    b = await node(store, "b")
    await write_sampled(a, 10, 5, 1000)
    await write_sampled(b, 1, 1, 500)
    now = await stats.now()
    assert (now.pages, now.items, now.memory) == (11, 6, 1500)
    assert (now.queued, now.leased, now.seen, now.acked, now.workers) == (2, 1, 3, 0, 2)
    assert (await stats.node_series(["a", "b"]))["a"][0].leased == 1


async def test_one_sample_an_interval(store: Store, stats: Stats) -> None:
    a, b = await node(store, "a", interval=3600), await node(store, "b", interval=3600)
    for number in range(5):
        await write_sampled(a, number, 0, 0)
        await write_sampled(b, number, 0, 0)
    assert len(await stats.series()) <= 2  # a new hour may have begun meanwhile
    assert len((await stats.node_series(["a"]))["a"]) <= 2


async def test_the_last_to_leave_samples_the_end(store: Store, stats: Stats) -> None:
    a, b = await node(store, "a", interval=3600), await node(store, "b", interval=3600)
    await write_sampled(a, 1, 0, 0)
    await write_sampled(b, 1, 0, 0)
    await store.client.call("delete", store.keys.workers)
    await write_sampled(a, 5, 0, 0, closing=True)
    assert (await stats.series())[-1].pages < 6
    await write_sampled(b, 5, 0, 0, closing=True)
    assert (await stats.series())[-1].pages == 10
    assert (await stats.node_series(["b"]))["b"][-1].pages == 5


async def test_samples_are_bounded(store: Store, stats: Stats, redis_url: str) -> None:
    a = await node(store, "a", interval=0.001, history=0.2)
    for number in range(600):
        await write_sampled(a, number, 0, 0)
    # Redis trims whole packs of about a hundred.
    assert 100 <= len(await stats.series()) <= 400
    assert client_of(redis_url).pttl(store.keys.stats_node_series(1, "a")) != -1, "it expires"


async def test_samples_since_and_limit(store: Store, stats: Stats) -> None:
    a = await node(store, "a", interval=0.001)
    for number in range(20):
        await write_sampled(a, number, 0, 0)
    samples = await stats.series()
    assert [s.time for s in samples] == sorted(s.time for s in samples)
    assert await stats.series(limit=3) == samples[-3:]
    middle = samples[len(samples) // 2].time
    assert await stats.series(since=middle) == [s for s in samples if s.time > middle]
    assert await stats.series(run=7) == []


async def test_odd_values_do_not_spoil_a_sample(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    w = a.writer
    values = {PAGES: w.encode(SUM, 2**70), ITEMS: w.encode(NEWEST, "many")}
    assert (await w.write(a.origin, values)).status == "ok"
    now = await stats.now()
    assert (now.pages, now.items) == (0, 0)


# Error lines.


async def test_error_lines(store: Store, stats: Stats) -> None:
    a = await node(store, "a")
    lines = [ErrorLine(float(n), "a", "log", "ERROR", f"text {n}") for n in range(ERRORS_KEPT + 5)]
    for start in range(0, len(lines), 15):
        batch = lines[start : start + 15]
        await a.send({}, lines=batch)
        await a.send({}, lines=batch[:2])  # sent again
    found = await stats.errors(3)
    assert found[0].text.startswith("text 9")
    everything = await stats.errors()
    assert len(everything) == len(set(everything)) <= ERRORS_KEPT
    assert set(everything) <= set(lines)


async def test_reading_nothing(stats: Stats) -> None:
    assert await stats.runs() == []
    assert await stats.nodes() == {}
    assert await stats.totals() == {}
    assert await stats.series() == []
    assert await stats.node_series([]) == {}
    assert await stats.errors() == []
    assert (await stats.now()).workers == 0


# Whatever happens.


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5))))
def test_it_does_not_matter_who_counts(events: list[tuple[int, int]]) -> None:
    """Sum, largest and smallest over any split among nodes are those of one that does all."""
    nodes: list[dict[str, Stat]] = [{} for _ in range(4)]
    for who, value in events:
        for key, kind, combine in (
            ("c", SUM, lambda a, b: a + b),
            ("x", MAX, max),
            ("n", MIN, min),
        ):
            old = nodes[who].get(key)
            nodes[who][key] = Stat(kind, combine(old.value, value) if old else value)
    values = [value for _, value in events]
    expected = {"c": sum(values), "n": min(values), "x": max(values)} if events else {}
    assert merge(nodes) == expected


def test_mixed_uses() -> None:
    assert merge([{"k": Stat(NEWEST, 0, 5)}, {"k": Stat(SUM, 3)}]) == {"k": 3}
    assert merge([{"k": Stat(NEWEST, 1, 5)}, {"k": Stat(NEWEST, 2, 4)}]) == {"k": 1}
    assert merge([{"k": Stat(SUM, None)}, {"k": Stat(SUM, 3)}]) == {"k": 3}
    assert merge([{"k": Stat(MAX, NOON)}, {"k": Stat(MAX, NOON - timedelta(1))}]) == {"k": NOON}
    assert merge([]) == {}


class Process:
    """A worker's process: it counts, and writes as the collector does."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.values: dict[str, int] = {}
        self.sent: dict[str, int] = {}
        #: What Redis has of it.
        self.applied: dict[str, int] = {}

    def count(self, key: str, value: int) -> None:
        old = self.values.get(key)
        kind = KINDS[key[0]]
        if kind == SUM:
            self.values[key] = (old or 0) + value
        elif kind == NEWEST or old is None:
            self.values[key] = value
        else:
            self.values[key] = (max if kind == MAX else min)(old, value)

    async def write(self, answered: bool = True, closing: bool = False) -> None:
        changed = {k: v for k, v in self.values.items() if self.sent.get(k) != v}
        values = changed if self.writer.version else self.values
        status = (await self.writer.send(values, closing=closing)).status
        if status == "again":
            status = await self.writer.write(**self.values)
        if status == "gone":
            return  # it was given up, and what it had written is kept
        assert status == "ok"
        self.applied = dict(self.values)
        self.sent = dict(self.values)
        if not answered:
            self.writer.version = ""


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("count"), st.integers(0, 2), st.sampled_from(["c1", "c2", "x", "n"]),
            st.integers(-9, 9),
        ),
        st.tuples(
            st.sampled_from(["write", "unanswered", "leave", "crash", "forget", "zombie", "fold"]),
            st.integers(0, 2),
        ),
    ),
    max_size=60,
)  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS)
def test_any_interleaving_adds_up(
    redis_url: str, background: Background, events: list[Any]
) -> None:
    """Totals are those of what each process, dead or alive, had counted at its last write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statsfold, "KEPT", 1)
        background(_interleave(redis_url, events))


async def _interleave(redis_url: str, events: list[Any]) -> None:
    client, keys = Client.connect(address_of(redis_url)), Keys(f"test-{uuid4().hex[:12]}", "s")
    _, member = await Workers(client, keys).join("w", {"host": "h"}, bucket_fill=400)
    assert isinstance(member, Membership)
    processes: list[Process] = []

    def start() -> Process:
        node = f"n{len(processes)}"
        processes.append(Process(Writer(client, keys, origin(member, node=node))))
        return processes[-1]

    living, crashed = [start() for _ in range(3)], [start()]
    snapshots: dict[Process, tuple[Any, dict[str, int]]] = {}
    for kind, who, *rest in events:
        process = living[who]
        name = keys.stats(member.run, process.writer.origin.node)
        if kind == "count":
            process.count(*rest)
        elif kind in ("write", "unanswered"):
            await process.write(answered=kind == "write")
            snapshots[process] = (await client.call("hgetall", name), process.applied)
        elif kind in ("leave", "crash"):
            if kind == "leave":
                await process.write(closing=True)
            else:
                crashed.append(process)
            living[who] = start()
        elif kind == "forget" and process in snapshots:
            # Redis goes back to an earlier write of this node; its next write notices.
            before, process.applied = snapshots[process]
            await client.call("delete", name)
            await client.call("hset", name, mapping=before)
            await process.write()
        elif kind == "zombie":
            process = crashed[who % len(crashed)]
            process.count("c1", 1)
            await process.write()
        elif kind == "fold":
            scores = dict(await client.call("zrange", keys.stats_nodes(member.run), 0, -1,
                                            withscores=True))  # fmt: skip
            for process in crashed:
                node = process.writer.origin.node
                if scores.get(node.encode(), 0) > 0:  # that was long ago
                    await client.call("zadd", keys.stats_nodes(member.run), {node: 1})
            await statsfold.fold(client, keys, Codec(), member.run)
    expected = merge(
        {key: Stat(KINDS[key[0]], value) for key, value in process.applied.items()}
        for process in processes
    )
    try:
        assert await Stats(client, keys, Codec()).totals() == expected
    finally:
        found = [key async for key in client.redis.scan_iter(keys.prefix + "*")]
        await client.call("delete", *found)
        await client.close()


async def test_many_nodes_that_write_no_more(
    store: Store, stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statsfold, "KEPT", 2)
    member = await store.join("a")
    expected = 0
    for number in range(12):
        writer = Writer(store.client, store.keys, origin(member, node=f"n{number:02}"))
        await writer.leave(c=number, s=f"n{number}", x=number)
        expected += number
        await statsfold.fold(store.client, store.keys, Codec(), member.run)
        assert (await stats.totals())["c"] == expected
    living = Writer(store.client, store.keys, origin(member, node="living"))
    await living.write(c=100)
    await statsfold.fold(store.client, store.keys, Codec(), member.run)
    nodes = await stats.nodes()
    assert len(nodes) <= 2 * 2 + 2
    assert nodes[statsfold.EARLIER].left
    assert "living" in nodes
    assert await stats.totals() == {"c": expected + 100, "s": "n11", "x": 11}
    assert not await store.client.call("exists", store.keys.stats_folded(1)), "all had left"


async def test_two_that_fold_at_once(
    store: Store, stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statsfold, "KEPT", 1)
    member = await store.join("a")
    for number in range(10):
        writer = Writer(store.client, store.keys, origin(member, node=f"n{number}"))
        await writer.leave(c=1)
    folded = await asyncio.gather(
        *(statsfold.fold(store.client, store.keys, Codec(), 1) for _ in range(4))
    )
    assert sorted(folded) == [0, 0, 0, 9]
    assert await stats.totals() == {"c": 10}
