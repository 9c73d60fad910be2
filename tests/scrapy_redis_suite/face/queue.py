"""Our frontier as a queue that one program fills and empties."""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

from scrapy import Request, Spider

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.inbox import slot_of
from crawlo_scrapy.serializer import RequestSerializer
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.workers import Workers
from tests.aio import run_async
from tests.config.support import ADDON, final


class Base:
    """Requests to bytes and back. There is no other serializer than ours."""

    def __init__(self, server: Any, spider: Spider, key: str, serializer: Any = None) -> None:
        self._spider = spider
        codec = RequestSerializer(spider)
        self._encode_request, self._decode_request = codec.encode, codec.decode


class _Queue(Base):
    """Opens the frontier of a crawl of its own, and is its only worker."""

    def __init__(self, server: Any, spider: Spider, key: str) -> None:
        super().__init__(server, spider, key)
        settings = final(
            {
                **ADDON,
                "REDIS_HOST": os.environ["REDIS_HOST"],
                "REDIS_PORT": os.environ["REDIS_PORT"],
                "PROJECT_NAME": uuid4().hex,
                "SCHEDULER_QUEUE_CLASS": f"scrapy_redis.queue.{type(self).__name__}",
            }
        )
        keys = connection.keys(settings, spider.name)
        self._client = Client.connect(connection.address(settings))
        order = ours.get(settings, "CRAWLO_QUEUE_ORDER")
        self._frontier = Frontier(self._client, keys, order=order)
        run_async(self._join())

    async def _join(self) -> None:
        workers = Workers(self._client, self._frontier.keys)
        _, member = await workers.join("w", {}, bucket_fill=512)
        assert isinstance(member, Membership)
        self._member = member

    def __len__(self) -> int:
        return run_async(self._frontier.exchange(self._member)).queued

    def push(self, request: Request) -> None:
        slot, priority = slot_of(request), request.priority
        push = Push("n", 0, 0, slot, priority, self._encode_request(request))
        run_async(self._frontier.exchange(self._member, [push]))

    def pop(self, timeout: float = 0) -> Request | None:
        leases = run_async(self._frontier.exchange(self._member, limit=1)).leases
        if not leases:
            return None
        run_async(self._frontier.exchange(self._member, acks=[leases[0].id]))
        return self._decode_request(leases[0].payload)

    def clear(self) -> None:
        run_async(self._frontier.purge())
        run_async(self._join())


class FifoQueue(_Queue):
    """As SCHEDULER_QUEUE_CLASS."""


class LifoQueue(_Queue):
    """As SCHEDULER_QUEUE_CLASS."""


class PriorityQueue(_Queue):
    """As SCHEDULER_QUEUE_CLASS."""
