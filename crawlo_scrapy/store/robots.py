"""robots.txt files that one worker has fetched for all."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run

#: For how long one worker has the right to fetch a file, in seconds.
CLAIM_SECONDS = 30.0
#: Bytes of a file that are kept; RFC 9309 asks crawlers to read at least so many.
MOST_BYTES = 500 * 1024
#: For how long it is kept that a site could not answer (RFC 9309: ask again), in seconds.
FAILURE_SECONDS = 60.0


class RobotsFile(NamedTuple):
    """What a site answered when it was asked for its robots.txt."""

    status: int
    body: bytes

    @property
    def failed(self) -> bool:
        """Whether this says nothing of the file: the site has trouble, or was asked too often."""
        return self.status >= 500 or self.status == 429


class Robots:
    """The robots.txt files of one crawl. *ttl*: how long each is kept, in seconds."""

    def __init__(self, client: Client, keys: Keys, ttl: float) -> None:
        self._client = client
        self._keys = keys
        self._ttl = ttl

    async def get(self, site: str, worker: str) -> tuple[str, RobotsFile | None]:
        """Return ``here`` and the file; ``yours`` if *worker* is to fetch it; else ``theirs``.

        *site* is scheme, host and port. Who is to fetch it has to `put` it or `give_up`.
        """
        args = [worker, round(CLAIM_SECONDS * 1000)]
        [[status, *found]] = await run(self._client, Call("robots_get", self._file(site), args))
        if not found:
            return status.decode(), None
        if (file := _unpacked(found[0])) is None:
            return "yours", None  # not written by us: what this worker puts will replace it
        return status.decode(), file

    async def put(self, site: str, file: RobotsFile) -> None:
        """Keep the file for all; a failure for `FAILURE_SECONDS` at most."""
        ttl = min(self._ttl, FAILURE_SECONDS) if file.failed else self._ttl
        packed = zlib.compress(b"%d\n%b" % (file.status, file.body[:MOST_BYTES]))
        key, claim = self._file(site)
        await self._client.call("set", key, packed, px=max(1, round(ttl * 1000)))
        await self._client.call("delete", claim)

    async def give_up(self, site: str) -> None:
        """Leave it to others to fetch the file."""
        await self._client.call("delete", self._file(site)[1])

    def _file(self, site: str) -> list[str]:
        return [self._keys.robots(site), self._keys.robots_claim(site)]


def _unpacked(packed: bytes) -> RobotsFile | None:
    """Return a file; never more than may be kept, however little space it takes when packed."""
    try:
        code, _, body = zlib.decompressobj().decompress(packed, MOST_BYTES + 8).partition(b"\n")
        return RobotsFile(int(code), body)
    except (zlib.error, ValueError):
        return None
