"""Coroutines in tests: the reactor runs already, so they are given to its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest_twisted
from twisted.internet.defer import Deferred

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* in the reactor's event loop and return its result. For sync fixtures too."""
    task = asyncio.get_event_loop().create_task(coroutine)
    result: T = pytest_twisted.blockon(Deferred.fromFuture(task))
    return result
