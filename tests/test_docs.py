"""The documentation builds without a warning, its Python runs, and it names what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from crawlo_scrapy.cli.app import COMMANDS
from crawlo_scrapy.cli.startproject import write_project

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.rst"))]
MARKDOWN = re.compile(r"^( *)```python\n(.*?)^\1```", re.M | re.S)
RST = re.compile(r"^\.\. code-block:: python\n\n((?:[ ]{3}.*\n|\n)+)", re.M)
STAT = re.compile(r"inc_value\(\s*f?\"([^\"]+)\"")


def blocks() -> list[Any]:
    """The Python blocks of all pages, each with the name of its page."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        codes = [code for _, code in MARKDOWN.findall(text)] + RST.findall(text)
        found += [
            pytest.param(textwrap.dedent(code), id=f"{page.name}-{number}")
            for number, code in enumerate(codes, 1)
        ]
    return found


@pytest.mark.slow
def test_docs_build(tmp_path: Path) -> None:
    if not os.environ.get("CI"):
        for module in ("sphinx", "furo"):
            pytest.importorskip(module, reason="pip install 'crawlo_scrapy[docs]'")
    # -E: nothing of an earlier build may hide a warning.
    command = [sys.executable, "-m", "sphinx", "-W", "-E", "-q", "-b", "html", DOCS, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_are_python_blocks() -> None:
    assert len(blocks()) >= 3


@pytest.mark.parametrize("code", blocks())
def test_python_block_runs(code: str) -> None:
    exec(compile(code, "block", "exec"), {"__name__": "settings"})


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.rst").read_text("utf-8")
    assert [name for name in COMMANDS if f"``{name}" not in text] == []


def test_every_count_is_documented() -> None:
    text = (DOCS / "stats.rst").read_text("utf-8")
    keys = {
        key
        for module in (ROOT / "crawlo_scrapy").rglob("*.py")
        for key in STAT.findall(module.read_text("utf-8"))
    }
    assert len(keys) > 10
    # What is filled in at run time stands there by its fixed part.
    assert sorted(key for key in keys if key.partition("{")[0] not in text) == []


def test_every_deployment_file_is_documented(tmp_path: Path) -> None:
    text = (DOCS / "deployment.rst").read_text("utf-8")
    write_project(tmp_path / "shop", "shop", "default")
    kinds = {".yml", ".yaml", ".service"}
    names = [p.name for p in (tmp_path / "shop").rglob("*") if p.suffix in kinds]
    names += ["Dockerfile", "worker_settings.py", "settings_distributed.py"]
    assert [name for name in names if name.replace("shop-", "NAME-") not in text] == []


def test_relative_links_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []
