"""What limits the slots of a crawl now, read without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys, clean
from crawlo_scrapy.store.lenient import text
from crawlo_scrapy.store.partitions import layout_of
from crawlo_scrapy.store.scripts import Call, run

#: How many slots are told of, and bounds of what is looked into for that.
MOST_SHOWN = 20
MOST_SLOTS = 200
MOST_PRIORITIES = 20


@dataclass(frozen=True)
class SlotState:
    """One slot. Times are in seconds from now; 0: none.

    `leased` is None while no slot of the crawl has a limit: nobody counts then. `delay_from` says
    what the delay comes of: by hand, settings, robots.txt, AutoThrottle, or "" for none. A
    `concurrency` of 0 is no limit. Nothing is leased for `wait` seconds; the slot is on hold for
    `held` seconds, because its site asked for it or its delay has changed.
    """

    slot: str
    queued: int
    leased: int | None
    delay: float
    delay_from: str
    concurrency: int
    wait: float
    held: float


async def slot_states(client: Client, keys: Keys, names: Sequence[str] = ()) -> list[SlotState]:
    """Return the slots of these *names*, or the busiest of the first `MOST_SLOTS`.

    Of a divided crawl these are looked for in each partition. Raises `StoreError`.
    """
    layout = await layout_of(client, keys)
    asked = [clean(name) for name in names][:MOST_SLOTS]
    args = [len(asked) or MOST_SHOWN, MOST_SLOTS, MOST_PRIORITIES, *asked]
    calls = [Call("slots_inspect", [p.holds, *p.queues], args) for p in layout.keys(keys)]
    found: dict[str, SlotState] = {}
    for number, (now, *rows) in enumerate(await run(client, *calls)):
        for slot, *facts in rows:
            state = _parse(int(now), text(slot), *facts)
            if layout.by == "slot" and number != layout.place(text(slot), 0):
                continue  # it was asked for, and is elsewhere
            if (other := found.get(state.slot)) is not None:
                leased = None if state.leased is None else state.leased + (other.leased or 0)
                state = replace(other, queued=other.queued + state.queued, leased=leased)
            found[state.slot] = state
    if asked:
        return list(found.values())
    busiest = sorted(found.values(), key=lambda one: (-one.queued - (one.leased or 0), one.slot))
    return busiest[:MOST_SHOWN]


def _parse(
    now: int, slot: str, queued: int, leased: int, delay: bytes, count: int, due: bytes,
    held: bytes, delays: list[bytes],
) -> SlotState:  # fmt: skip
    return SlotState(
        slot=unquote(slot),
        queued=queued,
        leased=leased if leased >= 0 else None,
        delay=float(delay) / 1000,
        delay_from=_origin(float(delay), [float(one) if one else None for one in delays]),
        concurrency=count,
        wait=max(0.0, (float(due) - now) / 1000),
        held=max(0.0, (float(held) - now) / 1000),
    )


def _origin(delay: float, delays: list[float | None]) -> str:
    """Return which of the *delays* of a slot the one in force is: by hand, or the longest."""
    by_hand, own, every, robots, learned, first = delays
    if by_hand is not None:
        return "by hand"
    origins = {
        "settings": every if own is None else own,
        "robots.txt": robots,
        "AutoThrottle": first if learned is None else learned,
    }
    return next((name for name, one in origins.items() if one and abs(one - delay) < 0.01), "")
