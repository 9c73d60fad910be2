"""Where the example project is: beside the package in a checkout, or where a wheel put it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import click

_INSTALLED = "share/crawlo_scrapy/example_project/scrapy.cfg"


def example_project() -> Path:
    """Return the folder of the example project."""
    checkout = Path(__file__).resolve().parents[2] / "example_project"
    if (checkout / "scrapy.cfg").is_file():
        return checkout
    try:
        files = importlib.metadata.files("crawlo_scrapy") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(_INSTALLED) and (path := Path(str(file.locate()))).is_file():
            return path.resolve().parent
    raise click.ClickException(
        "the example project is not where the package was installed. Install crawlo_scrapy "
        "from its wheel with pip, or run the demo in a checkout of its repository."
    )


def shop_server(project: Path) -> Any:
    """Return the module of the server of the shop."""
    spec = importlib.util.spec_from_file_location("shopserver", project / "shopserver.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
