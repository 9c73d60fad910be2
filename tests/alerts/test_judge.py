"""Whether rules hold, by looks that are made up."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlo_scrapy.alerts.judge import Look, Memory, judge
from crawlo_scrapy.alerts.rules import KINDS, Rule
from crawlo_scrapy.store.inspect import CrawlState, WorkerState
from crawlo_scrapy.store.stats import Sample

MINUTE = 60_000
TIMEOUT = 15.0
NOW = 100 * MINUTE


def worker(name: str, *, beat: int = NOW, joined: int = 0, now: int = NOW) -> WorkerState:
    return WorkerState(name, (now - beat) / 1000, 0, 0, 0, joined, False)


def state(now: int = NOW, workers: list[WorkerState] | None = None, **more: Any) -> CrawlState:
    blank = {f.name: 0 if f.type == "int" else "" for f in fields(CrawlState)}
    named = {"name": "p:s", "state": "running", "now": now, **more}
    lists = {"by_priority": [], "by_slot": [], "workers": workers or []}
    return CrawlState(**{**blank, **lists, **named})


def look(now: int = NOW, sample: Sample | None = None, **more: Any) -> Look:
    kept = {key: more.pop(key) for key in ("died", "before", "memory") if key in more}
    return Look(state(now, **more), sample or Sample(now), TIMEOUT, **kept)


def rule(kind: str, **figures: float) -> Rule:
    return Rule(kind, {**KINDS[kind], **figures}, 300)


def holds(one: Rule, seen: Look, memory: Memory | None = None) -> bool | None:
    verdict = judge(one, seen, memory or Memory().after(seen))
    assert verdict is None or verdict.text
    return None if verdict is None else verdict.holds


class TestErrorRate:
    @pytest.mark.parametrize(
        ("pages", "errors", "expected"),
        [
            (100, 5, False),
            (100, 10, False),  # not above
            (100, 11, True),
            (0, 30, True),
            (0, 0, None),
            (10, 9, None),  # too few to say
            (11, 9, True),
            (-5, 3, None),  # a node's stats are gone
        ],
    )
    def test_a_share_of_pages(self, pages, errors, expected):
        before = Sample(NOW - 5 * MINUTE, pages=1000, errors=500)
        now = Sample(NOW, pages=1000 + pages, errors=500 + errors)
        assert holds(rule("error_rate"), look(sample=now, before={300: before})) is expected

    def test_without_an_older_sample(self):
        assert holds(rule("error_rate"), look(before={300: None})) is None

    def test_the_words(self):
        seen = look(
            sample=Sample(NOW, pages=1100, errors=50),
            before={300: Sample(NOW - 5 * MINUTE)},
        )
        verdict = judge(rule("error_rate"), seen, Memory())
        assert verdict == (False, "50 errors for 1,100 pages in 5 min")


class TestQueueGrowth:
    @pytest.mark.parametrize(
        ("before", "now", "expected"),
        [(0, 10_000, False), (0, 10_001, True), (50_000, 10, False), (5000, 5000, False)],
    )
    def test_growth(self, before, now, expected):
        then = Sample(NOW - 11 * MINUTE, queued=before)
        seen = look(sample=Sample(NOW, queued=now), before={600: then})
        assert holds(rule("queue_growth"), seen) is expected

    def test_a_run_that_is_young_says_nothing(self):
        seen = look(sample=Sample(NOW, queued=10**6), before={600: Sample(NOW - MINUTE)})
        assert holds(rule("queue_growth"), seen) is None


def test_memory():
    limit = rule("memory", above=100)
    assert holds(limit, look()) is None
    assert holds(limit, look(memory={"a": 100, "b": 7})) is False
    assert holds(limit, look(memory={"a": 101, "b": 7})) is True
    verdict = judge(rule("memory", above=2**30), look(memory={"a": 3 * 2**30}), Memory())
    assert verdict == (True, "a has 3,072 MiB of memory, limit 1,024")


def test_dead_letters():
    assert holds(rule("dead_letters"), look(dead=0)) is False
    assert holds(rule("dead_letters"), look(dead=1)) is True
    assert holds(rule("dead_letters", above=5), look(dead=5)) is False


def test_finished_is_not_for_those_who_look():
    assert holds(rule("finished"), look(state="finished")) is None


class TestNoProgress:
    ten = rule("no_progress")

    def looks(self, *moments: tuple[float, int], state: str = "running") -> list[bool]:
        """What each look says; *moments* are minutes and requests done."""
        memory, found = Memory(), []
        for minute, done in moments:
            seen = look(round(NOW + minute * MINUTE), acked=done, state=state)
            memory = Memory.load(memory.after(seen).dump())
            found.append(judge(self.ten, seen, memory).holds)
        return found

    def test_nothing_for_ten_minutes(self):
        moments = [(n * 0.5, 7) for n in range(25)]
        assert self.looks(*moments) == [False] * 20 + [True] * 5

    def test_one_page_and_it_is_over(self):
        moments = [(n * 0.5, 7 if n < 22 else 8) for n in range(24)]
        assert self.looks(*moments) == [False] * 20 + [True] * 2 + [False] * 2

    def test_while_nobody_looked_there_was_nobody_to_crawl(self):
        assert self.looks((0, 7), (300, 7), (300.5, 7)) == [False] * 3

    def test_a_crawl_that_does_not_run(self):
        assert self.looks(*((n * 0.5, 7) for n in range(40)), state="paused") == [False] * 40

    def test_the_words(self):
        memory = Memory(NOW, 0, NOW - 11 * MINUTE)
        verdict = judge(self.ten, look(queued=50, delayed=3, leased=2), memory)
        assert (
            verdict.text == "no page for 11 min; 50 requests queued, 3 of them delayed, 2 in flight"
        )


STEPS = ["join", "leave", "kill", "look"]


class Registry:
    """Workers that come and go, and what each look says of the lost ones."""

    def __init__(self) -> None:
        self.now = NOW
        self.beats: dict[str, int] = {}
        self.joined: dict[str, int] = {}
        self.died: set[str] = set()
        self.memory = Memory()

    def join(self, *names: str) -> None:
        for name in names:
            self.joined[name] = self.beats[name] = self.now

    def leave(self, name: str) -> None:
        del self.beats[name]

    def kill(self, name: str) -> None:
        """Its last beat was before now."""
        self.joined[name] = -1

    def look(self, seconds: float = 10, strike_off: bool = True) -> bool:
        """Wait, let others strike off the silent, and look."""
        self.now += round(1000 * seconds)
        for name in self.beats:
            if self.joined[name] >= 0:
                self.beats[name] = self.now
        if strike_off:
            silent = {n for n, beat in self.beats.items() if self.now - beat > 1000 * TIMEOUT}
            self.died |= silent
            for name in silent:
                del self.beats[name]
        workers = [
            worker(n, beat=beat, joined=max(0, self.joined[n]), now=self.now)
            for n, beat in self.beats.items()
        ]
        before = Memory.load(self.memory.dump())
        seen = state(self.now, workers)
        died = frozenset(self.died & before.vanished(seen))
        full = Look(seen, Sample(self.now), TIMEOUT, died)
        self.memory = before.after(full)
        verdict = judge(rule("node_lost"), full, self.memory)
        assert verdict is not None
        self.text = verdict.text
        return verdict.holds


class TestNodeLost:
    @pytest.fixture
    def registry(self):
        registry = Registry()
        registry.join("a", "b", "c")
        assert not registry.look()
        return registry

    def test_one_is_killed_and_replaced(self, registry):
        registry.kill("b")
        assert not registry.look()  # silent for 10 s
        assert registry.look()
        assert registry.text == "b not heard of for 15 s; 2 workers in the crawl"
        assert registry.look()
        registry.join("d")
        assert not registry.look()
        assert registry.text == "others have come for those that were lost; 3 workers in the crawl"
        assert not registry.look()

    def test_one_leaves(self, registry):
        registry.leave("b")
        assert not any(registry.look() for _ in range(5))

    def test_one_comes_before_the_loss_is_seen(self, registry):
        registry.kill("b")
        registry.look()
        registry.join("d")
        assert registry.look()
        assert not registry.look()

    def test_one_that_was_there_already_does_not_count(self, registry):
        registry.join("d")
        registry.look()
        registry.kill("b")
        assert [registry.look() for _ in range(4)] == [False, True, True, True]

    def test_each_newcomer_counts_once(self, registry):
        registry.kill("b")
        registry.kill("c")
        registry.look(20)
        registry.join("d")
        assert registry.look()
        assert not registry.memory.lost.keys() - {"b", "c"}
        assert len(registry.memory.lost) == 1
        registry.join("e")
        assert not registry.look()

    def test_a_newcomer_that_leaves_takes_nothing_back(self, registry):
        registry.kill("b")
        registry.look(20)
        registry.join("d")
        registry.look()
        registry.leave("d")
        assert not any(registry.look() for _ in range(3))

    def test_one_comes_back(self, registry):
        registry.kill("b")
        assert registry.look(20, strike_off=False)
        assert registry.look(1, strike_off=False)
        registry.joined["b"] = NOW
        assert not registry.look(1)

    def test_many_are_not_all_named(self):
        registry = Registry()
        registry.join("a", *(f"w{n}" for n in range(9)))
        registry.look()
        for n in range(9):
            registry.kill(f"w{n}")
        assert registry.look(20)
        assert registry.text == (
            "w0, w1, w2, w3, w4 and 4 more not heard of for 15 s; 1 worker in the crawl"
        )

    @given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9))))
    def test_as_many_come_as_were_lost_and_it_is_over(self, steps):
        registry = Registry()
        registry.join("first")
        count, lost = 1, 0
        for step, number in steps:
            living = [n for n in registry.beats if registry.joined[n] >= 0 and n != "first"]
            if step == "join":
                registry.join(f"w{count}")
                count += 1
            elif step == "look":
                registry.look(number)
            elif living and step == "leave":
                registry.leave(living[number % len(living)])
            elif living:
                registry.kill(living[number % len(living)])
                lost += 1
        registry.look()
        registry.look(20)
        for _ in range(lost):
            registry.join(f"w{count}")
            count += 1
        registry.look()
        registry.look()
        assert not registry.look()
        assert set(registry.memory.known) == set(registry.beats)


def test_memory_is_json_and_forgets_what_it_does_not_know():
    memory = Memory(5, 6, 7, {"a": 1}, {"b": 2}, ["c"])
    assert Memory.load(memory.dump()) == memory
    for text in (b"", b"{}", b"[]", b"\xff", b'{"other": 1}', b"5", b"null"):
        assert Memory.load(text) == Memory()
    assert json.loads(memory.dump()) == asdict(memory)
