"""What has to be so before a crawl is divided anew, and having its partitions to oneself for it."""

from __future__ import annotations

import json

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.moving import Mover
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.purging import remove_partition
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.workers import Workers

#: For how long nobody can begin an old partition anew who does not know yet that it is gone, in
#: seconds.
CLOSED = 60 * 60


class Claim:
    """The right to divide the crawl of *home* as *wanted*; see `Repartition`.

    `lost` are the numbers of old partitions that are not what they were.
    """

    def __init__(
        self, client: Client, home: Keys, wanted: Layout, *, timeout: float, accept_loss: bool
    ) -> None:
        self._client = client
        self._home = home
        self._wanted = wanted
        self._timeout = timeout
        self._accept_loss = accept_loss
        self.lost: set[int] = set()

    async def check(self, before: Layout) -> None:
        """Raise `StoreRefused` while workers live in it, or partitions are gone."""
        if not await self._client.call("exists", self._home.meta):
            raise self.refusal(["none"])
        known = await self._client.call("hgetall", self._home.meta)
        root = known.get(b"root")
        for number, part in enumerate(before.keys(self._home)):
            living = await Workers(self._client, part).living(self._timeout)
            if living:
                raise self.refusal(["living", *living])
            if number:
                found = await self._client.call("hmget", part.meta, ["token", "root"])
                token = known.get(f"has:{part.prefix}".encode())
                if (token and found != [token, root]) or (found[0] and found[1] != root):
                    self.lost.add(number)
        if self.lost and not self._accept_loss:
            here = [str(n) for n in range(before.count) if n not in self.lost]
            raise StoreRefused(
                f"Of the {before.count} partitions of {self._home.name} only {', '.join(here)} "
                "are what they were; the others are gone, or of an earlier crawl: their server was "
                "emptied. With --accept-loss it goes on with what is there; what was queued and "
                "seen in the others is lost."
            )

    async def begin(self, token: str) -> Layout:
        """Let nobody join or push any more, and return how the crawl is divided.

        Raises `StoreRefused` where that cannot be.
        """
        home = self._home
        args = [token, str(self._wanted), round(self._timeout * 1000), int(bool(self.lost))]
        names = [home.meta, home.workers, home.moving]
        [[status, *rest]] = await run(self._client, Call("partition_begin", names, args))
        if status != b"ok":
            raise self.refusal([status.decode(), *(text.decode() for text in rest)])
        return Layout.parse(rest[0].decode())

    def refusal(self, found: list[str]) -> StoreRefused:
        """Return what to say of a status of ``partition_begin.lua`` other than "ok"."""
        name, (status, *rest) = self._home.name, found
        if status == "living":
            return StoreRefused(
                f"Workers live in the crawl {name}: {', '.join(rest[:5])}"
                f"{', …' if len(rest) > 5 else ''}. Stop them first: `crawlo-scrapy stop`."
            )
        if status == "other":
            other = Layout.parse(rest[0])
            return StoreRefused(
                f"The crawl {name} is being divided into {other.title} already. Run "
                f"`crawlo-scrapy repartition` with --partitions {other.count} --by {other.by} to "
                "go on with that."
            )
        messages = {
            "none": f"There is no crawl {name} in this Redis.",
            "purging": f"The crawl {name} is being purged: `crawlo-scrapy purge` goes on with it.",
            "same": f"The crawl {name} has {self._wanted.title} already.",
        }
        return StoreRefused(messages[status])

    async def claim(self, mover: Mover) -> None:
        """Have all partitions, old and new, obey this run. Those that are gone are emptied."""
        home = self._home
        if plan := await mover.noted(home, "plan"):
            self.lost = set(json.loads(plan)["lost"])
        root, version, fill = await self._client.call(
            "hmget", home.meta, ["root", "format", "bucket_fill"]
        )
        claimed_before = await mover.noted(home, "claimed")
        old = [part for number, part in enumerate(mover.old) if number not in self.lost]
        for part in {part.prefix: part for part in (*old, *mover.new)}.values():
            args = [mover.token, root, version or "1", fill or 400]
            call = Call("partition_claim", [part.meta, part.moving], args)
            [status] = await run(self._client, call)
            if status == b"stale":
                await empty(self._client, part, mover.token)
                [status] = await run(self._client, call)
            if status == b"claimed" and claimed_before:
                await self._miss(mover, part)
        await mover.note(home, "claimed", "1")

    async def _miss(self, mover: Mover, part: Keys) -> None:
        """A partition was emptied while its crawl was being divided."""
        if not self._accept_loss:
            await self._client.call("unlink", part.moving)  # or nobody would notice the next time
            raise StoreRefused(
                f"A partition of the crawl {self._home.name} ({part.prefix}) was emptied while the "
                "crawl was being divided anew. With --accept-loss it goes on with what is there."
            )
        await mover.note(self._home, "incomplete", "1")

    async def reclaim(self, mover: Mover, max_attempts: int) -> None:
        """Take back what dead workers hold."""
        for number, part in enumerate(mover.old):
            if number in self.lost:
                continue
            workers = Workers(self._client, part)
            for worker_id in await workers.alive():
                await Frontier(self._client, part).reclaim(
                    worker_id, timeout=self._timeout, max_attempts=max_attempts
                )
            if living := await workers.alive():
                raise self.refusal(["living", *living])


async def empty(client: Client, part: Keys, token: str) -> None:
    """Remove a partition; nobody can begin it anew for `CLOSED` seconds, but to divide a crawl."""
    await remove_partition(client, part, token)
    await run(client, Call("partition_close", [part.meta], [token, CLOSED]))
