"""Dead letters: kept, requeued, purged."""

from __future__ import annotations

from tests.store.conftest import Store, names, push


async def test_bury_and_requeue(store: Store) -> None:
    member = await store.join()
    result = await store.frontier.exchange(member, [push("a", priority=3)], limit=1)
    lease_id = result.leases[0].id
    letters = store.dead_letters
    assert await letters.bury_lease(member, lease_id, "decode", "no \x00 \ud7ff good")
    assert not await letters.bury_lease(member, lease_id, "decode", "again")
    [letter] = [letter async for letter in letters.list()]
    assert (letter.reason, letter.priority, letter.payload) == ("decode", 3, b"a")
    assert letter.worker == "w1"
    assert await letters.requeue([letter.id, "unknown"]) == 1
    again = await store.frontier.exchange(member, limit=9)
    assert names(again) == ["a"]
    assert (again.leases[0].attempts, again.leases[0].suspect) == (0, True)


async def test_a_request_that_never_was_queued(store: Store) -> None:
    member = await store.join()
    await store.dead_letters.bury_request(member, "x1", push("a"), "fingerprint", "boom")
    assert await store.dead_letters.count() == 1
    assert await store.dead_letters.purge(["x1", "x2"]) == 1
    assert await store.dead_letters.count() == 0
