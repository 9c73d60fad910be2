"""Statistics of a crawl: what each process has counted, their sums, and samples over time.

A node is one process in one run of a crawl. It writes its own values (`crawlo_scrapy.store.
statswriter`), and they are absolute, so that neither a crash nor a repeated write counts anything
twice. Who reads adds them up (`merge`).

A reader needs nothing but ``Stats(client, keys, codec)``, where *codec* turns values into bytes and
back as `crawlo_scrapy.values.Codec` does::

    stats = Stats(client, keys, Codec())
    for run in await stats.runs(): ...              # newest first
    totals = await stats.totals()                   # {"item_scraped_count": 12, …}, newest run
    for node in (await stats.nodes()).values(): ... # node.values: the same of one process
    samples = await stats.series()                  # [Sample(time=…, pages=…, queued=…), …]
    lines = await stats.errors(20)                  # [ErrorLine(…), …], newest first

Times are Redis's, in milliseconds since 1970, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from crawlo_scrapy.store import scripts
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.lenient import text, whole
from crawlo_scrapy.store.scripts import Call
from crawlo_scrapy.store.statsmerge import MAX, MIN, NEWEST, STAMP, SUM, Stat, merge

__all__ = [
    "ERRORS_KEPT", "MAX", "MIN", "NEWEST", "NO_RUN", "SAMPLED", "SUM", "Codec", "ErrorLine",
    "NodeStats", "Run", "Sample", "Stat", "Stats", "merge", "now_all",
]  # fmt: skip

#: The stats that samples are made of, in the order of `Sample`.
SAMPLED = (
    "response_received_count",
    "item_scraped_count",
    "log_count/ERROR",
    "downloader/response_bytes",
    "crawlo/memory",
)
#: Error lines of a crawl that are kept.
ERRORS_KEPT = 100
#: The run of processes that share statistics and no frontier.
NO_RUN = 0


class Codec(Protocol):
    """Values to bytes and back."""

    def encode(self, value: Any) -> bytes: ...
    def decode(self, payload: bytes) -> Any: ...


@dataclass(frozen=True)
class Run:
    """A run that has statistics. It began at `created`; `NO_RUN` has no beginning."""

    number: int
    created: int
    nodes: int


@dataclass(frozen=True)
class NodeStats:
    """What one process has counted in a run, as of its last write, at `written`.

    `worker_id` is its place in the registry. One that has `left` wrote all it had; one that was
    killed did not, and what it counted since its last write is not here.
    """

    id: str
    worker_id: str
    written: int
    left: bool
    stats: Mapping[str, Stat] = field(repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """Its stats as Scrapy has them."""
        return {key: stat.value for key, stat in self.stats.items()}


@dataclass(frozen=True)
class Sample:
    """How a crawl, or one node, stood at `time`. Counts are since the run, or the node, began.

    `bytes` were downloaded; `memory` is in bytes, of a crawl that of its living nodes. What
    follows `leased` is 0 in the sample of a node.
    """

    time: int
    pages: int = 0
    items: int = 0
    errors: int = 0
    bytes: int = 0
    memory: int = 0
    leased: int = 0
    queued: int = 0
    acked: int = 0
    seen: int = 0
    dead: int = 0
    workers: int = 0


class ErrorLine(NamedTuple):
    """A line of a node's log. `time` is in seconds, by the node's own clock."""

    time: float
    node: str
    logger: str
    level: str
    text: str


class Stats:
    """Reads the statistics of one crawl.

    A node that was not heard of for *silence* seconds counts as dead. All methods raise
    `StoreError` when Redis cannot serve.
    """

    def __init__(self, client: Client, keys: Keys, codec: Codec, *, silence: float = 15.0) -> None:
        self._client = client
        self._keys = keys
        self._codec = codec
        self._silence = silence

    async def runs(self) -> list[Run]:
        """Return the runs that have statistics, newest first."""
        found = await self._client.call("zrevrange", self._keys.stats_runs, 0, -1, withscores=True)
        sizes = await self._read(("ZCARD", self._keys.stats_nodes(whole(n))) for n, _ in found)
        return [
            Run(whole(number), whole(created), size)
            for (number, created), size in zip(found, sizes, strict=True)
        ]

    async def nodes(self, run: int | None = None) -> dict[str, NodeStats]:
        """Return what each node has counted in *run*, the newest unless given; newest node last."""
        run = await self._run(run)
        members = await self._client.call(
            "zrange", self._keys.stats_nodes(run), 0, -1, withscores=True
        )
        ids = [text(member) for member, _ in members]
        replies = await self._read(("HGETALL", self._keys.stats(run, node)) for node in ids)
        nodes = [
            self._node(node, whole(score), reply)
            for node, (_, score), reply in zip(ids, members, replies, strict=True)
            if reply
        ]
        return {node.id: node for node in sorted(nodes, key=lambda node: node.written)}

    async def totals(self, run: int | None = None) -> dict[str, Any]:
        """Return the sums over all nodes of *run*, the newest unless given; in order of keys."""
        return merge(node.stats for node in (await self.nodes(run)).values())

    async def now(self, run: int | None = None) -> Sample:
        """Return how the crawl stands now: one cheap script, however many stats there are."""
        place = (self._keys, await self._run(run))
        [sample] = await now_all(self._client, [place], self._silence)
        return sample

    async def counts(self, names: Sequence[str], run: int) -> tuple[int, list[int]]:
        """Return what the time is, and the sums of some counters over all nodes of *run*."""
        keys = self._keys
        call = Call(
            "stats_now",
            [keys.meta, keys.workers, keys.dead, keys.stats_nodes(run), keys.stats(run)],
            [round(self._silence * 1000), *names, ""],
        )
        [[time, sums]] = await scripts.run(self._client, call)
        return int(time), [whole(figure) for figure in sums.split(b",")[: len(names)]]

    async def series(
        self, *, run: int | None = None, since: int = 0, limit: int = 0
    ) -> list[Sample]:
        """Return the samples of *run*, the newest unless given; oldest first.

        Only those after *since*, the time of a sample; only the latest *limit*, unless that is 0.
        """
        key = self._keys.stats_series(await self._run(run))
        [samples] = await self._samples([key], since, limit)
        return samples

    async def before(self, time: int, *, run: int) -> Sample | None:
        """Return the newest sample of *run* that was taken at *time* or before; None if none."""
        key = self._keys.stats_series(run)
        found = await self._client.call("xrevrange", key, max=f"{time}-{2**64 - 1}", count=1)
        return next(
            (_sample(int(i.partition(b"-")[0]), fields.get(b"v", b"")) for i, fields in found), None
        )

    async def of_living(self, key: str, *, run: int, since: int) -> dict[str, Any]:
        """Return one stat of each node of *run* that has not left and wrote after *since*."""
        members = await self._client.call(
            "zrangebyscore", self._keys.stats_nodes(run), f"({since}", "+inf"
        )
        ids = [text(member) for member in members]
        replies = await self._read(("HGET", self._keys.stats(run, node), key) for node in ids)
        return {
            node: self._stat(field).value
            for node, field in zip(ids, replies, strict=True)
            if field is not None
        }

    async def node_series(
        self, nodes: Sequence[str], *, run: int | None = None, since: int = 0, limit: int = 0
    ) -> dict[str, list[Sample]]:
        """Return the samples of some nodes of *run* in one round trip, as `series` does."""
        run = await self._run(run)
        keys = [self._keys.stats_node_series(run, node) for node in nodes]
        return dict(zip(nodes, await self._samples(keys, since, limit), strict=True))

    async def errors(self, limit: int = ERRORS_KEPT) -> list[ErrorLine]:
        """Return the latest lines that nodes of this crawl logged as errors, newest first."""
        lines = await self._client.call("lrange", self._keys.stats_errors, 0, limit - 1)
        # A write that is repeated may leave a line twice.
        return list(dict.fromkeys(self._error_line(line) for line in lines))

    def _error_line(self, line: bytes) -> ErrorLine:
        try:
            time, *texts = self._codec.decode(line)
            return ErrorLine(float(time), *map(str, texts))
        except Exception as exc:
            # As with stats: not written by us, or by another version.
            return ErrorLine(0.0, "", "", "ERROR", f"(cannot be decoded: {exc})")

    async def _run(self, run: int | None) -> int:
        if run is not None:
            return run
        newest = await self._client.call("zrevrange", self._keys.stats_runs, 0, 0)
        return whole(newest[0]) if newest else NO_RUN

    async def _samples(self, keys: list[str], since: int, limit: int) -> list[list[Sample]]:
        after = f"({since}-{2**64 - 1}"
        count = ("COUNT", limit) if limit else ()
        replies = await self._read(("XREVRANGE", key, "+", after, *count) for key in keys)
        return [
            [
                _sample(int(id_.partition(b"-")[0]), fields.get(b"v", b""))
                for id_, fields in reversed(reply)
            ]
            for reply in replies
        ]

    async def _read(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        results = await self._client.send(commands)
        for result in results:
            if isinstance(result, Exception):
                raise await self._client.failure(result) from result
        return results

    def _node(self, node: str, score: int, fields: dict[bytes, bytes]) -> NodeStats:
        identity = fields.pop(b"", b"")
        stats = {text(key): self._stat(field) for key, field in fields.items()}
        return NodeStats(node, text(identity[STAMP:]), abs(score), score < 0, stats)

    def _stat(self, field: bytes) -> Stat:
        kind, time, payload = field[:1], 0, field[1:]
        if kind == NEWEST:
            time, payload = whole(field[1 : 1 + STAMP]), field[1 + STAMP :]
        try:
            return Stat(kind, self._codec.decode(payload), time)
        except Exception as exc:
            # It may be of a class that this process does not have; the others count all the same.
            return Stat(kind, f"(cannot be decoded: {exc})", time)


async def now_all(client: Client, runs: Iterable[tuple[Keys, int]], silence: float) -> list[Sample]:
    """Return how runs of some crawls stand now, in one round trip, as `Stats.now` does."""
    calls = [
        Call(
            "stats_now",
            [keys.meta, keys.workers, keys.dead, keys.stats_nodes(run), keys.stats(run)],
            [round(silence * 1000), *SAMPLED],
        )
        for keys, run in runs
    ]
    replies = await scripts.run(client, *calls) if calls else []
    return [_sample(int(time), sums) for time, sums in replies]


def _sample(time: int, sums: bytes) -> Sample:
    figures = [whole(figure) for figure in sums.split(b",")]
    return Sample(time, *figures[: len(fields(Sample)) - 1])
