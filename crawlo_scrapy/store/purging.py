"""Purging: removing a crawl's keys, in pieces, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.items import purge_items
from crawlo_scrapy.store.keys import Keys, partition_pattern, partitions_among
from crawlo_scrapy.store.listing import strike
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.scripts import Call, run

#: How many keys are unlinked, or scanned for, in one step of a purge.
PURGE_STEP = 500


async def purge(
    client: Client,
    keys: Keys,
    *,
    queue_only: bool = False,
    unless_alive: float | None = None,
    items: bool = False,
) -> int:
    """Remove the keys of a crawl and its partitions. Returns how many there were.

    All workers are struck off first; with *unless_alive* nothing is done, and -1 returned, when
    one of them was heard within so many seconds. Until the end nobody can join. A purge that was
    cut off leaves the state ``purging`` behind and can be repeated; if two run, the later takes
    over and the earlier stops. With *queue_only* the seen set, statistics and items stay, and the
    next worker to join begins a new run. Items that nobody has drained stay, unless *items* says
    otherwise.
    """
    token = uuid4().hex
    silence = "" if unless_alive is None else round(unless_alive * 1000)
    found = await _begin(client, keys, token, silence)
    if found < 0:
        return -1
    for part in await _others(client, keys, closed=not queue_only):
        found += await remove_partition(client, part, token, queue_only=queue_only)
        await run(client, Call("purge_end", [part.meta], [token, int(queue_only)]))
    kept = [keys.seen_prefix, keys.stats_prefix, keys.items] if queue_only else []
    # These go last, if they go.
    later = [keys.items, keys.items_dead, keys.items_writers]
    found += await _remove(client, keys, token, kept, later)
    if not queue_only:
        found += await purge_items(client, keys, token, undrained=items)
    await run(client, Call("purge_end", [keys.meta], [token, int(queue_only)]))
    if not queue_only:
        await strike(client, keys)
    return found


async def remove_partition(
    client: Client, part: Keys, token: str, *, queue_only: bool = False
) -> int:
    """Remove the keys of a partition besides its meta, which *token* must be taken from still."""
    found = await _begin(client, part, token, "")
    return found + await _remove(client, part, token, [part.seen_prefix] if queue_only else [])


async def _others(client: Client, home: Keys, *, closed: bool) -> Sequence[Keys]:
    """Return the partitions besides *home*, also those of a crawl whose home is gone.

    Of a crawl that is being divided anew, these are the old ones and the new ones; with *closed*
    also those that it had before, of which something is left for a while.
    """
    text, before = await client.call("hmget", home.meta, ["layout", "layouts_before"])
    if text:
        texts = [text, *await client.call("hmget", home.moving, ["from", "to"])]
        texts += before.split() if before and closed else []
        layouts = [Layout.parse(text.decode()) for text in texts if text]
        others = {part.prefix: part for layout in layouts for part in layout.keys(home)[1:]}
        return list(others.values())
    found: set[str] = set()
    async for page in client.scan(partition_pattern(home), PURGE_STEP):
        found.update(partitions_among(home, [key.decode(errors="replace") for key in page]))
    return [Keys(*home.names, mark=mark) for mark in sorted(found)]


async def _begin(client: Client, keys: Keys, token: str, silence: int | str) -> int:
    call = Call("purge_begin", [keys.meta, keys.workers, keys.worker_prefix], [token, silence])
    [found] = await run(client, call)
    if found >= 0:
        # A `repartition` that still runs moves nothing more here. What it was about is needed.
        await client.call("hdel", keys.moving, "token")
    return int(found)


async def _remove(
    client: Client, keys: Keys, token: str, kept: Sequence[str], later: Sequence[str] = ()
) -> int:
    """Remove all keys but meta, those that begin with one of *kept*, and *later*."""
    spared = tuple(key.encode() for key in [keys.meta, *kept])
    waiting = {key.encode() for key in later}
    found = 0
    async for batch in client.scan(keys.prefix + "*", PURGE_STEP, near=keys.meta):
        doomed: list[Any] = [k for k in batch if not k.startswith(spared) and k not in waiting]
        if doomed:
            [removed] = await run(client, Call("purge_step", [keys.meta, *doomed], [token]))
            if removed < 0:
                return found  # another one goes on
            found += removed
    return found
