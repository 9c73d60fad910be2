"""Fixtures that every test may use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from crawlo_scrapy.localserver import LocalRedis
from tests import backends
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, or a worker of pytest-xdist is alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_backends.py")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """A Redis for the whole run (with pytest-xdist: of this worker). Do not stop it."""
    with LocalRedis(binary=default_redis()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of `redis_server`. Others use it too: keep to the keys of `project`.

    Stands for another Redis if CRAWLO_TEST_BACKEND says so: see tests/backends.py.
    """
    if (name := backends.chosen()) is None:
        yield request.getfixturevalue("redis_server").url
        return
    with backends.started(name) as backend:
        yield backend


@pytest.fixture
def project() -> str:
    """A project name that no other test has, and thereby a key prefix of one's own."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Any]:
    """A MariaDB for the whole run, or what CRAWLO_TEST_MYSQL_URL names. Do not stop it."""
    from tests.databases import GivenMySQL, MariaDB

    if url := os.environ.get("CRAWLO_TEST_MYSQL_URL"):
        yield GivenMySQL(url)
        return
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb() -> Iterator[Any]:
    """A MongoDB-compatible server for the whole run. Do not stop it."""
    from tests.databases import MongoServer

    with MongoServer() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb_uri(request: pytest.FixtureRequest) -> str:
    """The address of `mongodb`, or CRAWLO_TEST_MONGODB_URI."""
    given = os.environ.get("CRAWLO_TEST_MONGODB_URI")
    return given or str(request.getfixturevalue("mongodb").uri)


@pytest.fixture
def target() -> str:
    """A name for a table or a collection that no other test has."""
    return f"items_{uuid4().hex[:12]}"


@pytest.fixture
def site() -> Iterator[Site]:
    """A site that runs in the event loop of the test."""
    site = run_async(Site().start())
    yield site
    run_async(site.stop())
