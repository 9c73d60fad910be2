"""The documentation builds without a warning, and its Python blocks are valid."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst"))]
BLOCKS = re.compile(
    r"^```python\n((?:.*\n)*?)^```|^\.\. code-block:: python\n\n((?:[ ]{3}.*\n|\n)+)", re.M
)


@pytest.mark.slow
def test_docs_build(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="pip install 'crawlo_scrapy[docs]'")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", ROOT / "docs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page: Path) -> None:
    text = page.read_text("utf-8").replace("\n   ```", "\n```")
    for markdown, rst in BLOCKS.findall(text):
        compile(textwrap.dedent(markdown or rst), page.name, "exec")
