"""Finds crawls, again and again, without keeping anybody waiting."""

from __future__ import annotations

import asyncio
import time

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.inspect import find_crawls

#: Crawls are searched for this long after the last search, in seconds.
EVERY = 10.0


class Search:
    """Knows the names of all crawls in a Redis, or of one project's, a little late."""

    def __init__(self, client: Client, project: str | None) -> None:
        self._client = client
        self._project = project
        self._names: list[str] | None = None
        self._ended = 0.0
        self._task: asyncio.Task[None] | None = None

    async def names(self) -> list[str]:
        """Return them as they were found last, and see to it that they are searched for again.

        Only the first search is waited for. Raises `StoreError` if that fails.
        """
        idle = self._task is None or self._task.done()
        if idle and (self._names is None or time.monotonic() - self._ended > EVERY):
            self._task = asyncio.ensure_future(self._run())
            # Of a Redis that is away others tell.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self._names is None:
            assert self._task is not None
            await asyncio.shield(self._task)
        return self._names or []

    async def _run(self) -> None:
        try:
            found = await find_crawls(self._client, self._project)
        finally:
            self._ended = time.monotonic()
        self._names = found
