"""Crawls to be divided anew, and what is in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.repartition import Outcome, Repartition
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.slots import Slots
from crawlo_scrapy.store.workers import Workers
from tests.store.conftest import names

Lists = dict[tuple[str, str], list[bytes]]


def repartition(client: Client, keys: Keys, layout: Layout, **options: Any) -> Repartition:
    return Repartition(client, keys, layout, **{"timeout": 60, "max_attempts": 5, **options})


@dataclass
class Contents:
    """All that a crawl holds. Lists of a slot and priority are those of its partitions in turn."""

    lists: Lists = field(default_factory=dict)
    delayed: dict[bytes, float] = field(default_factory=dict)
    dead: Counter[bytes] = field(default_factory=Counter)
    seeds: set[bytes] = field(default_factory=set)
    limits: dict[str, bytes] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)

    @property
    def sorted_lists(self) -> Lists:
        return {key: sorted(elements) for key, elements in self.lists.items()}


class Crawl:
    """A crawl divided as *layout* says."""

    def __init__(self, client: Client, keys: Keys, layout: Layout) -> None:
        self.client = client
        self.keys = keys
        self.layout = layout

    @property
    def parts(self) -> list[Keys]:
        return self.layout.keys(self.keys)

    async def join(self, worker_id: str) -> list[Membership]:
        """Join all partitions."""
        for part in self.parts:
            await teach(self.client, part.meta)
        workers = Workers(self.client, self.keys)
        status, home = await workers.join(
            worker_id, {"host": "h"}, bucket_fill=400, layout=self.layout
        )
        assert status == "joined", (status, home)
        assert isinstance(home, Membership)
        members = [home]
        for part in self.parts[1:]:
            status = await partitions.open_partition(
                self.client, self.keys, part, worker_id=worker_id, record={"host": "h"}
            )
            assert status == "joined"
            members.append(Membership(worker_id, home.run, home.created))
        return members

    async def leave(self, members: list[Membership]) -> None:
        for part, member in zip(self.parts, members, strict=True):
            await Workers(self.client, part).leave(member, "shutdown", keep_crawl=True)

    async def push(self, members: list[Membership], pushes: list[Push]) -> list[Push]:
        """Push each where it belongs; return the duplicates."""
        duplicates = []
        for number, (part, member) in enumerate(zip(self.parts, members, strict=True)):
            mine = [p for p in pushes if self.layout.place(p.slot, p.member) == number]
            if mine:
                result = await Frontier(self.client, part).exchange(member, mine)
                duplicates += [mine[index] for index in result.duplicates]
        return duplicates

    async def lease_all(self, members: list[Membership]) -> list[str]:
        """Lease, ack, and return all that is queued."""
        found = []
        for part, member in zip(self.parts, members, strict=True):
            frontier = Frontier(self.client, part)
            acks: list[str] = []
            empty = 0
            while empty < 2:  # a slot that had a limit has its turn in the next exchange
                result = await frontier.exchange(member, acks=acks, limit=1000, room=1000)
                acks = [lease.id for lease in result.leases]
                found += names(result)
                empty = 0 if acks else empty + 1
        return found

    async def contents(self) -> Contents:
        """Return what is in it, after a look at whether all of it is where it belongs."""
        result = Contents()
        for number, part in enumerate(self.parts):
            await self._read(number, part, result)
        return result

    async def _read(self, number: int, part: Keys, result: Contents) -> None:
        call, layout = self.client.call, self.layout
        queued = 0
        known = {*await call("zrange", part.slots, 0, -1), *await call("zrange", part.timed, 0, -1)}
        async for page in self.client.scan(part.queue_prefix + "*", 1000, near=part.meta):
            for key in sorted(set(page)):
                slot, _, priority = key.decode()[len(part.queue_prefix) :].partition(":")
                if not priority:
                    assert slot.encode() in known
                    continue
                assert await call("zscore", part.queue(slot), priority) == float(priority)
                if layout.by == "slot":
                    assert layout.place(slot, 0) == number
                elements = await call("lrange", key, 0, -1)
                result.lists.setdefault((slot, priority), []).extend(elements)
                queued += len(elements)
        for member, time in await call("zrange", part.delayed, 0, -1, withscores=True):
            slot = member.split(b"\n")[1].decode()
            assert layout.by != "slot" or layout.place(slot, 0) == number
            assert member not in result.delayed
            result.delayed[member] = time
            queued += 1
        for letter in (await call("hgetall", part.dead)).values():
            slot = letter.split(b"\n")[1].decode()
            assert layout.by != "slot" or layout.place(slot, 0) == number
            result.dead[letter] += 1
        result.seeds |= await call("smembers", part.seeds)
        for name, value in (await call("hgetall", part.limits)).items():
            result.limits[name.decode()] = value
            assert layout.by != "slot" or layout.place(name.decode().partition(":")[2], 0) == number
        meta = {n.decode(): v.decode() for n, v in (await call("hgetall", part.meta)).items()}
        assert int(meta.get("queued", 0)) == queued
        assert int(meta.get("leased", 0)) == 0
        for name in ("queued", "pushed", "acked", "seen"):
            result.sums[name] += int(meta.get(name, 0))

    async def divide(self, layout: Layout, **options: Any) -> Outcome:
        """Divide it anew, and check what is left of the old partitions."""
        outcome = await repartition(self.client, self.keys, layout, **options).run()
        self.layout = layout
        await self.check_keys()
        return outcome

    async def check_keys(self) -> None:
        """Check that there are no keys but those of its partitions."""
        ours = tuple(part.prefix.encode() for part in self.parts)
        for end in ("}", "#"):
            async for page in self.client.scan(f"crawlo:{{{self.keys.name}{end}*", 1000):
                for key in page:
                    if not key.startswith(ours):
                        # One that is closed for some time.
                        assert key.endswith(b":meta")
                        fields = await self.client.call("hgetall", key)
                        assert fields == {b"state": b"repartitioning"}
                    assert b":moving" not in key, key


def request(number: int, mode: str = "f", slots: int = 9, **more: Any) -> Push:
    """Some request: its slot and its priority follow from its number."""
    member = (number + 1) * 7_919 * (-1 if number % 2 else 1)
    return Push(
        mode, number * 999_983 % 2**32, member, f"host{number % slots}", number % 3 - 1,
        f"r{number}".encode(), **more,
    )  # fmt: skip


async def fill(crawl: Crawl, count: int = 60) -> list[Push]:
    """Put requests of all kinds into a crawl, and leave it; return all that it has seen.

    Some were started when their worker died, some are dead letters, some are done.
    """
    members = await crawl.join("filler")
    home = Workers(crawl.client, crawl.keys)
    await home.claim_seeding(members[0])
    seed = request(count + 1, "s1")
    later = [request(count + 2 + n, delay_ms=3_600_000 + n) for n in range(5)]
    pushes = [request(n) for n in range(count)] + [seed, *later]
    assert not await crawl.push(members, pushes)
    await home.settle_seeding(members[0], "done")
    for number, (part, member) in enumerate(zip(crawl.parts, members, strict=True)):
        frontier, letters = Frontier(crawl.client, part), DeadLetters(crawl.client, part)
        leases = (await frontier.exchange(member, limit=6)).leases
        ids = [lease.id for lease in leases]
        await frontier.exchange(member, started=ids[3:], acks=ids[:1])
        for lease_id in ids[1:3]:
            await letters.bury_lease(member, lease_id, "failed", "no")
        slots = Slots(crawl.client, part)
        for slot in {f"host{n}" for n in range(9)}:
            if crawl.layout.by == "fingerprint" or crawl.layout.place(slot, 0) == number:
                await slots.learn(slot, 0.25)
        # It died with what it had started.
        await crawl.client.call("zadd", part.workers, {"filler": 0})
        await frontier.reclaim("filler", timeout=1, max_attempts=5)
    return pushes
