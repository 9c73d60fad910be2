"""Moves what is queued, delayed or dead from the old partitions of a crawl to its new ones.

Everything is set aside first, inside its partition. From there it goes in batches: each is queued
in its new partitions, where its number is noted, before it is removed. What was cut off goes on,
and a batch that is sent again counts once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import STEP
from crawlo_scrapy.store.division import Change
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: Requests, or other elements, in one batch, and most bytes of them.
BATCH = 500
BATCH_BYTES = 4 * 1024 * 1024
#: An element of a slot that has its most leases; see ``_limits.lua``.
_BLOCKED = 2**42


class Mover:
    """A run of `repartition` of the crawl of *home*, which has *token*."""

    def __init__(self, client: Client, home: Keys, change: Change, token: str) -> None:
        self.client = client
        self.home = home
        self.change = change
        self.token = token
        self.old = change.old.keys(home)
        self.new = change.new.keys(home)

    async def run(self, *calls: tuple[str, list[str], Sequence[Any]]) -> list[Any]:
        """Run scripts; raise `StoreRefused` when this run is no longer the one that may."""
        if not calls:
            return []
        results = await run(
            self.client, *(Call(name, keys, [self.token, *args]) for name, keys, args in calls)
        )
        if -1 in results:
            raise StoreRefused(
                f"The crawl {self.home.name} was purged meanwhile, or another `crawlo-scrapy "
                "repartition` goes on with it."
            )
        return results

    async def note(self, part: Keys, field: str, value: str, *, once: bool = False) -> str:
        """Note how far it has come in a partition, and return what stands there then."""
        [noted] = await self.run(("partition_note", [part.moving], [field, value, int(once)]))
        return str(noted.decode())

    async def noted(self, part: Keys, field: str) -> str:
        found = await self.client.call("hget", part.moving, field)
        return found.decode() if found is not None else ""


async def copy_limits(mover: Mover, number: int) -> None:
    """Have what limits the slots of an old partition stand where the slots go."""
    part, change = mover.old[number], mover.change
    stays = change.stays(number)
    async for page in _hash_pages(mover.client, part.limits):
        found = [
            ("limit", field, value, field.partition(b":")[2])
            for field, value in page.items()
            # What the settings say, the first worker of the new partition writes.
            if not field.startswith((b"delay:", b"count:"))
        ]
        places = await _send_limits(mover, found, number if stays else None)
        gone = [entry[1] for entry, to in zip(found, places, strict=True) if number not in to]
        if stays and gone:
            await mover.client.call("hdel", part.limits, *gone)
    for kind, key in (("pace", part.pace), ("pace", part.timed), ("hold", part.holds)):
        first = 0
        while page := await mover.client.call(
            "zrange", key, first, first + BATCH - 1, withscores=True
        ):
            times = [(kind, slot, repr(time % _BLOCKED), slot) for slot, time in page]
            # A slot that is set aside and comes back begins with its time, too.
            await _send_limits(mover, times, None)
            first += BATCH


async def _send_limits(
    mover: Mover, found: Sequence[tuple[str, bytes, Any, bytes]], but: int | None
) -> list[list[int]]:
    """Send what limits slots to all partitions that it belongs to, and return which these are."""
    places = [mover.change.places(entry[3].decode(errors="replace")) for entry in found]
    shares: dict[int, list[Any]] = {}
    for entry, numbers in zip(found, places, strict=True):
        for number in numbers:
            if number != but:
                shares.setdefault(number, []).extend(entry[:3])
    calls = [
        ("partition_limits", [new.moving, new.limits, new.pace, new.holds], share)
        for number, share in shares.items()
        for new in [mover.new[number]]
    ]
    await mover.run(*calls)
    return places


async def set_aside(mover: Mover, number: int) -> None:
    """Set aside all that is queued in an old partition, unless it stays where it is."""
    part, prefix = mover.old[number], mover.old[number].moving_prefix
    names = [
        part.meta, part.moving, part.delayed, part.dead, prefix + "delayed", prefix + "dead",
        prefix + "names", prefix + "list:", *part.queues,
    ]  # fmt: skip
    await mover.run(("partition_aside", names, [BATCH]))
    for key in (part.slots, part.timed):
        stay = 0
        while page := await mover.client.call("zrange", key, stay, stay + BATCH - 1):
            going = [slot for slot in page if not _slot_stays(mover, number, slot)]
            if going:
                await mover.run(("partition_aside", names, [BATCH, *going]))
            else:
                stay += len(page)


def _slot_stays(mover: Mover, number: int, slot: bytes) -> bool:
    places = mover.change.places(slot.decode(errors="replace"))
    return mover.change.stays(number) and places == [number]


async def move_requests(mover: Mover, number: int, show: Callable[[int], None]) -> None:
    """Queue what was set aside in an old partition where it belongs. *show* is told how many."""
    part = mover.old[number]
    names = [part.moving, part.moving_prefix + "names", part.moving_prefix + "list:"]
    while True:
        [[batch, *lists]] = await mover.run(("partition_peek", names, [BATCH, BATCH_BYTES]))
        if not lists:
            break
        shares: dict[int, list[Any]] = {}
        for slot, priority, elements in lists:
            for place, some in _by_place(mover.change, slot, elements).items():
                shares.setdefault(place, []).extend([slot, priority, len(some), *some])
        calls = []
        for place, share in shares.items():
            new = mover.new[place]
            args = [number, batch, *share]
            calls.append(("partition_place", [new.meta, new.moving, *new.queues], args))
        await mover.run(*calls)
        counts = [len(elements) for _, _, elements in lists]
        await mover.run(("partition_drop", names, [batch, *counts]))
        show(sum(counts))
    await _move_delayed(mover, part, show)
    await _move_dead(mover, number, part)


def _by_place(change: Change, slot: bytes, elements: list[bytes]) -> dict[int, list[bytes]]:
    places: dict[int, list[bytes]] = {}
    for element in elements:
        places.setdefault(change.place(slot, element), []).append(element)
    return places


async def _move_delayed(mover: Mover, part: Keys, show: Callable[[int], None]) -> None:
    key = part.moving_prefix + "delayed"
    while page := await mover.client.call("zrange", key, 0, BATCH - 1, withscores=True):
        shares: dict[int, list[Any]] = {}
        for member, time in page:
            place = _place_of_record(mover.change, member.partition(b"\n")[2])
            shares.setdefault(place, []).extend([repr(time), member])
        calls = []
        for place, share in shares.items():
            new = mover.new[place]
            calls.append(("partition_later", [new.meta, new.moving, new.delayed], share))
        await mover.run(*calls)
        await mover.client.call("zrem", key, *[member for member, _ in page])
        show(len(page))


async def _move_dead(mover: Mover, number: int, part: Keys) -> None:
    key = part.moving_prefix + "dead"
    async for page in _hash_pages(mover.client, key):
        shares: dict[int, list[Any]] = {}
        for letter_id, letter in page.items():
            place = _place_of_record(mover.change, letter.partition(b"\n")[2])
            shares.setdefault(place, []).extend([letter_id, letter])
        calls = []
        for place, share in shares.items():
            new = mover.new[place]
            calls.append(("partition_letters", [new.moving, new.dead], [number, *share]))
        await mover.run(*calls)
        await mover.client.call("hdel", key, *page)


def _place_of_record(change: Change, record: bytes) -> int:
    """Return where "slot, priority, element" belongs; what is not of that form, to the home."""
    slot, _, rest = record.partition(b"\n")
    element = rest.partition(b"\n")[2]
    return change.place(slot, element) if element else 0


async def copy_seeds(mover: Mover, number: int) -> None:
    """Have the start requests of this run count as queued in all partitions that may get them."""
    part, cursor = mover.old[number], None
    heirs = [to for to in mover.change.heirs(number) if mover.new[to].prefix != part.prefix]
    while heirs and cursor != 0:
        found = await mover.client.call("sscan", part.seeds, cursor or 0, count=BATCH)
        cursor, page = int(found[0]), found[1]
        if page:
            commands = [("SADD", mover.new[to].seeds, *page) for to in heirs]
            for result in await mover.client.send(commands):
                if isinstance(result, Exception):
                    raise await mover.client.failure(result) from result


async def _hash_pages(client: Client, key: str) -> AsyncIterator[dict[bytes, bytes]]:
    """Yield what is in a hash, in pages; who takes those out meanwhile misses nothing."""
    cursor = None
    while cursor != 0:
        found = await client.call("hscan", key, cursor or 0, count=STEP)
        cursor = int(found[0])
        if found[1]:
            yield found[1]
