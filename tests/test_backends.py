"""The tests of store and scheduler against every kind of Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import BACKENDS, BINARIES, VARIABLE
from tests.servers import redis_binaries

ROOT = Path(__file__).parents[1]
STORE = [
    f"tests/store/test_{name}.py"
    for name in ("dead_letters", "forgetting", "frontier", "life", "limits", "purge", "scripts",
                 "seen", "seen_choice", "seen_expiry", "slots", "workers")
]  # fmt: skip
SCHEDULER = ["tests/test_scheduler.py"]


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKENDS)
def test_store_and_scheduler(name: str) -> None:
    if name in BINARIES and BINARIES[name] not in redis_binaries():
        pytest.skip(f"no {name}")
    # The worker's user may not do all that the store's tests do to look at things.
    files = SCHEDULER if name == "acl" else [*STORE, *SCHEDULER]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files],
        cwd=ROOT, env={**env, VARIABLE: name}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
