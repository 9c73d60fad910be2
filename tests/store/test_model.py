"""Workers that do anything at any time, against a model of what must be in Redis."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Exchanged, Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers
from tests.store.background import Background
from tests.store.conftest import push

MAX_ATTEMPTS = 2
SLOTS = ["a", "b"]


@dataclass
class Sim:
    """A worker. `held` maps lease ids to requests; `told` is what Redis knows to be started."""

    member: Membership
    held: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    local: int = 0
    registered: bool = True


class CrawlMachine(RuleBasedStateMachine):
    """The model: every request pushed is queued, held by one worker, done, or dead."""

    url: ClassVar[str]
    run: ClassVar[Background]

    @initialize(order=st.sampled_from(["fifo", "lifo"]))
    def begin(self, order: str) -> None:
        self.client = Client.connect(Address(url=self.url))
        self.keys = Keys(f"test-{uuid4().hex}", "s")
        self.frontier = Frontier(self.client, self.keys, order=order)
        self.workers = Workers(self.client, self.keys)
        self.letters = DeadLetters(self.client, self.keys)
        self.sims: list[Sim] = []
        self.attempts: dict[str, int] = {}
        self.queued: set[str] = set()
        self.done: set[str] = set()
        self.dead: set[str] = set()
        self.finished = self.seeded = False
        self.born = self.pushed = 0
        self.join()

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.run(self.frontier.purge())
            self.run(self.client.close())

    def pick(self, data: st.DataObject, **like: Any) -> Sim | None:
        fitting = [s for s in self.sims if all(getattr(s, k) == v for k, v in like.items())]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    def some(self, data: st.DataObject, of: Any) -> list[str]:
        return data.draw(st.lists(st.sampled_from(sorted(of)), unique=True)) if of else []

    def exchange(self, sim: Sim, *pushes: Push, **also: Any) -> Exchanged:
        started = also.pop("started", sim.told)
        result = self.run(
            self.frontier.exchange(
                sim.member, pushes, started=sorted(started), local=sim.local, **also
            )
        )
        assert result.status == ("ok" if sim.registered else "unregistered")
        if sim.registered:
            sim.told = set(started)
            self.queued |= {one.payload.decode() for one in pushes}
            self.finished = self.finished and not pushes
        return result

    def open_again(self, requests: set[str]) -> None:
        self.queued |= requests
        self.finished = self.finished and not requests

    # What workers do.

    @precondition(lambda self: sum(s.registered for s in self.sims) < 4)
    @rule()
    def join(self) -> None:
        self.born += 1
        status, member = self.run(
            self.workers.join(f"w{self.born}", {}, bucket_fill=3, process_age=0.0)
        )
        if self.finished:
            # Whether it comes late or begins the next run is for other tests.
            assert status in ("finished", "joined")
            if status == "finished":
                return
            self.finished = self.seeded = False
        assert isinstance(member, Membership)
        self.sims.append(Sim(member))

    @rule(data=st.data(), count=st.integers(1, 4), delay=st.sampled_from([0, 0, 0, 9**9]))
    def push(self, data: st.DataObject, count: int, delay: int) -> None:
        sim = self.pick(data)
        pushes = []
        for _ in range(count):
            self.pushed += 1
            text = str(self.pushed)
            priority, slot = data.draw(st.integers(-1, 1)), data.draw(st.sampled_from(SLOTS))
            pushes.append(push(text, priority=priority, slot=slot, delay_ms=delay))
            self.attempts[text] = 0
        if sim:
            result = self.exchange(sim, *pushes)
            assert result.duplicates == []
            if sim.registered and data.draw(st.booleans()):
                # The answer got lost, and the batch is sent again.
                sim.member.pushed -= 1
                assert self.exchange(sim, *pushes).duplicates == []
        self.attempts = {k: v for k, v in self.attempts.items() if k in self.known()}

    @rule(data=st.data(), limit=st.integers(1, 5))
    def lease(self, data: st.DataObject, limit: int) -> None:
        sim = self.pick(data)
        if sim is None:
            return
        result = self.exchange(sim, limit=limit)
        assert len(result.leases) <= limit
        for lease in result.leases:
            text = lease.payload.decode()
            assert text in self.queued
            assert lease.attempts == self.attempts[text]
            self.queued.remove(text)
            assert lease.id not in sim.held
            sim.held[lease.id] = text

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        if sim := self.pick(data):
            self.exchange(sim, started=self.some(data, sim.held))

    @rule(data=st.data(), children=st.integers(0, 2))
    def ack(self, data: st.DataObject, children: int) -> None:
        if not (sim := self.pick(data)):
            return
        chosen = self.some(data, sim.held)
        texts = [str(self.pushed + i + 1) for i in range(children)]
        self.pushed += children
        result = self.exchange(sim, *map(push, texts), acks=chosen)
        if result.status == "ok":
            self.attempts |= dict.fromkeys(texts, 0)
            self.done |= {sim.held.pop(lease_id) for lease_id in chosen}
            sim.told &= set(sim.held)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if not (sim := self.pick(data)):
            return
        chosen = sorted(self.some(data, set(sim.held) - sim.told))
        count = self.run(self.frontier.release(sim.member, chosen))
        assert count == (len(chosen) if sim.registered else 0)
        if sim.registered:
            self.queued |= {sim.held.pop(lease_id) for lease_id in chosen}

    @rule(data=st.data(), local=st.integers(0, 1))
    def keep_local(self, data: st.DataObject, local: int) -> None:
        if sim := self.pick(data):
            sim.local = local
            self.exchange(sim)

    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        sim = self.pick(data)
        if sim is None or not sim.held:
            return
        lease_id = data.draw(st.sampled_from(sorted(sim.held)))
        assert (
            self.run(self.letters.bury_lease(sim.member, lease_id, "decode", "no"))
            == sim.registered
        )
        if sim.registered:
            self.dead.add(sim.held.pop(lease_id))
            sim.told.discard(lease_id)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        sim = self.pick(data, registered=True)
        if sim is None:
            return
        status, _ = self.run(self.workers.leave(sim.member, "shutdown", keep_crawl=True))
        assert status == ("held" if sim.held else "left")
        if status == "left":
            self.sims.remove(sim)

    # What becomes of workers.

    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        """One dies, or is suspended; then it acts on as one that is not registered."""
        sim = self.pick(data, registered=True)
        if sim is None:
            return
        worker_id = sim.member.worker_id
        reclaim = self.frontier.reclaim(worker_id, timeout=60, max_attempts=MAX_ATTEMPTS)
        assert self.run(reclaim) is None
        self.run(self.client.call("zadd", self.keys.workers, {worker_id: 0}))
        reclaim = self.frontier.reclaim(worker_id, timeout=60, max_attempts=MAX_ATTEMPTS)
        taken = self.run(reclaim)
        buried = 0
        for lease_id, text in sim.held.items():
            if lease_id in sim.told:
                self.attempts[text] += 1
            if self.attempts[text] >= MAX_ATTEMPTS and lease_id in sim.told:
                self.dead.add(text)
                buried += 1
            else:
                self.queued.add(text)
        assert taken == (len(sim.held) - buried, buried)
        sim.registered = False

    @rule(data=st.data())
    def rejoin(self, data: st.DataObject) -> None:
        sim = self.pick(data, registered=False)
        if sim is None:
            return
        self.born += 1
        status, member = self.run(
            self.workers.join(f"w{self.born}", {}, bucket_fill=3, before=sim.member)
        )
        self.sims.remove(sim)
        if isinstance(member, Membership):
            assert not self.finished
            self.sims.append(Sim(member))
        else:
            assert status == "finished"

    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        letters = self.run(self.all_letters())
        if letters:
            chosen = self.some(data, letters)
            assert self.run(self.letters.requeue(chosen)) == len(chosen)
            texts = {letters[letter_id] for letter_id in chosen}
            self.dead -= texts
            self.attempts |= dict.fromkeys(texts, 0)
            self.open_again(texts)

    @rule()
    def let_time_pass(self) -> None:
        """All that was delayed is due."""
        for record in self.run(self.client.call("zrange", self.keys.delayed, 0, -1)):
            self.run(self.client.call("zadd", self.keys.delayed, {record: 1}))

    @rule(data=st.data(), outcome=st.sampled_from(["done", "done", ""]))
    def seed(self, data: st.DataObject, outcome: str) -> None:
        sim = self.pick(data)
        if sim is None:
            return
        answer = self.run(self.workers.claim_seeding(sim.member))
        if self.seeded:
            assert answer == "done"
        elif sim.registered:
            assert answer == "yours"
            assert self.run(self.workers.settle_seeding(sim.member, outcome))
            self.seeded = outcome == "done"
        else:
            assert answer == "theirs"

    @rule()
    def finish(self) -> None:
        living = [s for s in self.sims if s.registered]
        idle = not self.queued and not any(s.held or s.local for s in living)
        self.finished = self.finished or (idle and self.seeded)
        assert self.run(self.workers.finish()) == self.finished

    # What must hold.

    def known(self) -> set[str]:
        held = {text for s in self.sims if s.registered for text in s.held.values()}
        return self.queued | held | self.done | self.dead

    async def all_letters(self) -> dict[str, str]:
        return {letter.id: letter.payload.decode() async for letter in self.letters.list()}

    @invariant()
    def redis_is_as_the_model(self) -> None:
        if hasattr(self, "client"):
            self.run(self.compare())

    async def compare(self) -> None:
        keys, redis = self.keys, self.client.redis
        queued, held = Counter[str](), {}
        for name in [key async for key in redis.scan_iter(match=keys.prefix + "*", count=1000)]:
            key = name.decode()
            if key.startswith(keys.queue_prefix) and key.count(":") == 5:
                elements = await redis.lrange(key, 0, -1)
                queued.update(element[1:].decode() for element in elements)
            elif key.startswith(keys.leases_prefix):
                records = await redis.hgetall(key)
                held[key.removeprefix(keys.leases_prefix)] = {
                    lease_id.decode(): record.split(b"\n", 2)[2][1:].decode()
                    for lease_id, record in records.items()
                }
        for record in await redis.zrange(keys.delayed, 0, -1):
            queued[record.split(b"\n", 3)[3][1:].decode()] += 1
        assert queued == Counter(self.queued)
        living = [s for s in self.sims if s.registered]
        assert held == {s.member.worker_id: s.held for s in living if s.held}
        assert Counter((await self.all_letters()).values()) == Counter(self.dead)
        counters = await redis.hmget(keys.meta, "queued", "leased", "acked", "pushed")
        numbers = [int(value or 0) for value in counters]
        leased = sum(len(s.held) for s in living)
        assert numbers == [len(self.queued), leased, len(self.done), len(self.attempts)]
        assert self.known() == set(self.attempts)
        assert await redis.hget(keys.meta, "state") == (
            b"finished" if self.finished else b"running"
        )
        alive = await redis.zrange(keys.workers, 0, -1)
        assert {one.decode() for one in alive} == {s.member.worker_id for s in living}


def test_any_order_of_events(redis_server: LocalRedis, background: Background) -> None:
    CrawlMachine.url = redis_server.url
    CrawlMachine.run = background
    run_state_machine_as_test(
        CrawlMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
