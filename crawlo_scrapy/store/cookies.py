"""Cookies that all workers of a crawl have. What is in one is the caller's business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: Jars that a crawl has at most; the one that was not changed for longest goes.
MOST_JARS = 1000
#: Bytes of cookies in a jar; the cookie that was not changed for longest goes.
MOST_JAR_BYTES = 64 * 1024
#: About how many bytes one answer has. What is more comes with the next.
ANSWER_BYTES = 1024 * 1024
#: Changes that are written at a time.
MOST_CHANGES = 500


class Change(NamedTuple):
    """A cookie of a jar, and what it is now."""

    jar: bytes
    cookie: bytes
    value: bytes

    def __repr__(self) -> str:
        return "Change(…)"  # a cookie is a secret


@dataclass(frozen=True)
class Shared:
    """What was changed; `more` waits to be asked for. Jars and cookies were dropped for space."""

    changes: Sequence[Change]
    more: bool
    dropped_jars: int
    dropped_cookies: int


class Cookies:
    """One worker's view of the cookies of a crawl."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = [keys.cookies, keys.cookies_prefix]
        self._version = "0"

    async def share(self, changes: Sequence[Change]) -> Shared:
        """Write *changes*, at most `MOST_CHANGES`, and return what is new to this worker.

        Of two changes to a cookie the later one holds, by Redis's clock. A worker's own changes
        come back to it. Raises `StoreError`; the same may be shared again then.
        """
        args = [self._version, MOST_JARS, MOST_JAR_BYTES, ANSWER_BYTES]
        flat = [part for change in changes for part in change]
        [answer] = await run(self._client, Call("cookies_share", self._keys, [*args, *flat]))
        self._version = answer[0].decode()
        parts = answer[4:]
        found = [Change(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        return Shared(found, bool(answer[1]), int(answer[2]), int(answer[3]))
