"""Looks at crawls in Redis for the pages: at each thing once in its time, for all viewers."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crawlo_scrapy.dashboard.search import Search
from crawlo_scrapy.dashboard.shared import Shared
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control, Note
from crawlo_scrapy.store.dead_letters import DeadLetter, DeadLetters
from crawlo_scrapy.store.inspect import CrawlState, inspect, inspect_all, keys_of
from crawlo_scrapy.store.keys import Keys, clean
from crawlo_scrapy.store.nodes import RECENT, Node, rate, side_by_side
from crawlo_scrapy.store.slotstate import SlotState, slot_states
from crawlo_scrapy.store.stats import Codec, ErrorLine, NodeStats, Run, Sample, Stats, merge

#: How old an answer may be, in seconds: how a crawl stands; its errors and letters; what nodes have
#: counted, which they write every few seconds; its curves; and what belongs to a run that is over.
NOW, LATEST, COUNTED, CURVES, OVER = 1.0, 3.0, 4.0, 10.0, 60.0
#: Crawls that are listed at most.
MOST_CRAWLS = 200
#: Samples of a run that are read at most: a week of one a minute.
MOST_SAMPLES = 10_000
#: Dead letters that are looked at: reading on costs Redis time, and nobody reads on.
MOST_LETTERS = 1000
#: Notes of who did what that are shown.
MOST_NOTES = 20
#: How a run stood is remembered every so often, for so long, in ms: its samples are further apart.
REMEMBER_EVERY, REMEMBER = 10_000, 600_000
#: Runs that are remembered so.
REMEMBERED = 200
#: When the first sample is not later than this, in ms, the run began with it.
BEGINNING = 120_000

RATES = ("pages", "items", "errors")


class NotThere(Exception):
    """There is no such crawl, run, or node; the message says which."""


@dataclass(frozen=True)
class Row:
    """A crawl in the list of all."""

    state: CrawlState
    now: Sample
    pages_per_minute: float | None
    living: int


@dataclass(frozen=True)
class Letters:
    """The dead letters that were looked at, newest first, and how many had each reason."""

    newest: list[DeadLetter]
    reasons: list[tuple[str, int]]


@dataclass(frozen=True)
class _Counted:
    nodes: Mapping[str, NodeStats]
    recent: Mapping[str, Sequence[Sample]]
    totals: Mapping[str, Any]


@dataclass(frozen=True)
class _Chosen:
    """A run, the newest if it is `current`; what is found out of it is held for `hold` seconds."""

    keys: Keys
    stats: Stats
    state: CrawlState
    runs: list[Run]
    run: Run
    current: bool

    @property
    def name(self) -> tuple[str, int, int]:
        # After a purge the numbers of runs begin again.
        return self.keys.name, self.run.number, self.run.created

    @property
    def growing(self) -> bool:
        return self.current and not self.state.finished

    @property
    def hold(self) -> float:
        # Workers write for the last time when the crawl is finished.
        over = self.state.finished and self.state.now - self.state.finished > 1000 * OVER
        return OVER if over or not self.current else NOW


@dataclass(frozen=True)
class View:
    """Everything about one run of a crawl, the newest if it is `current`.

    What is `wanted` of its workers, and its `slots`, are empty for an earlier run.
    """

    state: CrawlState
    run: Run
    runs: list[Run]
    current: bool
    now: Sample
    rates: Mapping[str, float | None]
    samples: list[Sample]
    nodes: list[Node]
    counted: Mapping[str, NodeStats]
    totals: Mapping[str, Any]
    letters: Letters
    errors: list[ErrorLine]
    wanted: Mapping[str, str]
    slots: list[SlotState]
    notes: list[Note]

    def node(self, node_id: str) -> Node:
        """Return the node whose stats, or whose worker, has that id. Raises `NotThere`."""
        for node in self.nodes:
            if node_id and node_id in (node.id, node.worker_id):
                return node
        raise NotThere(f"There is no node {node_id} in run {self.run.number} of {self.state.name}.")


class Reader:
    """Reads the crawls of one Redis, or of one *project* in it. Writes nothing.

    A worker that was not heard of for *timeout* seconds counts as dead. All methods raise
    `StoreError` when Redis cannot serve.
    """

    def __init__(
        self, client: Client, codec: Codec, *, timeout: float, project: str | None = None
    ) -> None:
        self.shared = Shared()
        self.project = project
        self.timeout = timeout
        self._client = client
        self._codec = codec
        self._search = Search(client, project)
        self._seen: OrderedDict[tuple[str, int, int], deque[Sample]] = OrderedDict()

    async def crawls(self) -> tuple[list[Row], int]:
        """Return the crawls, at most `MOST_CRAWLS`, and how many there are.

        Those that are not finished come first, then what finished last.
        """
        keys = [keys_of(name) for name in await self._search.names()]
        states = await self.shared.get("crawls", lambda: inspect_all(self._client, keys), NOW)
        found = sorted(
            (state for state in states if state.exists),
            key=lambda state: (bool(state.finished), -state.finished, state.name),
        )
        rows = await asyncio.gather(*(self._row(state) for state in found[:MOST_CRAWLS]))
        return rows, len(found)

    async def crawl(self, name: str, number: int | None = None) -> View:
        """Return the run of that *number*, the newest unless given. Raises `NotThere`."""
        chosen = await self._choose(name, number)
        get, stats, state, run = self.shared.get, chosen.stats, chosen.state, chosen.run
        control = Control(self._client, chosen.keys)
        counted = await get(
            ("counted", chosen.name),
            lambda: _count(stats, run.number),
            max(chosen.hold, COUNTED),
        )
        now = await self._now(chosen)
        samples = await self._samples(chosen, now)
        return View(
            state=state,
            run=run,
            runs=chosen.runs,
            current=chosen.current,
            now=now,
            rates={name: rate(now, samples, name) if chosen.growing else None for name in RATES},
            samples=samples,
            nodes=side_by_side(
                state if chosen.current else replace(state, workers=[]),
                counted.nodes,
                counted.recent,
                self.timeout,
            ),
            counted=counted.nodes,
            totals=counted.totals,
            letters=await get(("letters", name), lambda: self._letters(chosen.keys), LATEST),
            errors=await get(("errors", name), stats.errors, LATEST),
            wanted=await get(("wanted", name), control.read, NOW) if chosen.current else {},
            slots=await get(("slots", name), lambda: slot_states(self._client, chosen.keys), LATEST)
            if chosen.current
            else [],
            notes=await get(("notes", name), lambda: control.audit(MOST_NOTES), LATEST),
        )

    async def samples(self, name: str, number: int | None = None) -> list[Sample]:
        """Return how the run stood over time, up to now. Raises `NotThere`."""
        chosen = await self._choose(name, number)
        return await self._samples(chosen, await self._now(chosen))

    async def node_samples(self, view: View, node: Node) -> list[Sample]:
        """Return the samples of a node of *view*."""
        if not node.id:
            return []
        _, stats = self._of(view.state.name)

        async def look() -> list[Sample]:
            found = await stats.node_series([node.id], run=view.run.number, limit=MOST_SAMPLES)
            return found[node.id]

        key = ("node samples", view.state.name, view.run.number, view.run.created, node.id)
        return await self.shared.get(key, look, CURVES)

    def keys(self, name: str) -> Keys:
        """Return the keys of a crawl that may be shown. Raises `NotThere`."""
        try:
            keys = keys_of(name)
        except ValueError as exc:
            raise NotThere(f"{exc}.") from None
        inside = self.project is None or name.startswith(f"{clean(self.project)}:")
        if keys.name != name or not inside:
            raise NotThere(f"There is no crawl {name} here.")
        return keys

    def _of(self, name: str) -> tuple[Keys, Stats]:
        keys = self.keys(name)
        return keys, Stats(self._client, keys, self._codec, silence=self.timeout)

    async def _choose(self, name: str, number: int | None) -> _Chosen:
        keys, stats = self._of(name)
        state = await self.shared.get(("state", name), lambda: inspect(self._client, keys), NOW)
        runs = await self.shared.get(("runs", name), stats.runs, COUNTED)
        if not state.exists and not runs:
            raise NotThere(f"There is no crawl {name} in this Redis.")
        newest = state.run if state.exists else runs[0].number
        wanted = newest if number is None else number
        run = next((run for run in runs if run.number == wanted), None)
        if run is None and state.exists and wanted == newest:
            run = Run(wanted, state.created, 0)  # nobody has written stats yet
        if run is None:
            raise NotThere(f"There are no stats of run {wanted} of {name}.")
        return _Chosen(keys, stats, state, runs, run, wanted == newest)

    async def _row(self, state: CrawlState) -> Row:
        keys, stats = self._of(state.name)
        chosen = _Chosen(keys, stats, state, [], Run(state.run, state.created, 0), True)
        now = await self._now(chosen)
        latest = await self.shared.get(
            ("latest", chosen.name),
            lambda: stats.series(run=state.run, limit=RECENT),
            max(chosen.hold, CURVES),
        )
        grown = rate(now, self._completed(latest, chosen, now)) if chosen.growing else None
        return Row(state, now, grown, len(state.living(self.timeout)))

    async def _now(self, chosen: _Chosen) -> Sample:
        return await self.shared.get(
            ("now", chosen.name), lambda: chosen.stats.now(chosen.run.number), chosen.hold
        )

    async def _samples(self, chosen: _Chosen, now: Sample) -> list[Sample]:
        samples = await self.shared.get(
            ("samples", chosen.name),
            lambda: chosen.stats.series(run=chosen.run.number, limit=MOST_SAMPLES),
            max(chosen.hold, CURVES),
        )
        found = self._completed(samples, chosen, now)
        return [*found, now] if chosen.growing else found

    def _completed(self, samples: Sequence[Sample], chosen: _Chosen, now: Sample) -> list[Sample]:
        """Return *samples* with what was seen of the run between them; remember *now*.

        Where they reach back to the beginning, that stands before them.
        """
        seen = self._seen.setdefault(chosen.name, deque(maxlen=REMEMBER // REMEMBER_EVERY))
        self._seen.move_to_end(chosen.name)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        found = sorted((*samples, *seen), key=lambda sample: sample.time)
        if chosen.growing and (not seen or now.time - seen[-1].time >= REMEMBER_EVERY):
            seen.append(now)
        if found and 0 < found[0].time - chosen.run.created < BEGINNING:
            found.insert(0, Sample(chosen.run.created))
        return found

    async def _letters(self, keys: Keys) -> Letters:
        found: dict[str, DeadLetter] = {}  # a scan may show one twice
        async for letter in DeadLetters(self._client, keys).list():
            found[letter.id] = letter
            if len(found) == MOST_LETTERS:
                break
        newest = sorted(found.values(), key=lambda letter: -letter.time)
        return Letters(newest, Counter(letter.reason for letter in newest).most_common())


async def _count(stats: Stats, number: int) -> _Counted:
    nodes = await stats.nodes(number)
    recent = await stats.node_series(list(nodes), run=number, limit=RECENT)
    return _Counted(nodes, recent, merge(node.stats for node in nodes.values()))
