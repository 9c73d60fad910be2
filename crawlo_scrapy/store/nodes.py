"""The nodes of a crawl: the registry's workers, and what they have counted, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crawlo_scrapy.store.inspect import CrawlState, WorkerState
from crawlo_scrapy.store.lenient import whole
from crawlo_scrapy.store.stats import SAMPLED, NodeStats, Sample, Stats

#: A rate is taken over this time at least, in seconds, if the node has been there for so long.
RATE_SPAN = 20.0
#: Samples of a node that are read to find its rate.
RECENT = 3


@dataclass(frozen=True)
class Node:
    """A process that is, or was, in the newest run of a crawl.

    `state` is ``running``, or ``seeding``; ``silent`` when it was not heard of for so long that
    it counts as dead; ``lost`` when it was struck off for that; ``left`` when it has closed.
    `id` is that of its stats, empty when it has written none; `beat_age` is in seconds, None
    when it is no longer in the registry. `memory` is in bytes. `pages_per_minute` is None when
    it is not known.
    """

    id: str
    worker_id: str
    state: str
    host: str = ""
    pid: int = 0
    role: str = ""
    version: str = ""
    beat_age: float | None = None
    leased: int = 0
    started: int = 0
    written: int = 0
    pages: int = 0
    items: int = 0
    errors: int = 0
    bytes: int = 0
    memory: int = 0
    pages_per_minute: float | None = None


async def find_nodes(state: CrawlState, stats: Stats, timeout: float) -> list[Node]:
    """Return the nodes of a crawl that `inspect` has looked at, those that live first.

    A worker that was not heard of for *timeout* seconds counts as dead. Raises `StoreError`.
    """
    counted = await stats.nodes(state.run)
    recent = await stats.node_series(list(counted), run=state.run, limit=RECENT)
    return side_by_side(state, counted, recent, timeout)


def side_by_side(
    state: CrawlState,
    counted: Mapping[str, NodeStats],
    recent: Mapping[str, Sequence[Sample]],
    timeout: float,
) -> list[Node]:
    """Do what `find_nodes` does, with what `Stats` has read already."""
    counted = dict(counted)
    # Of several with one name the latest; what was written before a worker joined is another's.
    by_worker = {node.worker_id: node for node in counted.values() if not node.left}
    found = []
    for worker in state.workers:
        figures: dict[str, Any] = {"id": ""}
        if (node := by_worker.get(worker.id)) and node.written >= worker.joined:
            figures = _figures(counted.pop(node.id), recent[node.id])
        seeds = worker.seeding or worker.id == state.seeder
        status = "silent" if worker.beat_age > timeout else "seeding" if seeds else "running"
        found.append(_registered(worker, status, figures))
    for node in counted.values():
        silent = state.now - node.written > 1000 * timeout
        status = "left" if node.left else "lost" if silent else "running"
        found.append(
            Node(worker_id=node.worker_id, state=status, **_figures(node, recent[node.id]))
        )
    order = ("seeding", "running", "silent", "lost", "left")
    return sorted(found, key=lambda node: (order.index(node.state), node.worker_id))


def rate(now: Sample, before: Sequence[Sample], name: str = "pages") -> float | None:
    """Return by how much the figure of that *name* grew a minute, up to *now*.

    Compares with the newest of the samples *before* that is `RATE_SPAN` seconds old, else with
    the oldest. None when there is none to compare with.
    """
    older = [sample for sample in before if now.time - sample.time >= 1000 * RATE_SPAN]
    base = older[-1] if older else before[0] if before else None
    if base is None or now.time - base.time < 1000:
        return None
    grown: int = getattr(now, name) - getattr(base, name)
    return grown * 60_000 / (now.time - base.time)


def _registered(worker: WorkerState, status: str, figures: dict[str, Any]) -> Node:
    return Node(
        worker_id=worker.id, state=status, host=worker.host, pid=worker.pid, role=worker.role,
        version=worker.version, beat_age=worker.beat_age, leased=worker.leased,
        started=worker.started, **figures,
    )  # fmt: skip


def _figures(node: NodeStats, recent: Sequence[Sample]) -> dict[str, Any]:
    values = [node.stats[key].value if key in node.stats else 0 for key in SAMPLED]
    now = Sample(node.written, *(whole(v) if isinstance(v, (int, float)) else 0 for v in values))
    return {
        "id": node.id, "written": node.written, "pages": now.pages, "items": now.items,
        "errors": now.errors, "bytes": now.bytes, "memory": now.memory,
        "pages_per_minute": None if node.left else rate(now, recent),
    }  # fmt: skip
