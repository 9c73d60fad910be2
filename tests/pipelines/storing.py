"""What tests of several storages share: storing items, and looking at what became of them."""

from __future__ import annotations

import asyncio

from crawlo_scrapy.pipelines.batching import Backoff, Batcher, BatchLimits
from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.pipelines.names import NameTemplate
from crawlo_scrapy.pipelines.writer import Row

QUICK = Backoff(first=0.01, cap=0.05)


class Watch:
    """Remembers what a batcher tells."""

    def __init__(self):
        self.batches = []
        self.outages = []
        self.is_back = asyncio.Event()
        self.is_away = asyncio.Event()

    def stored(self, count):
        self.batches.append(count)

    def away(self, error, delay):
        self.outages.append((str(error), delay))
        self.is_away.set()

    def back(self):
        self.is_back.set()


def names(source):
    return NameTemplate(source, {"spider": "shop", "node": "n1"})


async def store(writer, *items, limits=None, watch=None, item_class=dict):
    """Open *writer*, store *items* at once, close; return None or the reason for each."""
    await writer.open()
    try:
        return await store_in(writer, *items, limits=limits, watch=watch, item_class=item_class)
    finally:
        await writer.close()


async def store_in(writer, *items, limits=None, watch=None, item_class=dict):
    batcher = Batcher(writer.write, watch or Watch(), limits or BatchLimits(), QUICK)

    async def one(item):
        try:
            await batcher.store(await batcher.persist(lambda: writer.prepare(item, item_class)))
        except ItemRefused as exc:
            return str(exc)
        return None

    reasons = await asyncio.gather(*map(one, items))
    await batcher.close()
    return reasons


def row(value, size=1):
    return Row(value, size)
