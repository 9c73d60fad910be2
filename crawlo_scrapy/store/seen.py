"""The seen set: exact, compact, shared by all workers of a crawl.

A SET of integers is kept by Redis as a packed array while it is small. The first bits of a
fingerprint choose a bucket, 64 further bits are its member. See ``lua/_seen.lua``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

_UNPACK = struct.Struct(">Iq").unpack

#: Share of a bucket's largest packed size that is filled on average. Sizes follow a Poisson
#: distribution: with 400 of 512, one bucket in 100 million grows over the limit.
FILL = 400 / 512


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
