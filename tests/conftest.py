"""Fixtures that every test may use."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from uuid import uuid4

import pytest

from crawlo_scrapy.localserver import LocalRedis
from tests.aio import run_async
from tests.servers import default_redis
from tests.site import Site


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function in the event loop of the asyncio reactor."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    run_async(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """A Redis for the whole run (with pytest-xdist: of this worker). Do not stop it."""
    with LocalRedis(binary=default_redis()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: LocalRedis) -> str:
    """The address of `redis_server`. Others use it too: keep to the keys of `project`."""
    return redis_server.url


@pytest.fixture
def project() -> str:
    """A project name that no other test has, and thereby a key prefix of one's own."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def site() -> Iterator[Site]:
    """A site that runs in the event loop of the test."""
    site = run_async(Site().start())
    yield site
    run_async(site.stop())
