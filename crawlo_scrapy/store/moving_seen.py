"""Copies what a crawl has seen from its old partitions to its new ones; see `origins`.

All of it may be done twice with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.moving import BATCH, Mover
from crawlo_scrapy.store.origins import Origins, buckets, count_field
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.seen import Slice

#: The number of a bucket, and members in it.
Row = tuple[bytes, list[bytes]]
#: Buckets, and members in them, that one script handles: some 5 ms of Redis's time.
BUCKETS = 4096
MEMBERS = 5000
#: So many of these steps lie between two notes of how far it has come.
NOTED = 20
#: Bits of Bloom filters that are read in one round trip, in keys.
PIECES = 50


def _begin(keys: Keys, part: Slice) -> str:
    """Return what the keys of a slice begin with."""
    return keys.seen_prefix + (f"s{part.number}:" if part.number else "")


def _change_buckets(
    keys: Keys, command: str, part: Slice, level: int, rows: Sequence[Row]
) -> tuple[str, list[str], list[Any]]:
    """Return the script that takes members into buckets of a partition, or out of them."""
    names, args = [keys.moving], [command, part.expires, count_field(part, level)]
    for bucket, members in rows:
        if members:
            names.append(f"{_begin(keys, part)}{level}:{bucket.decode()}")
            args += (len(members), *members)
    return "partition_seen", names, args


class SeenMover:
    """Copies the seen sets of a crawl."""

    def __init__(self, mover: Mover, origins: Origins) -> None:
        self._mover = mover
        self._change = mover.change
        self._origins = origins

    async def copy(self, number: int, show: Callable[[int], None]) -> None:
        """Copy the seen set of an old partition. *show* is told of how many fingerprints."""
        origin = self._origins.old.get(number)
        if origin is None or origin.empty:
            return
        if origin.state.how == "bloom":
            await self._copy_strings(number)
            show(origin.state.count)
        else:
            await self._copy_buckets(number, show)
        if origin.state.urls:
            await self._copy_urls(number)

    # An exact set.

    async def _copy_buckets(self, number: int, show: Callable[[int], None]) -> None:
        old, steps = self._mover.old[number], 0
        noted = await self._mover.noted(old, "seen_place")
        begin = tuple(map(int, noted.split(":"))) if noted else (0, 0, 0)
        for which, part in enumerate(self._origins.old[number].parts):
            for level in range(part.base, part.level + 1):
                if (which, level) < begin[:2]:
                    continue
                bucket = begin[2] if (which, level) == begin[:2] else 0
                while bucket < buckets(level):
                    args = [bucket, min(BUCKETS, buckets(level) - bucket), MEMBERS]
                    call = Call("partition_members", [f"{_begin(old, part)}{level}:"], args)
                    [[following, *rows]] = await run(self._mover.client, call)
                    await self._spread(number, part, level, rows)
                    show(sum(len(members) for _, members in rows))
                    bucket, steps = int(following), steps + 1
                    if steps % NOTED == 0:
                        place = f"{which}:{level}:{bucket}"
                        await self._mover.note(old, "seen_place", place)

    async def _spread(self, number: int, part: Slice, level: int, rows: Sequence[Row]) -> None:
        """Put members of buckets where they belong; take away those that do not belong here."""
        shares = self._shares(number, rows)
        here = shares.pop(number, []) if self._change.stays(number) else None
        calls = []
        for to, share in shares.items():
            there = self._origins.heir(number, to).part_in(part)
            calls.append(_change_buckets(self._mover.new[to], "SADD", there, level, share))
        await self._mover.run(*calls)
        if here is not None and self._change.splits_seen:
            stay = {bucket: set(members) for bucket, members in here}
            gone = [
                (bucket, [member for member in members if member not in stay.get(bucket, ())])
                for bucket, members in rows
            ]
            if any(members for _, members in gone):
                old = self._mover.old[number]
                await self._mover.run(_change_buckets(old, "SREM", part, level, gone))

    def _shares(self, number: int, rows: Sequence[Row]) -> dict[int, list[Row]]:
        """Return what of an old partition's buckets belongs where."""
        change = self._change
        shares: dict[int, list[Row]] = {}
        if not change.splits_seen:
            if change.old.by == "fingerprint":  # what came from other partitions goes no further
                rows = [
                    (bucket, [one for one in members if change.is_own(number, int(one))])
                    for bucket, members in rows
                ]
            return {to: list(rows) for to in change.heirs(number)} if rows else {}
        for bucket, members in rows:
            places: dict[int, list[bytes]] = {}
            for member in members:
                places.setdefault(int(member) % change.new.count, []).append(member)
            for to, some in places.items():
                shares.setdefault(to, []).append((bucket, some))
        return shares

    # Bloom filters of ours: each new partition has one origin, and gets all of it.

    async def _copy_strings(self, number: int) -> None:
        old = self._mover.old[number]
        new = [self._mover.new[to] for to in self._change.heirs(number)]
        heirs = [keys for keys in new if keys.prefix != old.prefix]
        urls = old.seen_urls(0)[:-1].encode()
        client = self._mover.client
        async for page in client.scan(f"{old.seen_prefix}*", BATCH, near=old.meta):
            names = [name for name in page if not name.startswith(urls)]
            for first in range(0, len(names), PIECES):
                some = names[first : first + PIECES]
                bits = await client.send([("GET", name) for name in some])
                commands = []
                for name, value in zip(some, bits, strict=True):
                    rest = name.decode()[len(old.seen_prefix) :]
                    until = self._expiry(number, rest)
                    if isinstance(value, bytes):
                        for keys in heirs:
                            commands.append(("SET", keys.seen_prefix + rest, value, *until))
                for result in (*bits, *(await client.send(commands) if commands else ())):
                    if isinstance(result, Exception):
                        raise await client.failure(result) from result

    def _expiry(self, number: int, rest: str) -> tuple[Any, ...]:
        """Return the words of SET that have a piece of a slice expire with it."""
        for part in self._origins.old[number].state.slices:
            if rest.startswith(f"s{part.number}:"):
                return ("PXAT", part.expires)
        return ()

    # URLs.

    async def _copy_urls(self, number: int) -> None:
        old, state = self._mover.old[number], self._origins.old[number].state
        for chunk in state.chunks:
            stream, start = old.seen_urls(chunk), "-"
            expires = max([s.expires for s in state.slices if s.chunk <= chunk], default=0)
            while True:
                page = await self._mover.client.call("xrange", stream, start, "+", count=BATCH)
                if not page:
                    break
                await self._spread_urls(number, chunk, expires, page)
                start = f"({page[-1][0].decode()}"

    async def _spread_urls(
        self,
        number: int,
        chunk: int,
        expires: int,
        page: Sequence[tuple[bytes, dict[bytes, bytes]]],
    ) -> None:
        change, calls = self._change, []
        stays = change.stays(number)
        places = [change.seen_by(number, int(fields[b"m"])) for _, fields in page]
        for to in change.heirs(number):
            if stays and to == number:
                continue
            origin = self._origins.heir(number, to)
            args: list[Any] = [expires]
            for (entry_id, fields), wanted in zip(page, places, strict=True):
                if to in wanted:
                    args += (entry_id, fields[b"u"], fields[b"p"], fields[b"m"])
            if len(args) > 1:
                keys = self._mover.new[to]
                stream = keys.seen_urls(chunk + origin.chunks)
                calls.append(("partition_urls", [keys.moving, stream], args))
        await self._mover.run(*calls)
        gone = [entry[0] for entry, to in zip(page, places, strict=True) if number not in to]
        if stays and gone and change.splits_seen:
            stream = self._mover.old[number].seen_urls(chunk)
            await self._mover.client.call("xdel", stream, *gone)
