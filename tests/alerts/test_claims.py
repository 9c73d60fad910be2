"""Who may tell: one, whoever asks, and another if he dies over it."""

from __future__ import annotations

import asyncio

import pytest

from crawlo_scrapy.store.alerts import Alerts
from crawlo_scrapy.store.frontier import Membership
from tests.store.conftest import Store, store  # noqa: F401

LEASE = 60.0


@pytest.fixture
def make(store: Store):  # noqa: F811
    async def make_alerts() -> Alerts:
        member = await store.join()
        return alerts_of(store, member)

    return make_alerts


def alerts_of(store: Store, member: Membership) -> Alerts:  # noqa: F811
    return Alerts(store.client, store.keys, member.run, member.created)


async def later(store: Store, seconds: float) -> None:  # noqa: F811
    """Let all that was noted have happened so many seconds earlier."""
    for name, value in (await store.client.call("hgetall", store.keys.alerts)).items():
        parts = value.split(b" ")
        if name not in (b"", b":memory"):
            told, raised, claimed = (int(part) for part in parts)
            moved = [t and max(1, t - round(1000 * seconds)) for t in (raised, claimed)]
            await store.client.call(
                "hset", store.keys.alerts, name, f"{told} {moved[0]} {moved[1]}"
            )


async def test_one_of_many_gets_it(make):
    alerts = await make()
    claims = await asyncio.gather(*(alerts.claim("x", True, lease=LEASE) for _ in range(20)))
    assert len([claim for claim in claims if claim]) == 1


async def test_raised_once_and_over_once(make):
    alerts = await make()
    assert await alerts.claim("x", False, lease=LEASE) is None  # never was
    claim = await alerts.claim("x", True, lease=LEASE)
    await alerts.settle(claim)
    assert await alerts.claim("x", True, lease=LEASE) is None
    claim = await alerts.claim("x", False, lease=LEASE)
    await alerts.settle(claim)
    assert await alerts.claim("x", False, lease=LEASE) is None
    assert await alerts.claim("x", True, lease=LEASE)
    assert await alerts.claim("y", True, lease=LEASE)  # another rule


async def test_it_is_quiet_after_it_was_raised(make, store):  # noqa: F811
    alerts = await make()
    for holds in (True, False):
        await alerts.settle(await alerts.claim("x", holds, lease=LEASE, quiet=300))
    assert await alerts.claim("x", True, lease=LEASE, quiet=300) is None
    await later(store, 299)
    assert await alerts.claim("x", True, lease=LEASE, quiet=300) is None
    await later(store, 2)
    assert await alerts.claim("x", True, lease=LEASE, quiet=300)


async def test_another_tells_when_the_first_has_died(make, store):  # noqa: F811
    alerts = await make()
    first = await alerts.claim("x", True, lease=LEASE)
    assert await alerts.claim("x", True, lease=LEASE) is None
    await later(store, LEASE + 1)
    second = await alerts.claim("x", True, lease=2 * LEASE)
    assert second
    # The first was only slow. What he has told the second tells again.
    await alerts.settle(first)
    assert await alerts.claim("x", False, lease=LEASE) is None
    await alerts.settle(second)
    assert await alerts.claim("x", False, lease=LEASE)


async def test_what_was_over_before_it_was_told(make):
    alerts = await make()
    claim = await alerts.claim("x", True, lease=LEASE)
    assert await alerts.claim("x", False, lease=LEASE) is None
    await alerts.settle(claim)
    assert await alerts.claim("x", False, lease=LEASE)


async def test_turns_and_their_memory(make, store):  # noqa: F811
    alerts = await make()
    turn = await alerts.take_turn(10)
    assert turn.memory == b""
    await alerts.remember(turn, b"so it was")
    assert await alerts.take_turn(10) is None
    await later(store, 11)
    next_turn = await alerts.take_turn(10)
    assert next_turn.memory == b"so it was"
    await alerts.remember(turn, b"too late")
    await alerts.remember(next_turn, b"so it is")
    await later(store, 11)
    assert (await alerts.take_turn(10)).memory == b"so it is"


async def test_a_new_run_knows_nothing_of_the_old(make, store):  # noqa: F811
    alerts = await make()
    await alerts.settle(await alerts.claim("x", True, lease=LEASE))
    claim = await alerts.claim("z", True, lease=LEASE)
    finished = {"state": "finished", "finished": 1}
    await store.client.call("hset", store.keys.meta, mapping=finished)
    assert await alerts.claim("y", True, lease=LEASE)  # that it is finished can be told
    await store.client.call("delete", store.keys.workers)
    again = alerts_of(store, await store.join("w2"))
    assert await again.claim("x", True, lease=LEASE)
    assert await alerts.claim("x", False, lease=LEASE) is None
    await alerts.settle(claim)
    assert await again.claim("z", True, lease=LEASE)


async def test_a_purge_takes_all_and_nothing_comes_back(make, store):  # noqa: F811
    alerts = await make()
    turn = await alerts.take_turn(10)
    claim = await alerts.claim("x", True, lease=LEASE)
    await store.frontier.purge()
    await alerts.settle(claim)
    await alerts.remember(turn, b"?")
    assert await alerts.claim("x", True, lease=LEASE) is None
    assert await store.client.call("exists", store.keys.alerts) == 0


async def test_who_died(store):  # noqa: F811
    alerts = alerts_of(store, await store.join("here"))
    await store.reclaim(await store.join("killed"))
    left = await store.join("left")
    await store.workers.leave(left, "shutdown", keep_crawl=True)
    assert await alerts.dead({"here", "killed", "left", "never"}) == {"killed"}
    assert await alerts.dead(set()) == set()
