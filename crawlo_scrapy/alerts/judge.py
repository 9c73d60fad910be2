"""Whether a rule holds of a crawl. No network, no clock: a look at the crawl says it all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from crawlo_scrapy.alerts.notices import plural, span_of
from crawlo_scrapy.alerts.rules import Rule
from crawlo_scrapy.store.inspect import CrawlState, WorkerState
from crawlo_scrapy.store.stats import Sample


@dataclass(frozen=True)
class Look:
    """A crawl at one moment.

    `timeout`: seconds of silence after which a worker counts as dead. `died`: workers that were
    struck off for that since the last look. `before`: by its age in seconds, a sample of then.
    `memory`: bytes of each node. `patience`: if nobody has looked for so many seconds, then what
    was not seen to change says nothing.
    """

    state: CrawlState
    now: Sample
    timeout: float
    died: frozenset[str] = frozenset()
    before: Mapping[float, Sample | None] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    patience: float = 60.0

    @property
    def done(self) -> int:
        return self.now.pages + self.state.acked


@dataclass(frozen=True)
class Memory:
    """What one look tells the next, whichever worker that is. Times are in ms.

    `done` pages and requests stand there since `done_since`. `known` are the living workers and
    their last beats; `lost` those that died, and nobody has come for them; `used` the workers that
    have come for one.
    """

    time: int = 0
    done: int = -1
    done_since: int = 0
    known: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    used: Sequence[str] = ()

    @classmethod
    def load(cls, text: bytes) -> Memory:
        """Return what `dump` wrote; of nothing, or of another version's, a new memory."""
        try:
            memory = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return cls()
        times = [memory.time, memory.done, memory.done_since]
        if not (isinstance(memory.known, dict) and isinstance(memory.lost, dict)):
            return cls()
        times += [*memory.known.values(), *memory.lost.values()]
        ours = isinstance(memory.used, list) and all(type(time) is int for time in times)
        return memory if ours and all(isinstance(name, str) for name in memory.used) else cls()

    def dump(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def vanished(self, state: CrawlState) -> set[str]:
        """Return the workers that are no longer in the registry."""
        return self.known.keys() - {worker.id for worker in state.workers}

    def after(self, look: Look) -> Memory:
        """Return the memory with what *look* shows."""
        now = look.state.now
        moving = look.state.state == "running" and now - self.time < 1000 * look.patience
        same = look.done == self.done and moving
        done_since = self.done_since if same else now
        alive = {worker.id: worker for worker in look.state.living(look.timeout)}
        beats = {w.id: now - round(1000 * w.beat_age) for w in look.state.workers}
        lost, used = self._lost(look, alive, beats)
        known = {name: beats[name] for name in alive}
        return Memory(now, look.done, done_since, known, lost, used)

    def _lost(
        self, look: Look, alive: Mapping[str, WorkerState], beats: Mapping[str, int]
    ) -> tuple[dict[str, int], list[str]]:
        gone = {name: self.known[name] for name in look.died if name in self.known}
        gone |= {name: beat for name, beat in beats.items() if name not in alive}
        lost = {name: beat for name, beat in {**gone, **self.lost}.items() if name not in alive}
        used = [name for name in self.used if name in alive]
        for name, beat in sorted(lost.items(), key=lambda entry: entry[1]):
            # A loss is told of, even if somebody has come already: not in its first look.
            if name not in self.lost or name in beats:
                continue
            came = sorted(
                (w for w in alive.values() if w.joined >= beat and w.id not in used),
                key=lambda worker: worker.joined,
            )
            if came:
                used.append(came[0].id)
                del lost[name]
        return lost, used


class Verdict(NamedTuple):
    """Whether a rule holds, and why, in words."""

    holds: bool
    text: str


def judge(rule: Rule, look: Look, memory: Memory) -> Verdict | None:
    """Return whether *rule* holds; None when that cannot be told from what there is.

    *memory* is that after the look.
    """
    return _JUDGES[rule.kind](rule.figures, look, memory)


def _error_rate(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    before = look.before.get(figures["seconds"])
    if before is None:
        return None
    pages, errors = look.now.pages - before.pages, look.now.errors - before.errors
    if pages < 0 or errors < 0 or pages + errors < max(1, figures["at_least"]):
        return None
    span = span_of(look.now.time - before.time)
    text = f"{plural(errors, 'error')} for {plural(pages, 'page')} in {span}"
    return Verdict(errors > figures["above"] * pages, text)


def _no_progress(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    state, span = look.state, look.state.now - memory.done_since
    if state.state != "running":
        return Verdict(False, f"the crawl is {state.state}")
    delayed = f", {state.delayed:,} of them delayed" if state.delayed else ""
    text = f"{plural(state.queued, 'request')} queued{delayed}, {state.leased:,} in flight"
    if span < 1000 * figures["seconds"]:
        return Verdict(False, f"pages come in again; {text}")
    return Verdict(True, f"no page for {span_of(span)}; {text}")


def _queue_growth(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    before = look.before.get(figures["seconds"])
    if before is None or look.now.time - before.time < 1000 * figures["seconds"]:
        return None
    grown = look.now.queued - before.queued
    span = span_of(look.now.time - before.time)
    text = f"{plural(look.now.queued, 'request')} queued, {grown:+,} in {span}"
    return Verdict(grown > figures["above"], text)


def _memory(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    if not look.memory:
        return None
    node, most = max(look.memory.items(), key=lambda entry: entry[1])
    text = f"{node} has {most / 2**20:,.0f} MiB of memory, limit {figures['above'] / 2**20:,.0f}"
    return Verdict(most > figures["above"], text)


def _node_lost(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    left = f"{plural(len(memory.known), 'worker')} in the crawl"
    if not memory.lost:
        return Verdict(False, f"others have come for those that were lost; {left}")
    names = sorted(memory.lost)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    text = f"{', '.join(names[:5])}{more} not heard of for {look.timeout:g} s; {left}"
    return Verdict(True, text)


def _dead_letters(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    count = look.state.dead
    return Verdict(count > figures["above"], plural(count, "dead letter"))


def _finished(figures: Mapping[str, float], look: Look, memory: Memory) -> Verdict | None:
    return None  # told by a worker that leaves, not by one that looks


_JUDGES = {
    "error_rate": _error_rate,
    "no_progress": _no_progress,
    "queue_growth": _queue_growth,
    "memory": _memory,
    "node_lost": _node_lost,
    "dead_letters": _dead_letters,
    "finished": _finished,
}
