"""The list of the crawls in a Redis, so that nobody has to look through all keys for them."""

from __future__ import annotations

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import CRAWLS, Keys


async def enlist(client: Client, keys: Keys) -> None:
    """Have a crawl in the list. It is no harm to say so again. Raises `StoreError`."""
    await client.call("zadd", CRAWLS, {keys.name: 0})


async def strike(client: Client, keys: Keys) -> None:
    """Take a crawl that was purged off the list, unless it has begun anew meanwhile."""
    await client.call("zrem", CRAWLS, keys.name)
    if await client.call("exists", keys.meta):
        await enlist(client, keys)
