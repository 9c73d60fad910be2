"""A pytest plugin for the run of scrapy-redis's tests: notes what becomes of each.

Also calls the method `setup` of a test class, which pytest did before version 8.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

import pytest

#: The environment variable that names the file to write.
REPORT = "SCRAPY_REDIS_SUITE_REPORT"

_found: list[dict[str, str]] = []


@pytest.fixture(autouse=True)
def old_setup(request: pytest.FixtureRequest) -> None:
    test = request.instance
    if hasattr(test, "setup") and not isinstance(test, TestCase):
        test.setup()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Call a test where it may wait for the reactor; pytest-twisted would call it in there."""
    names = pyfuncitem._fixtureinfo.argnames
    pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    if report.when == "call" or not report.passed:
        line = ""
        if call.excinfo is not None:
            inside = [entry for entry in call.excinfo.traceback if entry.path == item.path]
            line = str(inside[-1].statement).strip() if inside else str(call.excinfo.value)
        test = item.nodeid.rpartition("/")[2].partition("[")[0]
        _found.append({"test": test, "outcome": report.outcome, "line": line})
    return report


def pytest_sessionfinish() -> None:
    Path(os.environ[REPORT]).write_text(json.dumps(_found), "utf-8")
