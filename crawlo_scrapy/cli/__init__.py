"""The command `crawlo-scrapy`; one command a file."""

from __future__ import annotations

import sys

_MISSING = (
    "Error: the command crawlo-scrapy needs the package {}. Run: pip install 'crawlo_scrapy[cli]'"
)


def main() -> None:
    """Run the command line. Never returns."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as exc:
        sys.exit(_MISSING.format(exc.name))
    from crawlo_scrapy.cli.app import run

    sys.exit(run())
