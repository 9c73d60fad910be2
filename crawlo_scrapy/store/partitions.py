"""Partitions: the shares of a crawl that live on different hash slots of a Redis Cluster.

Each has a frontier and a registry of its own, which know nothing of the others. The first one is
the crawl's home: what the crawl is, its state, its seeding, its statistics and its end are there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: What requests can be divided by.
DIVIDED_BY = ("slot", "fingerprint")
MOST_PARTITIONS = 256


@dataclass(frozen=True)
class Layout:
    """Into how many partitions a crawl is divided, and by what."""

    count: int = 1
    by: str = "slot"

    @classmethod
    def parse(cls, text: str) -> Layout:
        """Return the layout that was written as *text*; "" is that of an undivided crawl.

        What is none counts as that, too. (Scripts compare the text.)
        """
        count, _, by = text.partition(":")
        number = int(count) if count.isdecimal() and len(count) < 4 else 1
        return cls(max(1, min(number, MOST_PARTITIONS)), by if by in DIVIDED_BY else "slot")

    def __str__(self) -> str:
        return f"{self.count}:{self.by}"

    @property
    def title(self) -> str:
        return f"{self.count} partition{'s' * (self.count > 1)}" + (
            f" by {self.by}" if self.count > 1 else ""
        )

    def place(self, slot: str, member: int) -> int:
        """Return the number of the partition of a request: its slot (`clean`), its fingerprint."""
        if self.count == 1:
            return 0
        return (zlib.crc32(slot.encode()) if self.by == "slot" else member) % self.count

    def keys(self, home: Keys) -> list[Keys]:
        """Return the keys of all partitions; those of *home* come first."""
        return [home.partition(number, self.count) for number in range(self.count)]


UNDIVIDED = Layout()


async def layout_of(client: Client, home: Keys) -> Layout:
    """Return how the crawl is divided. Raises `StoreError`."""
    text = await client.call("hget", home.meta, "layout")
    return Layout.parse(text.decode() if text else "")


async def all_keys(client: Client, home: Keys) -> list[Keys]:
    """Return the keys of all partitions of a crawl, its own first. Raises `StoreError`."""
    return (await layout_of(client, home)).keys(home)


async def open_partition(
    client: Client,
    home: Keys,
    part: Keys,
    *,
    worker_id: str = "",
    record: Mapping[str, str | int] | None = None,
    before: bool = False,
    bucket_fill: int = 400,
) -> str:
    """Have the run that is *home*'s begin in a partition, and register a worker there if named.

    Returns ``joined``; ``taken`` while the registry there has a worker of that name; ``gone``
    when the run of the crawl is over; ``purging``; ``lost`` when the partition is not what it was
    when the crawl began, because its server was emptied. *before*: the worker was in it.
    """
    names = ["root", "run", "created", "format", f"has:{part.prefix}"]
    found = await client.call("hmget", home.meta, names)
    root, run_number, created, version, known = (text.decode() if text else "" for text in found)
    if not created:
        return "gone"
    flat = [part for pair in (record or {}).items() for part in pair]
    args = [worker_id, root, run_number, created, version, known, bucket_fill, int(before), *flat]
    keys = [part.meta, part.workers, part.worker(worker_id), part.seeds]
    [[status, token]] = await run(client, Call("partition_join", keys, args))
    if status == b"joined" and token.decode() != known:
        # Should this worker die here, the next one finds the same token.
        await client.call("hset", home.meta, names[-1], token)
    return str(status.decode())


def lost_partition(home: Keys, part: Keys) -> str:
    """Return what to say of a partition that is not what it was."""
    return (
        f"A partition of the crawl {home.name} ({part.prefix}) is no longer in Redis, or belongs "
        "to an earlier crawl: a server was emptied, or restarted without persistence "
        "(appendonly). What was queued there is gone. `crawlo-scrapy repartition --accept-loss` "
        "goes on with the rest, `crawlo-scrapy purge` removes it all."
    )


async def begin_seeding(client: Client, home: Keys, partitions: Sequence[Keys]) -> None:
    """Forget the start requests of an earlier seeding, once for each.

    For the worker that holds the right to seed, before it queues the first of them.
    """
    due, cleared = await client.call("hmget", home.meta, ["due", "seeds_cleared"])
    if due == cleared:
        return
    for part in partitions[1:]:
        await client.call("unlink", part.seeds)
    await client.call("hset", home.meta, "seeds_cleared", due)


async def note(client: Client, home: Keys) -> None:
    """Say that requests came into a partition which no lease there speaks for.

    Without it the crawl might be taken for finished between two looks at its partitions.
    """
    await run(client, Call("crawl_note", [home.meta]))


async def note_elsewhere(client: Client, partitions: Sequence[Keys]) -> None:
    """Note in the first of *partitions* how the others stand together, for samples of the crawl."""
    commands: list[tuple[str, ...]] = []
    for part in partitions[1:]:
        commands += [
            ("HMGET", part.meta, "leased", "queued", "acked", "seen"), ("HLEN", part.dead),
        ]  # fmt: skip
    replies = await client.send(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise await client.failure(reply) from reply
    figures = [
        [int(value or 0) for value in (*fields, dead)]
        for fields, dead in zip(replies[::2], replies[1::2], strict=True)
    ]
    text = ",".join(str(max(0, sum(column))) for column in zip(*figures, strict=True))
    await client.call("hset", partitions[0].meta, "elsewhere", text)


async def quiet(client: Client, partitions: Sequence[Keys]) -> str:
    """Return what tells this moment of *home*, the first, from others; "" while there is work.

    All partitions are looked at twice. Where nothing is queued or leased in any of them, both
    times, and nothing came into them in between, there was a moment when all were empty.
    """
    calls = [
        Call(
            "partition_quiet",
            [keys.meta, keys.workers, keys.slots, keys.timed, keys.delayed, keys.leases_prefix],
        )
        for keys in partitions
    ]
    first = await run(client, *calls)
    if b"" in first or first != await run(client, *calls):
        return ""
    return str(first[0].decode())


def check_layout(home: Keys, found: str, wanted: Layout) -> StoreRefused:
    """Return what to say where a crawl is divided in another way than is *wanted*.

    *found* is empty while it is being divided anew.
    """
    if not found:
        return StoreRefused(
            f"The crawl {home.name} is being divided anew. Wait for `crawlo-scrapy repartition`, "
            "or run it again if it was interrupted."
        )
    is_now = Layout.parse(found)
    return StoreRefused(
        f"The crawl {home.name} was begun with {is_now.title}, and the settings say "
        f"{wanted.title}. Set CRAWLO_PARTITIONS to {is_now.count} and CRAWLO_PARTITION_BY to "
        f"{is_now.by!r}; or stop all workers and run `crawlo-scrapy repartition`; or purge the "
        "crawl."
    )
