from __future__ import annotations

import os

import pytest

from crawlo_scrapy.config.environment import PLAIN_NAMES


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Tests say themselves what the environment holds."""
    for name in list(os.environ):
        if name.startswith("CRAWLO_") or name in PLAIN_NAMES:
            monkeypatch.delenv(name)
