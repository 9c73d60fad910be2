"""What tests do when a server is not there, or not yet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
import redis

#: How long a cluster, a replica or a failover may take, in seconds.
FORM_TIMEOUT = 60.0


def missing(what: str, install: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything must be there."""
    message = f"{what} is missing: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def wait_until(holds: Callable[[], object], what: str, timeout: float = FORM_TIMEOUT) -> None:
    """Return once *holds* is true. A connection that fails meanwhile counts as "not yet"."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if holds():
                return
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, OSError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(0.02)
