"""The seen set: exact and compact unless a crawl asked for something else, shared by its workers.

A SET of integers is kept by Redis as a packed array while it is small. The first bits of a
fingerprint choose a bucket, 64 further bits are its member. See ``lua/_seen.lua``.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crawlo_scrapy.store.bloom import Bloom
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError, StoreRefused
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

_UNPACK = struct.Struct(">Iq").unpack

#: Share of a bucket's largest packed size that is filled on average. Sizes follow a Poisson
#: distribution: with 400 of 512, one bucket in 100 million grows over the limit.
FILL = 400 / 512

#: Most slices of time that a fingerprint may be in; see ``lua/_seen_choice.lua``.
SLICES = 6


def split(fingerprint: bytes) -> tuple[int, int]:
    """Return the first 32 bits and 64 further bits by which a fingerprint is known.

    It is hashed first: fingerprints of a project's own class need not be evenly spread.
    """
    bits: tuple[int, int] = _UNPACK(hashlib.blake2b(fingerprint, digest_size=12).digest())
    return bits


async def bucket_fill(client: Client) -> int:
    """Return how many members a bucket should hold on average on this server."""
    try:
        answer = await client.call("config_get", "set-max-intset-entries", near="")
        limit = int(next(iter(answer.values()), 512))
    except StoreError:
        # CONFIG is often forbidden; 512 is the default of Redis and Valkey.
        limit = 512
    return max(16, int(min(limit, 512) * FILL))


async def add(client: Client, keys: Keys, fingerprints: Sequence[bytes]) -> list[bool]:
    """Record *fingerprints*; for each return whether it is new."""
    args = [bits for fingerprint in fingerprints for bits in split(fingerprint)]
    [fresh] = await run(client, Call("seen_add", [keys.meta, keys.seen_prefix], args))
    return [bool(value) for value in fresh]


@dataclass(frozen=True)
class SeenChoice:
    """What kind of seen set a crawl is to have.

    `kind` is ``exact`` or ``bloom``, the latter made for `capacity` URLs and with at most
    `error_rate` of new URLs taken for seen. A URL is new again `ttl` seconds after it was seen
    (0: never). `urls`: the URLs are kept, so that they can be found by a pattern.
    """

    kind: str = "exact"
    capacity: int = 1_000_000
    error_rate: float = 0.001
    ttl: float = 0.0
    urls: bool = False

    @property
    def filter_error(self) -> float:
        """The error rate of one slice: each has filters of its own, and all are looked into."""
        return self.error_rate / (SLICES if self.ttl else 1)

    def share(self, partitions: int) -> SeenChoice:
        """Return the choice for each of so many partitions of a crawl."""
        return replace(self, capacity=math.ceil(self.capacity / partitions))

    def arguments(self, *, write: bool, own: int, timeout: float) -> list[Any]:
        """Return what ``seen_choose.lua`` gets."""
        bloom = self.kind == "bloom"
        shapes = Bloom(self.capacity, self.filter_error).shapes if bloom else ""
        ttl = max(1, round(self.ttl * 1000)) if self.ttl else 0
        return [
            self.kind, self.capacity, repr(self.filter_error), shapes, ttl, int(self.urls),
            int(write), own, round(timeout * 1000),
        ]  # fmt: skip

    def check(self, crawl: str, reply: Sequence[Any]) -> SeenChosen:
        """Return what ``seen_choose.lua`` said; raise `StoreRefused` if it is another choice."""
        status, how, *rest = reply
        if status == b"ok":
            capacity, error_rate, full = (float(text or 0) for text in rest)
            return SeenChosen(how.decode(), int(capacity), error_rate, int(full))
        found = SeenChoice(
            "exact" if how == b"exact" else "bloom", ttl=int(rest[0]) / 1000, urls=rest[1] == b"1"
        )
        raise StoreRefused(
            f"The crawl {crawl} has a seen set with {found._settings(self)}, and the settings here "
            f"say {self._settings(found)}. Use the crawl's own; or crawl under another "
            f"CRAWLO_CRAWL_ID; or {self._way_out(found)}."
        )

    def _settings(self, other: SeenChoice) -> str:
        """Return, as settings, what is not as in *other*."""
        mine = [
            ("CRAWLO_SEEN", self.kind, other.kind),
            ("REDIS_TTL", f"{self.ttl:g}", f"{other.ttl:g}"),
            ("CRAWLO_SEEN_URLS", self.urls, other.urls),
        ]
        return ", ".join(f"{name} = {value}" for name, value, theirs in mine if value != theirs)

    def _way_out(self, found: SeenChoice) -> str:
        if self.kind == found.kind and bool(self.ttl) == bool(found.ttl):
            return "stop all workers before the setting is changed"
        return "purge the crawl (`crawlo-scrapy purge`) to begin anew, with nothing seen"


#: The default.
PLAIN = SeenChoice()


def overfull(capacity: int) -> str:
    """Return what to say of a Bloom filter that holds more than it was made for."""
    return (
        f"More URLs were seen than the Bloom filter was made for ({capacity:,}): further filters "
        "are open. The error rate stays below BLOOM_FILTER_ERROR_RATE, and a look takes longer; "
        "begin the next crawl with a larger BLOOM_FILTER_CAPACITY."
    )


@dataclass(frozen=True)
class SeenChosen:
    """What a crawl has: `how` is ``exact``, ``bloom`` (filters of ours) or ``bf`` (a module's).

    For `capacity` URLs and an `error_rate`, `full` filters have been filled so far.
    """

    how: str
    capacity: int
    error_rate: float
    full: int

    def notes(self, choice: SeenChoice) -> list[str]:
        """Return what somebody with *choice* should know."""
        notes: list[str] = []
        if self.how == "exact":
            return notes
        if (self.capacity, self.error_rate) != (choice.capacity, choice.filter_error):
            notes.append(
                "The crawl's Bloom filter was made with another BLOOM_FILTER_CAPACITY or "
                "BLOOM_FILTER_ERROR_RATE, and stays as it is."
            )
        if self.full:
            notes.append(overfull(self.capacity))
        return notes


async def choose(
    client: Client,
    keys: Keys,
    choice: SeenChoice,
    *,
    write: bool = True,
    own: int = 0,
    timeout: float = 15.0,
) -> SeenChosen:
    """Let the seen set be as *choice* says, or raise `StoreRefused` for a crawl that has another.

    Without *write* only look. *own* of the registered workers are the caller's; others count as
    dead after *timeout* seconds of silence.
    """
    names = [keys.meta, keys.workers, keys.seen_prefix]
    arguments = choice.arguments(write=write, own=own, timeout=timeout)
    [reply] = await run(client, Call("seen_choose", names, arguments))
    return choice.check(keys.name, reply)


@dataclass(frozen=True)
class Slice:
    """Fingerprints of a slice of time; times are Redis's, in milliseconds since 1970."""

    number: int
    base: int
    level: int
    fill: int
    count: int
    closes: int
    expires: int
    chunk: int


@dataclass(frozen=True)
class SeenState:
    """How the seen set of one crawl, or of one partition, stands.

    `count` fingerprints have not expired at `now` (Redis's clock, in ms). `how` as in
    `SeenChosen`; `ttl` is in seconds; `level` is the number of the newest level or filter; URLs
    are in the streams up to `chunk`.
    """

    count: int = 0
    how: str = "exact"
    ttl: float = 0.0
    urls: bool = False
    level: int = 0
    capacity: int = 0
    error_rate: float = 0.0
    chunk: int = 0
    now: int = 0
    slices: list[Slice] = field(default_factory=list)

    @property
    def chunks(self) -> range:
        """The numbers of the streams of URLs that may exist, the oldest first."""
        first = min((piece.chunk for piece in self.slices), default=self.chunk) if self.ttl else 0
        return range(first, self.chunk + 1)

    @property
    def overfull(self) -> bool:
        """Whether more was recorded than the Bloom filter was made for."""
        levels = [piece.level for piece in self.slices] or [self.level]
        return self.how == "bloom" and max(levels) > 0


_FIELDS = (
    "seen", "seen_how", "seen_ttl", "seen_urls", "seen_level", "seen_capacity", "seen_error",
    "seen_chunk", "seen_slices",
)  # fmt: skip


async def look(client: Client, keys: Keys) -> SeenState:
    """Return how the seen set stands. Raises `StoreError`."""
    seconds, micros = await client.call("time", near=keys.meta)
    found = await client.call("hmget", keys.meta, _FIELDS)
    texts = [value.decode() if value is not None else "" for value in found]
    meta = dict(zip(_FIELDS, texts, strict=True))
    return read_state(meta, int(seconds) * 1000 + int(micros) // 1000)


def read_state(meta: dict[str, str], now: int) -> SeenState:
    """Return what the fields of a `meta` say at *now*."""
    slices = [
        Slice(*(int(part) for part in text.split(":")))
        for text in meta.get("seen_slices", "").split(";")
        if text
    ]
    gone = sum(piece.count for piece in slices if piece.expires <= now)
    return SeenState(
        count=int(meta.get("seen") or 0) - gone,
        how=meta.get("seen_how") or "exact",
        ttl=int(meta.get("seen_ttl") or 0) / 1000,
        urls=meta.get("seen_urls") == "1",
        level=int(meta.get("seen_level") or 0),
        capacity=int(float(meta.get("seen_capacity") or 0)),
        error_rate=float(meta.get("seen_error") or 0),
        chunk=int(meta.get("seen_chunk") or 0),
        now=now,
        slices=[piece for piece in slices if piece.expires > now],
    )
