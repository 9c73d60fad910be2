"""A crawl with something of everything in Redis, and every script's call that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import ormsgpack

from crawlo_scrapy.store import forgetting, inspect, partitions, scripts, seen
from crawlo_scrapy.store.alerts import Alerts
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.control import Control
from crawlo_scrapy.store.cookies import Change, Cookies
from crawlo_scrapy.store.dead_items import DeadItems
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.item_reader import ItemReader
from crawlo_scrapy.store.items import Items, StreamItem
from crawlo_scrapy.store.keys import Keys, partition_pattern
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.repartition import Repartition
from crawlo_scrapy.store.robots import Robots, RobotsFile
from crawlo_scrapy.store.scripts import Call
from crawlo_scrapy.store.seen import SeenChoice
from crawlo_scrapy.store.slots import Answer, SlotLimit, Slots, Throttle
from crawlo_scrapy.store.slotstate import slot_states
from crawlo_scrapy.store.source import Source
from crawlo_scrapy.store.stats import ErrorLine, Stats
from crawlo_scrapy.store.statswriter import Origin, Retention, StatsWriter
from crawlo_scrapy.store.workers import Workers
from crawlo_scrapy.values import Codec

CHOICE = SeenChoice(urls=True)


def token(number: int) -> bytes:
    """What a request, an item or an entry is known by wherever it stands."""
    return b"<TOKEN-%04d>" % number


def request(number: int, mode: str = "f", slot: str = "a", priority: int = 0, **more: Any) -> Push:
    prefix, member = seen.split(token(number))
    payload = ormsgpack.packb({"u": f"http://h/{token(number).decode()}"})
    return Push(mode, prefix, member, slot, priority, payload, **more)


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Collect the calls that are made meanwhile."""
    calls: list[Call] = []
    original = Call.__init__

    def record(self: Call, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        calls.append(self)

    Call.__init__ = record  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        Call.__init__ = original  # type: ignore[method-assign]


@dataclass
class Crawl:
    """The store of one crawl, with all its parts."""

    client: Client
    keys: Keys
    source_key: str
    members: list[Membership] = field(default_factory=list)
    held: list[list[str]] = field(default_factory=list)

    async def build(self) -> None:
        """Put something of everything into Redis."""
        frontier, workers = Frontier(self.client, self.keys), Workers(self.client, self.keys)
        for name in ("w1", "w2"):
            _, member = await workers.join(name, {"host": "h"}, bucket_fill=400)
            assert isinstance(member, Membership)
            self.members.append(member)
        await seen.choose(self.client, self.keys, CHOICE, own=2)
        pushes = [request(n, slot="ab"[n % 2], priority=n % 3 - 1) for n in range(12)]
        pushes += [request(12, delay_ms=50_000), request(13, "n", delay_ms=60_000)]
        pushes += [request(14, "s1"), request(15, "s2", slot="c.d")]
        await frontier.exchange(self.members[0], pushes)
        for member, limit in zip(self.members, (5, 4), strict=True):
            result = await frontier.exchange(member, limit=limit)
            self.held.append([lease.id for lease in result.leases])
            await frontier.exchange(member, started=self.held[-1][:1])
        await Slots(self.client, self.keys).configure({"a": SlotLimit(0.5, 4)})
        letters = DeadLetters(self.client, self.keys)
        await letters.bury_lease(self.members[0], self.held[0].pop(), "decode", "no")
        await letters.bury_request(self.members[0], "x1", request(20), "failed", "no")
        await self._build_items()
        await self._build_rest()

    async def _build_items(self) -> None:
        items = [StreamItem("json", "a.B", token(n), token(n)) for n in range(30, 34)]
        await Items(self.client, self.keys).append("w1", 1, items)
        reader = ItemReader(self.client, self.keys, "r1")
        await reader.open()
        first, self.entry = await reader.read(2)
        await reader.bury(first, "no", "file")
        for n in range(40, 43):
            await self.client.call("rpush", self.source_key, token(n))
        for n in (43, 44):
            await self.client.call("rpush", f"{self.source_key}:of", token(n))
        gone = Source(self.client, self.keys, f"{self.source_key}:of")
        await gone.take("gone", 2)

    async def _build_rest(self) -> None:
        origin = Origin("w1+1", "w1", 1, self.members[0].created)
        writer = StatsWriter(self.client, self.keys, Codec(), Retention())
        await writer.write(origin, {"item_scraped_count": writer.encode(b"+", 3)})
        await Cookies(self.client, self.keys).share([Change(b"\xc0", b'["a","/","n"]', b"null")])
        await Control(self.client, self.keys).pause_node("me", "w1")

    async def operations(self) -> list[Any]:
        """Return coroutine functions that use all scripts between them, each on what is built."""
        client, keys = self.client, self.keys
        one, two = self.members
        frontier, workers = Frontier(client, keys), Workers(client, keys)
        letters, slots = DeadLetters(client, keys), Slots(client, keys)
        control, items = Control(client, keys), Items(client, keys)
        alerts = Alerts(client, keys, 1, one.created)
        source = Source(client, keys, self.source_key)
        taken = Source(client, keys, f"{self.source_key}:of")
        writer = StatsWriter(client, keys, Codec(), Retention())
        stats = Stats(client, keys, Codec())
        origin = Origin("w1+1", "w1", 1, one.created)
        reader = ItemReader(client, keys, "r1")
        fresh = [request(50), request(51, slot="b", priority=7), request(52, "s9", delay_ms=5000)]
        silent = Membership("w2", 1, two.created)

        async def claim() -> None:
            if (claimed := await alerts.claim("a", True, lease=9)) is not None:
                await alerts.settle(claimed)

        async def fold() -> None:
            names = [
                keys.stats_nodes(1), keys.stats_folded(1), keys.stats(1, "(earlier)"),
                keys.stats(1), keys.stats_node_series(1),
            ]  # fmt: skip
            score = await client.call("zscore", keys.stats_nodes(1), "w1+1")
            args = ["(earlier)", "", 1, "w1+1", f"{score:.0f}", "", "0" * 16, "k", b"+\x01"]
            await scripts.run(client, Call("stats_fold", names, args))

        async def reclaim() -> None:
            await client.call("zadd", keys.workers, {silent.worker_id: 1})
            await frontier.reclaim(silent.worker_id, timeout=1, max_attempts=1)

        async def divide() -> None:
            await client.call("zadd", keys.workers, {"w1": 1, "w2": 1})
            for count in (3, 1):
                await Repartition(client, keys, Layout(count), timeout=1, max_attempts=9).run()

        async def robots() -> None:
            shared = Robots(client, keys, 60)
            await shared.get("http://a", "w1")
            await shared.put("http://a", RobotsFile(200, b"x"))

        async def leave() -> None:
            await frontier.release(one, self.held[0])
            await workers.leave(one, "bye", keep_crawl=True)

        return [
            lambda: frontier.exchange(one, fresh, self.held[0][:2], 3, room=2, serves=["a"]),
            lambda: frontier.release(one, self.held[0]),
            lambda: letters.bury_lease(one, self.held[0][0], "decode", "no"),
            lambda: letters.bury_request(one, "x2", request(53), "failed", "no"),
            lambda: letters.requeue(["x1"]),
            reclaim, leave, divide, fold, robots, claim,
            lambda: workers.join("w3", {"host": "h"}, bucket_fill=400),
            lambda: workers.beat(one, timeout=60, record={"role": "auto"}),
            lambda: workers.claim_seeding(one),
            lambda: workers.settle_seeding(one, "done"),
            lambda: workers.claim_due(one, 5),
            workers.finish,
            lambda: Feed(client, keys).push([request(54), request(55, "n", slot="b")]),
            lambda: slots.configure({"b": SlotLimit(0.1)}),
            lambda: slots.adapt(Throttle(1, 0.1, 9, 2), [Answer("a", 0.3, True)]),
            lambda: slots.hold("b", 2),
            lambda: slots.turns({"a": 1, "b": 0}, 0.5),
            lambda: control.pause("me"),
            lambda: control.delay("me", "b", 2.0),
            lambda: Cookies(client, keys).share([Change(b"\xc0", b"x", b"y")]),
            lambda: items.append("w2", 1, [StreamItem("json", "a.B", token(56), token(56))]),
            lambda: items.seen([token(30)]),
            lambda: items.record([token(57)]),
            lambda: reader.bury(self.entry, "no", "file"),
            reader.leave,
            lambda: DeadItems(client, keys).requeue(self.dead_items),
            lambda: source.take("w1", 2),
            lambda: taken.adopt("w1"),
            lambda: source.drop("w1", ["x"]),
            lambda: writer.write(origin, {"a": writer.encode(b"=", 1), "b": b""},
                                 lines=[ErrorLine(1.0, "w1", "l", "ERROR", "t")], closing=True),
            lambda: writer.reset(origin),
            lambda: writer.drop(1, unless_alive=False),
            stats.now,
            lambda: partitions.open_partition(client, keys, keys, worker_id="w4"),
            lambda: partitions.quiet(client, [keys]),
            lambda: partitions.note(client, keys),
            lambda: slot_states(client, keys),
            lambda: seen.choose(client, keys, CHOICE, own=2),
            lambda: forgetting.forget_slices(client, keys, 5.0),
            lambda: forgetting.forget(client, keys, [token(0)]),
            lambda: inspect.inspect(client, keys),
            lambda: frontier.purge(items=True),
        ]  # fmt: skip

    @property
    def dead_items(self) -> list[str]:
        return self._dead_items

    async def calls(self) -> dict[str, list[Call]]:
        """Return calls by script; what is built stands as it was before."""
        state = Snapshot(self)
        await state.take()
        found = await self.client.call("xrange", self.keys.items_dead)
        self._dead_items = [entry_id.decode() for entry_id, _ in found]
        calls: dict[str, list[Call]] = {}
        for operation in await self.operations():
            with recorded() as made:
                await operation()
            for call in made:
                calls.setdefault(call.script.name, []).append(call)
            await state.restore()
        return calls


class Snapshot:
    """All keys of a crawl and of its source, as they were once."""

    def __init__(self, crawl: Crawl) -> None:
        self._client = crawl.client
        self._members = [(member, member.pushed) for member in crawl.members]
        begins = (crawl.keys.prefix, crawl.source_key, f"crawlo:taken:{{{crawl.source_key}")
        self._patterns = [partition_pattern(crawl.keys), *(f"{begin}*" for begin in begins)]
        self.dumps: dict[bytes, bytes] = {}

    async def names(self) -> list[bytes]:
        replies = await self._client.send([("KEYS", pattern) for pattern in self._patterns])
        return [name for reply in replies for name in reply]

    async def take(self) -> None:
        names = await self.names()
        self.dumps = dict(
            zip(names, await self._client.send([("DUMP", n) for n in names]), strict=True)
        )

    async def restore(self) -> None:
        """Bring everything back."""
        names = await self.names()
        commands: list[tuple[Any, ...]] = [("DEL", *names)] if names else []
        commands += [("RESTORE", name, 0, data) for name, data in self.dumps.items()]
        for result in await self._client.send(commands):
            assert not isinstance(result, Exception), result
        for member, pushed in self._members:
            member.pushed = pushed


async def made(client: Client) -> Crawl:
    project = f"test-{uuid4().hex[:12]}"
    crawl = Crawl(client, Keys(project, "s"), f"{project}:urls")
    await crawl.build()
    return crawl
