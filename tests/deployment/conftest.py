"""A generated project, and the command in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawlo_scrapy.cli.startproject import write_project
from tests.cli.conftest import crawlo

__all__ = ["crawlo"]

#: A name that neither Kubernetes nor Docker takes as it is.
PROJECT = "My_shop"


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """The folder of a new project."""
    write_project(tmp_path / PROJECT, PROJECT, "distributed")
    return tmp_path / PROJECT
