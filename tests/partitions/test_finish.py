"""A divided crawl is finished when it is, and not before."""

from __future__ import annotations

import random

import pytest

from crawlo_scrapy.store import partitions
from crawlo_scrapy.store.dead_letters import DeadLetters
from tests.partitions.conftest import COUNT, Divided, request


async def test_an_empty_one(divided: Divided) -> None:
    await divided.join()
    assert await divided.finish() == "", "nobody has seeded it"
    await divided.seeded()
    assert await divided.finish() == "finished"
    assert await divided.meta("state") == "finished"


@pytest.mark.parametrize("number", range(COUNT))
async def test_work_in_any_partition(divided: Divided, number: int) -> None:
    await divided.join()
    await divided.seeded()
    await divided.exchange(number, "w1", [request(number)])
    assert await divided.finish() == "", "it is queued"
    [lease] = (await divided.exchange(number, limit=5)).leases
    assert await divided.finish() == "", "it is leased"
    await divided.exchange(number, "w1", [request(number, "y", delay_ms=60_000)], [lease.id])
    assert await divided.finish() == "", "its child is delayed"
    await divided.client.call("unlink", divided.parts[number].delayed)
    assert await divided.finish() == "finished"


@pytest.mark.parametrize("moment", range(2 * COUNT + 1))
async def test_a_request_that_moves_between_the_looks(
    divided: Divided, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Its parent is in one partition and acked after it is in another, at any moment."""
    await divided.join()
    await divided.seeded()
    await divided.exchange(2, "w1", [request(2)])
    [lease] = (await divided.exchange(2, limit=5)).leases
    done = 0
    run = partitions.run

    async def step() -> None:
        nonlocal done
        if done == moment:
            await divided.exchange(1, "w1", [request(1, "child")])
            await divided.exchange(2, "w1", [], [lease.id])
        done += 1

    async def one_by_one(client, *calls):  # type: ignore[no-untyped-def]
        replies = []
        for call in calls:
            await step()
            replies += await run(client, call)
        return replies

    monkeypatch.setattr(partitions, "run", one_by_one)
    assert await divided.finish() == ""
    while done <= moment:
        await step()
    assert await divided.finish() == ""
    monkeypatch.undo()
    [child] = (await divided.exchange(1, limit=5)).leases
    assert await divided.finish() == ""
    await divided.exchange(1, "w1", [], [child.id])
    assert await divided.finish() == "finished"


async def test_what_came_in_after_the_looks(divided: Divided, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A program pushes to another partition when all were found empty, and says so at home."""
    await divided.join()
    await divided.seeded()
    quiet = partitions.quiet

    async def and_then(client, parts):  # type: ignore[no-untyped-def]
        moment = await quiet(client, parts)
        await divided.exchange(1, "w1", [request(1)])
        await partitions.note(divided.client, divided.keys)
        return moment

    monkeypatch.setattr(partitions, "quiet", and_then)
    assert await divided.finish() == ""
    assert await divided.meta("state") == "running"


async def test_what_came_in_after_the_end(divided: Divided) -> None:
    await divided.join()
    await divided.seeded()
    assert await divided.finish() == "finished"
    await divided.exchange(1, "w1", [request(1)])
    await partitions.note(divided.client, divided.keys)
    assert await divided.meta("state") == "running"
    assert await divided.finish() == ""


async def test_a_dead_letter_that_comes_back(divided: Divided) -> None:
    await divided.join()
    await divided.seeded()
    letters = DeadLetters(divided.client, divided.parts[1])
    await letters.bury_request(divided.members["w1"][1], "l", request(1), "failed", "")
    assert await divided.finish() == "finished"
    home = DeadLetters(divided.client, divided.keys)
    [letter] = [letter async for letter in home.list()]
    assert await home.requeue([letter.id]) == 1
    assert await divided.meta("state") == "running"
    assert await divided.finish() == ""


@pytest.mark.parametrize("seed", range(10))
async def test_random_crawls_end_once_all_is_done(divided: Divided, seed: int) -> None:
    """A worker goes its way and asks after each step whether the crawl is finished."""
    choice = random.Random(seed)
    await divided.join()
    await divided.seeded()
    await divided.exchange(0, "w1", [request(0, "start")])
    left, made, held = 1, 0, []
    while left:
        number = choice.randrange(COUNT)
        held += [(number, lease.id) for lease in (await divided.exchange(number, limit=1)).leases]
        assert await divided.finish() == ""
        if held and choice.random() < 0.5:
            home, lease_id = held.pop(choice.randrange(len(held)))
            for _ in range(choice.randrange(3) if made < 30 else 0):
                made, left = made + 1, left + 1
                target = choice.randrange(COUNT)
                await divided.exchange(target, "w1", [request(target, f"c{made}")])
            assert await divided.finish() == ""
            await divided.exchange(home, "w1", [], [lease_id])
            left -= 1
    assert await divided.finish() == "finished"
