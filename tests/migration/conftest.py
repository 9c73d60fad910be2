"""Fixtures of the command line's tests."""

from tests.cli.conftest import crawlo, some_crawl

__all__ = ["crawlo", "some_crawl"]
