"""What a lease costs Redis, with few and with many slots and requests.

python -m benchmarks.slots
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.frontier import PUSH_BATCH, Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import teach
from crawlo_scrapy.store.slots import SlotLimit, Slots
from crawlo_scrapy.store.workers import Workers

#: Name, number of slots, requests in each, whether they have a limit.
CASES = (
    ("one slot, 1,000 requests", 1, 1_000, False),
    ("one slot, a million", 1, 1_000_000, False),
    ("100 slots of 1,000", 100, 1_000, False),
    ("10,000 slots of one, and one of 100,000", 10_000, 1, False),
    ("100 limited slots of 1,000", 100, 1_000, True),
    ("10,000 limited slots of one", 10_000, 1, True),
)
LEASES, LEASE = 10, 64


async def measure(client: Client, case: tuple[str, int, int, bool]) -> dict[str, Any]:
    """Push, lease and ack; return µs of Redis a request for each."""
    name, slots, requests, limited = case
    keys = Keys("bench", "slots")
    frontier = Frontier(client, keys)
    await teach(client, keys.meta)
    _, member = await Workers(client, keys).join("w", {"host": "h"}, bucket_fill=400)
    assert isinstance(member, Membership)
    if limited:
        await Slots(client, keys).configure({"": SlotLimit(delay=0.001, concurrency=1000)})
    pushes = [
        Push("n", 0, 0, f"host{slot}", 0, b"x" * 60)
        for _ in range(requests)
        for slot in range(slots)
    ]
    if "and one of" in name:
        pushes += [Push("n", 0, 0, "big", 0, b"x" * 60)] * 100_000
    before = await script_us(client)
    for first in range(0, len(pushes), PUSH_BATCH):
        await frontier.exchange(member, pushes[first : first + PUSH_BATCH])
    pushed = await script_us(client)
    row = {"case": name, "push": round((pushed - before) / len(pushes), 2)}
    given = 0
    served = set()
    for _ in range(LEASES):
        room = {"room": LEASE, "horizon": 0.0} if limited else {}
        result = await frontier.exchange(member, limit=0 if limited else LEASE, **room)
        given += len(result.leases)
        served.update(lease.id for lease in result.leases)
        await frontier.exchange(member, acks=[lease.id for lease in result.leases])
    row["lease and ack"] = round((await script_us(client) - pushed) / max(1, given), 2)
    row["leased"] = given
    await frontier.purge()
    return row


async def script_us(client: Client) -> float:
    """Return the time that scripts have taken so far."""
    stats = await client.call("info", "commandstats")
    return float(stats.get("cmdstat_evalsha", {}).get("usec", 0))


async def run(url: str) -> list[dict[str, Any]]:
    client = Client.connect(Address(url=url))
    try:
        return [await measure(client, case) for case in CASES]
    finally:
        await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with LocalRedis() as redis:
        rows = asyncio.run(run(redis.url))
    print("| queued | push, µs of Redis a request | lease and ack, µs a request |")
    print("| --- | --- | --- |")
    for row in rows:
        print(f"| {row['case']} | {row['push']} | {row['lease and ack']} |")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
