"""Many viewers, one look."""

from __future__ import annotations

import asyncio

import pytest

from crawlo_scrapy.dashboard import shared
from crawlo_scrapy.dashboard.shared import Shared


class Looks:
    """Something to find out: counts how often."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def look(self) -> int:
        self.count += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.count


async def test_all_who_ask_meanwhile_wait_for_one_look() -> None:
    looks, answers = Looks(), Shared()
    looks.gate.clear()
    asking = [asyncio.ensure_future(answers.get("a", looks.look, 60)) for _ in range(20)]
    await asyncio.sleep(0)
    looks.gate.set()
    assert await asyncio.gather(*asking) == [1] * 20
    assert await answers.get("a", looks.look, 60) == 1
    assert await answers.get("b", looks.look, 60) == 2


async def test_looks_again_after_its_time() -> None:
    looks, answers = Looks(), Shared()
    assert await answers.get("a", looks.look, 0, patience=0) == 1
    await asyncio.sleep(0.001)
    assert await answers.get("a", looks.look, 0, patience=0) == 2


async def test_what_took_long_is_held_longer() -> None:
    answers = Shared()

    async def slow() -> object:
        await asyncio.sleep(0.02)
        return object()

    first = await answers.get("a", slow, 0, patience=1e6)
    await asyncio.sleep(0.001)
    assert await answers.get("a", slow, 0, patience=1e6) is first


async def test_a_viewer_who_goes_takes_the_answer_from_nobody() -> None:
    looks, answers = Looks(), Shared()
    looks.gate.clear()
    gone = asyncio.ensure_future(answers.get("a", looks.look, 60))
    stays = asyncio.ensure_future(answers.get("a", looks.look, 60))
    await asyncio.sleep(0)
    gone.cancel()
    looks.gate.set()
    assert await stays == 1


async def test_an_error_is_shared() -> None:
    looks, answers = Looks(), Shared()
    looks.error = ValueError("away")
    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            await answers.get("a", looks.look, 60)
    assert looks.count == 1


async def test_after_an_error_it_looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "RETRY", 0.0)
    looks, answers = Looks(), Shared()
    looks.error = ValueError("away")
    with pytest.raises(ValueError, match="away"):
        await answers.get("a", looks.look, 60)
    looks.error = None
    await asyncio.sleep(0.001)
    assert await answers.get("a", looks.look, 60) == 2


async def test_keeps_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MOST", 3)
    looks, answers = Looks(), Shared()
    for number in range(10):
        await answers.get(number, looks.look, 60)
    assert len(answers._answers) == 3
    assert await answers.get(9, looks.look, 60) == 10
