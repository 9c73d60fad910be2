"""A divided crawl's store, without Scrapy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Exchanged, Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.workers import Workers
from tests.aio import run_async
from tests.backends import address_of
from tests.store.conftest import push

COUNT = 3
THREE = Layout(COUNT)
#: Hosts, of which each is in the partition of its place here.
HOSTS = [
    next(f"h{n}" for n in range(99) if Layout(COUNT).place(f"h{n}", 0) == number)
    for number in range(COUNT)
]


@dataclass
class Divided:
    """A crawl in three partitions."""

    client: Client
    keys: Keys
    layout: Layout = THREE
    members: dict[str, list[Membership]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = self.layout.keys(self.keys)
        self.frontiers = [Frontier(self.client, part) for part in self.parts]
        self.workers = Workers(self.client, self.keys)

    async def join(self, worker_id: str = "w1", **options: Any) -> None:
        status, home = await self.workers.join(
            worker_id, {"host": "h"}, bucket_fill=400, layout=self.layout, **options
        )
        assert status == "joined"
        assert isinstance(home, Membership)
        self.members[worker_id] = [home]
        for part in self.parts[1:]:
            assert await self.open(part, worker_id) == "joined"
            self.members[worker_id].append(Membership(worker_id, home.run, home.created))

    async def open(self, part: Keys, worker_id: str = "", before: bool = False) -> str:
        return await partitions.open_partition(
            self.client, self.keys, part, worker_id=worker_id, record={"host": "h"}, before=before
        )

    async def exchange(
        self, number: int, worker_id: str = "w1", *args: Any, **kw: Any
    ) -> Exchanged:
        member = self.members[worker_id][number]
        return await self.frontiers[number].exchange(member, *args, **kw)

    async def seeded(self) -> None:
        await self.workers.claim_seeding(self.members["w1"][0])
        await self.workers.settle_seeding(self.members["w1"][0], "done")

    async def finish(self) -> str:
        return await self.workers.finish(self.layout)

    async def meta(self, name: str, number: int = 0) -> str:
        value = await self.client.call("hget", self.parts[number].meta, name)
        return value.decode() if value is not None else ""


def request(number: int, name: str = "x", mode: str = "f", **more: Any) -> Push:
    """A request of partition *number*."""
    return push(name, mode, slot=HOSTS[number], **more)


@pytest.fixture
def divided(redis_url: str, project: str) -> Iterator[Divided]:
    client = Client.connect(address_of(redis_url))
    yield Divided(client, Keys(project, "s"))
    run_async(client.close())
