"""Writes what one process has counted, so that `crawlo_scrapy.store.stats` can add it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crawlo_scrapy.store import scripts
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.listing import enlist
from crawlo_scrapy.store.partitions import all_keys, note_elsewhere
from crawlo_scrapy.store.scripts import Call
from crawlo_scrapy.store.stats import ERRORS_KEPT, NO_RUN, SAMPLED, Codec, ErrorLine

#: Keys that one script writes at most; Redis does nothing else meanwhile.
WRITE_BATCH = 1000


@dataclass(frozen=True)
class Origin:
    """Who writes: a node, its worker's id, and the run, which began at `created`."""

    node: str
    worker_id: str = ""
    run: int = NO_RUN
    created: int = 0


class Written(NamedTuple):
    """What came of a write.

    `status` is ``ok``; ``again`` when Redis has forgotten some of what it had, and all must be
    written; ``busy`` when the crawl is being purged; ``gone`` when the run is no longer there.
    """

    status: str
    version: str = ""


@dataclass(frozen=True)
class Retention:
    """How much is kept, and for how long. Times are in seconds.

    A node that was not heard of for `silence` counts as dead. Series have a sample each
    `interval` over the last `history`.
    """

    runs: int = 10
    silence: float = 15.0
    interval: float = 60.0
    history: float = 24 * 3600.0

    @property
    def samples(self) -> int:
        return max(1, round(self.history / self.interval))


class StatsWriter:
    """Writes the statistics of one node. All methods raise `StoreError` when Redis cannot serve."""

    def __init__(self, client: Client, keys: Keys, codec: Codec, retention: Retention) -> None:
        self._client = client
        self._keys = keys
        self._codec = codec
        self._retention = retention
        # How a crawl is divided changes only while it has no workers.
        self._partitions: list[Keys] | None = None

    def encode(self, kind: bytes, value: Any) -> bytes:
        """Return a value as `write` takes it. Raises what the codec raises."""
        return kind + self._codec.encode(value)

    async def write(
        self,
        origin: Origin,
        changes: Mapping[str, bytes],
        version: str = "",
        *,
        lines: Sequence[ErrorLine] = (),
        closing: bool = False,
    ) -> Written:
        """Write *changes*: absolute values that `encode` made; an empty one removes its key.

        *version* is what the last write returned; without it *changes* must be all that the
        node has. Appends samples that are due, and the error *lines*, in the same round trip.
        May be repeated after an error. The oldest runs go when there are too many.
        """
        if self._partitions is None:
            self._partitions = await all_keys(self._client, self._keys)
        if len(self._partitions) > 1:
            await note_elsewhere(self._client, self._partitions)
        calls, first = [], version
        items = list(changes.items())
        for start in range(0, len(items) or 1, WRITE_BATCH):
            calls.append(
                self._write_call(origin, items[start : start + WRITE_BATCH], first, closing)
            )
            first = ""
        writes = len(calls)
        calls.append(self._sample_call(origin, closing))
        if lines:
            encoded = [self._codec.encode(list(line)) for line in lines]
            keys = [self._keys.meta, self._keys.stats_runs, self._keys.stats_errors]
            args = [origin.run, origin.created, ERRORS_KEPT, *encoded]
            calls.append(Call("stats_error", keys, args))
        replies = (await scripts.run(self._client, *calls))[:writes]
        if surplus := replies[0][2]:
            await self.drop(int(surplus))
        failed = [reply[0].decode() for reply in replies if reply[0] != b"ok"]
        if failed:
            return Written(failed[0])
        await enlist(self._client, self._keys)  # Redis may have forgotten that it is there
        return Written("ok", replies[-1][1].decode())

    def _write_call(
        self, origin: Origin, items: list[tuple[str, bytes]], version: str, closing: bool
    ) -> Call:
        keys = self._keys
        args: list[Any] = [
            origin.run, origin.created, origin.node, origin.worker_id, version, int(closing),
            self._retention.runs,
        ]  # fmt: skip
        for key, value in items:
            args += (key.encode("utf-8", "backslashreplace"), value)
        stats = keys.stats(origin.run, origin.node)
        names = [
            keys.meta, keys.stats_runs, keys.stats_nodes(origin.run),
            keys.stats_folded(origin.run), stats,
        ]  # fmt: skip
        return Call("stats_write", names, args)

    def _sample_call(self, origin: Origin, closing: bool) -> Call:
        keys, kept = self._keys, self._retention
        return Call(
            "stats_sample",
            [
                keys.meta, keys.workers, keys.dead, keys.stats_runs,
                keys.stats_nodes(origin.run), keys.stats_series(origin.run),
                keys.stats_node_series(origin.run, origin.node), keys.leases(origin.worker_id),
                keys.stats(origin.run),
            ],
            [
                origin.run, origin.created, origin.node, round(kept.silence * 1000),
                round(kept.interval * 1000), kept.samples, int(closing), *SAMPLED,
            ],
        )  # fmt: skip

    async def drop(self, run: int, *, unless_alive: bool = False) -> int:
        """Remove the statistics of *run*. Returns how many nodes there were.

        With *unless_alive* nothing is done, and -1 returned, while a node lives.
        """
        keys = self._keys
        call = Call(
            "stats_drop",
            [
                keys.workers, keys.stats_runs, keys.stats_nodes(run), keys.stats_series(run),
                keys.stats_folded(run), keys.stats(run), keys.stats_node_series(run),
            ],
            [run, round(self._retention.silence * 1000) if unless_alive else ""],
        )  # fmt: skip
        return int((await scripts.run(self._client, call))[0])

    async def reset(self, origin: Origin) -> int:
        """Remove what was written of the run before the first worker that lives joined it.

        Only that worker does; others get -1. Returns how many nodes were removed.
        """
        keys, number = self._keys, origin.run
        call = Call(
            "stats_reset",
            [
                keys.workers, keys.stats_nodes(number), keys.stats_series(number),
                keys.worker_prefix, keys.stats(number), keys.stats_node_series(number),
            ],
            [origin.worker_id, round(self._retention.silence * 1000)],
        )  # fmt: skip
        return int((await scripts.run(self._client, call))[0])
