"""Registry and statistics side by side."""

from __future__ import annotations

from typing import Any

import pytest

from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.inspect import inspect
from crawlo_scrapy.store.nodes import Node, find_nodes, rate
from crawlo_scrapy.store.stats import SUM, Sample, Stats
from crawlo_scrapy.store.statswriter import Origin, Retention, StatsWriter
from crawlo_scrapy.values import Codec
from tests.store.conftest import Store

PAGES = "response_received_count"


async def write(store: Store, member: Membership, pages: int, node: str = "", **more: Any) -> None:
    writer = StatsWriter(store.client, store.keys, Codec(), Retention())
    node = node or f"{member.worker_id}+1"
    origin = Origin(node, member.worker_id, member.run, member.created)
    await writer.write(origin, {PAGES: writer.encode(SUM, pages)}, **more)


async def nodes_of(store: Store, timeout: float = 15) -> list[Node]:
    state = await inspect(store.client, store.keys)
    return await find_nodes(state, Stats(store.client, store.keys, Codec()), timeout)


async def test_states(store: Store) -> None:
    members = {name: await store.join(name) for name in ("run", "silent", "lost", "left", "new")}
    for name in ("run", "silent", "lost"):
        await write(store, members[name], 5)
    await write(store, members["left"], 5, closing=True)
    await store.client.call("zrem", store.keys.workers, "left", "lost")
    await store.client.call("zadd", store.keys.workers, {"silent": 1})
    await store.client.call("zadd", store.keys.stats_nodes(1), {"lost+1": 1})
    await store.workers.claim_seeding(members["run"])
    found = await nodes_of(store)
    assert {(node.worker_id, node.state, node.pages) for node in found} == {
        ("run", "seeding", 5),
        ("new", "running", 0),
        ("silent", "silent", 5),
        ("lost", "lost", 5),
        ("left", "left", 5),
    }
    assert [node.state for node in found][-3:] == ["silent", "lost", "left"]
    assert {node.host for node in found} == {"h", ""}


async def test_a_worker_that_came_back_is_one_node(store: Store) -> None:
    await write(store, await store.join("a"), 5, node="a+1")
    await store.client.call("zrem", store.keys.workers, "a")
    again = await store.join("a~2")
    await write(store, again, 6, node="a+1")
    [node] = await nodes_of(store)
    assert (node.worker_id, node.state, node.pages) == ("a~2", "running", 6)


async def test_a_namesake_is_another_node(store: Store) -> None:
    await write(store, await store.join("a"), 5, node="a+1")
    await store.client.call("zrem", store.keys.workers, "a")
    await store.client.call("zadd", store.keys.stats_nodes(1), {"a+1": 1})
    await store.join("a")
    assert [(n.id, n.state, n.pages) for n in await nodes_of(store)] == [
        ("", "running", 0),
        ("a+1", "lost", 5),
    ]


async def test_without_a_crawl(store: Store) -> None:
    assert await nodes_of(store) == []
    await write(store, Membership("", 0), 5, node="n")
    [node] = await nodes_of(store)
    assert (node.state, node.pages, node.beat_age) == ("running", 5, None)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], None),
        ([(99_500, 0)], None),  # too short a time
        ([(90_000, 90)], 60.0),
        ([(40_000, 0), (70_000, 70), (90_000, 99)], 60.0),
    ],
)
def test_rate(before: list[tuple[int, int]], expected: float | None) -> None:
    samples = [Sample(time=time, pages=pages) for time, pages in before]
    assert rate(Sample(time=100_000, pages=100), samples) == expected
