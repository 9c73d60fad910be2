"""Databases that the tests of a run share. Each test has tables and collections of its own."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.databases import MariaDB, MongoServer


@pytest.fixture(scope="session")
def mariadb():
    """A MariaDB for the whole run. Do not stop it."""
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def mongodb():
    """A MongoDB-compatible server for the whole run. Do not stop it."""
    with MongoServer() as server:
        yield server


@pytest.fixture
def target():
    """A name for a table or a collection that no other test has."""
    return f"items_{uuid4().hex[:12]}"
