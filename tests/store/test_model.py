"""Workers that do anything at any time, against a model of what must be in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
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

SLOTS = ["a", "b"]


@dataclass
class Sim:
    """A worker. `held` maps lease ids to requests; `told` is what Redis knows to be started."""

    member: Membership
    held: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    local: int = 0
    registered: bool = True


def some(data: st.DataObject, of: Collection[str]) -> set[str]:
    return data.draw(st.sets(st.sampled_from(sorted(of)), min_size=1))


class CrawlMachine(RuleBasedStateMachine):
    """The model: every request pushed is queued, held by one worker, done, or dead."""

    url: ClassVar[str]
    run: ClassVar[Background]

    @initialize(order=st.sampled_from(["fifo", "lifo"]), most=st.integers(1, 2))
    def begin(self, order: str, most: int) -> None:
        """Two workers and some requests; one holds half of them."""
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
        self.born = self.born_requests = 0
        self.max_attempts = most
        self.join()
        self.join()
        self.exchange(self.sims[0], *[push(self.new_request()) for _ in range(8)])
        self.take(self.sims[0], 4)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.run(self.frontier.purge())
            self.run(self.client.close())

    def new_request(self) -> str:
        self.born_requests += 1
        return str(self.born_requests)

    def living(self) -> list[Sim]:
        return [sim for sim in self.sims if sim.registered]

    def holding(self) -> list[Sim]:
        return [sim for sim in self.living() if sim.held]

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
            texts = {one.payload.decode() for one in pushes}
            self.attempts |= dict.fromkeys(texts, 0)
            self.queued |= texts
            self.finished = self.finished and not pushes
        return result

    # What workers do.

    @precondition(lambda self: len(self.living()) < 3)
    @rule()
    def join(self) -> None:
        self.born += 1
        status, member = self.run(self.workers.join(f"w{self.born}", {}, bucket_fill=1 / 64))
        if self.finished:
            # Whether it comes late or begins the next run is for other tests.
            assert status in ("finished", "joined")
            if status == "finished":
                return
            self.finished = self.seeded = False
        assert isinstance(member, Membership)
        self.sims.append(Sim(member))

    @precondition(living)
    @rule(data=st.data(), count=st.integers(1, 6), delayed=st.booleans(), twice=st.booleans())
    def push(self, data: st.DataObject, count: int, delayed: bool, twice: bool) -> None:
        sim = data.draw(st.sampled_from(self.living()))
        shape = st.tuples(st.integers(-1, 1), st.sampled_from(SLOTS))
        pushes = [
            push(self.new_request(), priority=priority, slot=slot, delay_ms=9**9 * delayed)
            for priority, slot in data.draw(st.lists(shape, min_size=count, max_size=count))
        ]
        assert self.exchange(sim, *pushes).duplicates == []
        if twice:
            # The answer got lost, and the batch is sent again.
            sim.member.pushed -= 1
            assert self.exchange(sim, *pushes).duplicates == []

    @precondition(lambda self: self.queued and self.living())
    @rule(data=st.data(), limit=st.integers(1, 6))
    def lease(self, data: st.DataObject, limit: int) -> None:
        self.take(data.draw(st.sampled_from(self.living())), limit)

    def take(self, sim: Sim, limit: int) -> None:
        for lease in self.exchange(sim, limit=limit).leases:
            text = lease.payload.decode()
            assert text in self.queued
            assert lease.attempts == self.attempts[text]
            assert lease.suspect or not lease.attempts
            self.queued.remove(text)
            assert lease.id not in sim.held
            sim.held[lease.id] = text

    @precondition(holding)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        sim = data.draw(st.sampled_from(self.holding()))
        self.exchange(sim, started=some(data, sim.held))

    @precondition(holding)
    @rule(data=st.data(), children=st.integers(0, 2))
    def ack(self, data: st.DataObject, children: int) -> None:
        sim = data.draw(st.sampled_from(self.holding()))
        self.settle(sim, some(data, sim.held), children)

    def settle(self, sim: Sim, chosen: set[str], children: int = 0) -> None:
        pushes = [push(self.new_request()) for _ in range(children)]
        self.exchange(sim, *pushes, acks=sorted(chosen))
        self.done |= {sim.held.pop(lease_id) for lease_id in chosen}
        sim.told &= set(sim.held)

    @precondition(lambda self: self.seeded and self.living() and len(self.done) > 3)
    @rule()
    def work_off(self) -> None:
        """All workers do all that there is."""
        self.let_time_pass()
        while self.queued or self.holding():
            for sim in self.living():
                self.take(sim, 50)
                sim.local = 0
                self.settle(sim, set(sim.held))
        self.finish()

    @precondition(holding)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sim = data.draw(st.sampled_from(self.holding()))
        chosen = sorted(some(data, sim.held))
        assert self.run(self.frontier.release(sim.member, chosen)) == len(chosen)
        self.queued |= {sim.held.pop(lease_id) for lease_id in chosen}
        sim.told &= set(sim.held)

    @precondition(holding)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        sim = data.draw(st.sampled_from(self.holding()))
        lease_id = data.draw(st.sampled_from(sorted(sim.held)))
        assert self.run(self.letters.bury_lease(sim.member, lease_id, "decode", "no"))
        self.dead.add(sim.held.pop(lease_id))
        sim.told.discard(lease_id)

    @precondition(living)
    @rule(data=st.data(), local=st.integers(0, 1))
    def keep_local(self, data: st.DataObject, local: int) -> None:
        sim = data.draw(st.sampled_from(self.living()))
        sim.local = local
        self.exchange(sim)

    @precondition(living)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        sim = data.draw(st.sampled_from(self.living()))
        status, _ = self.run(self.workers.leave(sim.member, "shutdown", keep_crawl=True))
        assert status == ("held" if sim.held else "left")
        if status == "left":
            self.sims.remove(sim)

    # What becomes of workers.

    @precondition(living)
    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        """One dies, or is suspended; then it acts on as one that is not registered."""
        sim = data.draw(st.sampled_from(self.holding() or self.living()))
        assert self.run(self.reclaim_from(sim)) is None
        self.run(self.client.call("zadd", self.keys.workers, {sim.member.worker_id: 0}))
        taken = self.run(self.reclaim_from(sim))
        assert self.run(self.reclaim_from(sim)) is None
        buried = 0
        for lease_id, text in sim.held.items():
            self.attempts[text] += lease_id in sim.told
            if self.attempts[text] >= self.max_attempts and lease_id in sim.told:
                self.dead.add(text)
                buried += 1
            else:
                self.queued.add(text)
        assert taken == (len(sim.held) - buried, buried)
        sim.registered = False

    async def reclaim_from(self, sim: Sim) -> tuple[int, int] | None:
        worker_id = sim.member.worker_id
        return await self.frontier.reclaim(worker_id, timeout=60, max_attempts=self.max_attempts)

    @precondition(lambda self: len(self.living()) < len(self.sims))
    @rule(data=st.data(), rejoins=st.booleans())
    def zombie(self, data: st.DataObject, rejoins: bool) -> None:
        """It does all that it did before, to no effect; then it may register anew."""
        sim = data.draw(st.sampled_from([sim for sim in self.sims if not sim.registered]))
        held = sorted(sim.held)
        self.exchange(sim, push("zombie"), acks=held, started=held, limit=5)
        assert self.run(self.frontier.release(sim.member, held)) == 0
        assert self.run(self.workers.beat(sim.member, timeout=60)) is None
        for lease_id in held:
            assert not self.run(self.letters.bury_lease(sim.member, lease_id, "decode", "no"))
        if self.seeded:
            assert self.run(self.workers.claim_seeding(sim.member)) == "done"
        else:
            assert self.run(self.workers.claim_seeding(sim.member)) == "theirs"
        assert not self.run(self.workers.settle_seeding(sim.member, "done"))
        if rejoins:
            self.rejoin(sim)

    def rejoin(self, sim: Sim) -> None:
        self.born += 1
        status, member = self.run(
            self.workers.join(f"w{self.born}", {}, bucket_fill=1 / 64, before=sim.member)
        )
        self.sims.remove(sim)
        if isinstance(member, Membership):
            assert not self.finished
            self.sims.append(Sim(member))
        else:
            assert status == "finished"

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        letters = self.run(self.all_letters())
        chosen = some(data, letters)
        assert self.run(self.letters.requeue(sorted(chosen))) == len(chosen)
        texts = {letters[letter_id] for letter_id in chosen}
        self.dead -= texts
        self.attempts |= dict.fromkeys(texts, 0)
        self.queued |= texts
        self.finished = False

    @precondition(lambda self: self.queued)
    @rule()
    def let_time_pass(self) -> None:
        """All that was delayed is due."""
        for record in self.run(self.client.call("zrange", self.keys.delayed, 0, -1)):
            self.run(self.client.call("zadd", self.keys.delayed, {record: 1}))

    @precondition(lambda self: self.living() and not self.seeded)
    @rule(data=st.data(), outcome=st.sampled_from(["done", "done", ""]))
    def seed(self, data: st.DataObject, outcome: str) -> None:
        sim = data.draw(st.sampled_from(self.living()))
        assert self.run(self.workers.claim_seeding(sim.member)) == "yours"
        assert self.run(self.workers.settle_seeding(sim.member, outcome))
        self.seeded = outcome == "done"

    @precondition(lambda self: not self.queued or not self.holding())
    @rule()
    def finish(self) -> None:
        busy = self.queued or any(sim.held or sim.local for sim in self.living())
        self.finished = self.finished or (self.seeded and not busy)
        assert bool(self.run(self.workers.finish())) == self.finished

    # What must hold.

    def known(self) -> set[str]:
        held = {text for sim in self.living() for text in sim.held.values()}
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
        living = self.living()
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
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
