"""The task that writes a worker's stats to Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import operator
import secrets
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crawlo_scrapy import connection
from crawlo_scrapy import settings as ours
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError, StoreUnavailable
from crawlo_scrapy.store.frontier import Membership
from crawlo_scrapy.store.stats import ErrorLine, Stats, merge
from crawlo_scrapy.store.statsfold import fold
from crawlo_scrapy.store.statswriter import Origin, Retention, StatsWriter
from crawlo_scrapy.values import CannotEncode, Codec

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

logger = logging.getLogger(__name__)

#: How long a worker that closes keeps trying to write, in seconds.
CLOSE_TIMEOUT = 5.0
#: Pause between two of these tries, in seconds.
CLOSE_PAUSE = 0.2
#: Bytes of a value, and of the name of a key, that is shared; a larger one stays with its worker.
MOST_BYTES, MOST_NAME = 64 * 1024, 1000
#: Error lines that may wait for the next write; of more, the latest.
WAITING_LINES = 20


class Sharing:
    """Writes what *values* returns (by key how it adds up, and its value) until it is closed.

    Sent is what has changed since the last write that Redis has confirmed, or everything when
    that is not known. *member_of* returns this worker's place in the crawl, which changes when
    it is given up and comes back.
    """

    def __init__(
        self,
        settings: BaseSettings,
        spider_name: str,
        member_of: Callable[[], Membership],
        values: Callable[[], dict[str, tuple[bytes, Any]]],
    ) -> None:
        node, kept = connection.node_id(settings), retention(settings)
        self._client = Client.connect(connection.address(settings), f"stats-{node}")
        self._keys, self._codec = connection.keys(settings, spider_name), Codec()
        self._writer = StatsWriter(self._client, self._keys, self._codec, kept)
        self.reader = Stats(self._client, self._keys, self._codec, silence=kept.silence)
        self.lines: deque[ErrorLine] = deque(maxlen=WAITING_LINES)
        self._silence = kept.silence
        self._member_of = member_of
        self._values = values
        # Started again under the same name a worker counts from zero: that is another node.
        self._node = f"{node}+{secrets.token_hex(3)}"
        self._interval: float = ours.get(settings, "CRAWLO_STATS_INTERVAL")
        self._persist: bool = ours.get(settings, "STATS_PERSISTENCE")
        self._reset: bool = ours.get(settings, "STATS_RESET_ON_START")
        self._sent: dict[str, bytes] = {}
        self._version = ""
        self._away = False
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    @property
    def run(self) -> int:
        """The run of the crawl that this worker is in."""
        return self._member_of().run

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self.write()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._interval)

    async def write(self, closing: bool = False) -> bool:
        """Write what has changed. Returns whether there is nothing left to write."""
        async with self._lock:
            try:
                written = await self._write(closing)
            except StoreError as exc:
                self._version = ""
                self._report(exc)
                return False
            except Exception:
                # A bug of ours must not end the task.
                self._version = ""
                logger.exception("Cannot write stats; trying again")
                return False
            self._report(None)
            return written

    async def _write(self, closing: bool) -> bool:
        origin = self._origin()
        if self._reset:
            await self._writer.reset(origin)
            self._reset = False
        now = {key: self._encode(*stat) for key, stat in self._values().items() if _fits(key)}
        changes = {key: field for key, field in now.items() if self._sent.get(key) != field}
        if not self._version:
            changes = dict(now)
        changes.update({key: b"" for key in self._sent if key not in now})
        lines = list(self.lines)
        written = await self._writer.write(
            origin, changes, self._version, lines=lines, closing=closing
        )
        self._version = written.version
        if written.status == "again":
            return await self._write(closing)
        if written.status == "ok":
            if not self._sent:
                await fold(self._client, self._keys, self._codec, origin.run)
            self._sent = now
            while self.lines and self.lines[0] in lines:
                self.lines.popleft()
        return written.status != "busy"

    def _origin(self) -> Origin:
        member = self._member_of()
        return Origin(self._node, member.worker_id, member.run, member.created)

    def _encode(self, kind: bytes, value: Any) -> bytes:
        try:
            field = self._writer.encode(kind, value)
        except CannotEncode:
            field = self._writer.encode(kind, _plain(value))
        if len(field) > MOST_BYTES:
            field = self._writer.encode(kind, f"({len(field):,} bytes, which are not shared)")
        return field

    def _report(self, exc: StoreError | None) -> None:
        if self._away == (exc is not None):
            return
        self._away = exc is not None
        if exc is None:
            logger.info("The stats of the crawl are shared again")
        elif isinstance(exc, StoreUnavailable):
            logger.warning(
                "Stats are not shared while Redis is away; they are counted all the same"
            )
        else:
            logger.warning("Stats are not shared: %s", exc)

    async def totals(self) -> dict[str, Any]:
        """Return the stats of the run over all workers, this one's as of now."""
        await self.write()
        return await self.reader.totals(self.run)

    async def close(self) -> dict[str, Any] | None:
        """Write for the last time; the last worker to leave removes what is not to be kept.

        Returns the stats of the run if this was the last of several nodes.
        """
        self._stop.set()
        try:
            return await asyncio.wait_for(self._close(), CLOSE_TIMEOUT)
        except asyncio.TimeoutError:
            logger.warning("What this worker counted last could not be added to the crawl's stats")
        except StoreError as exc:
            logger.warning("Cannot read or remove the stats of the crawl: %s", exc)
        finally:
            await self._client.close()
        return None

    async def _close(self) -> dict[str, Any] | None:
        await self._task
        while not await self.write(closing=True):  # noqa: ASYNC110 - Redis sends no event
            await asyncio.sleep(CLOSE_PAUSE)
        nodes = (await self.reader.nodes(self.run)).values()
        if not self._persist:
            await self._writer.drop(self.run, unless_alive=True)
        lately = max((node.written for node in nodes), default=0) - 1000 * self._silence
        if len(nodes) < 2 or any(not node.left and node.written > lately for node in nodes):
            return None
        return merge(node.stats for node in nodes)


def _fits(key: object) -> bool:
    return len(str(key)) <= MOST_NAME


def retention(settings: BaseSettings) -> Retention:
    """Return how much is kept, by the settings. Raises `SettingError`."""
    timeout = ours.get(settings, "CRAWLO_WORKER_TIMEOUT")
    return Retention(
        # Without a history a run's stats go with its last worker; what one left behind that was
        # killed, with the next run.
        runs=ours.get(settings, "CRAWLO_STATS_HISTORY")
        if ours.get(settings, "STATS_PERSISTENCE")
        else 1,
        # A worker that writes seldom is not dead.
        silence=max(timeout, 3 * ours.get(settings, "CRAWLO_STATS_INTERVAL")),
        interval=ours.get(settings, "CRAWLO_HISTORY_INTERVAL"),
        history=ours.get(settings, "CRAWLO_HISTORY_LENGTH"),
    )


def _plain(value: Any) -> Any:
    """Return the number that a value of a foreign type is, else its text."""
    for convert in (operator.index, float):
        with contextlib.suppress(TypeError, ValueError):
            return convert(value)
    try:
        return str(value)
    except Exception:  # what is put into stats is the project's own
        return f"(a {type(value).__qualname__})"
