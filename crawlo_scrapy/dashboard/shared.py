"""Answers that all viewers of the page share, so that many cost Redis no more than one."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

#: What took long to find out is held this many times as long, up to a limit in seconds: a Redis
#: that is slow, or has much to tell, is asked less often.
PATIENCE, LONGEST = 50.0, 15.0
#: How long an error is held, in seconds.
RETRY = 1.0
#: Answers that nobody asked for in this time are forgotten, in seconds.
FORGET = 60.0
#: Answers that are kept at most; of more, those that were asked for last.
MOST = 1000


class _Answer:
    def __init__(self, look: Callable[[], Awaitable[Any]], hold: float, patience: float) -> None:
        self.asked = time.monotonic()
        self.until = float("inf")
        self.task = asyncio.ensure_future(self._find(look, hold, patience))
        # An error that nobody waits for any more is nobody's.
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _find(self, look: Callable[[], Awaitable[Any]], hold: float, patience: float) -> Any:
        begun = time.monotonic()
        try:
            found = await look()
        except BaseException:
            self.until = time.monotonic() + RETRY
            raise
        now = time.monotonic()
        self.until = now + max(hold, min(LONGEST, patience * (now - begun)))
        return found


class Shared:
    """Finds things out once for everybody who asks within a time."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()

    async def get(
        self,
        key: Hashable,
        look: Callable[[], Awaitable[T]],
        hold: float,
        patience: float = PATIENCE,
    ) -> T:
        """Return what *look* answered for *key*, at most *hold* seconds ago unless it took long.

        Who asks while *look* is at work waits for the same answer. An error is an answer, too,
        for `RETRY`.
        """
        now = time.monotonic()
        answer = self._answers.get(key)
        if answer is None or answer.until < now:
            answer = self._answers[key] = _Answer(look, hold, patience)
        answer.asked = now
        self._answers.move_to_end(key)
        self._forget(now)
        # One viewer who goes away takes the answer from nobody else.
        result: T = await asyncio.shield(answer.task)
        return result

    def clear(self) -> None:
        """Forget all answers: something was changed."""
        self._answers.clear()

    def _forget(self, now: float) -> None:
        while self._answers:
            oldest = next(iter(self._answers.values()))
            if len(self._answers) <= MOST and now - oldest.asked < FORGET:
                return
            self._answers.popitem(last=False)
