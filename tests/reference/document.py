"""The reference document's blocks and its table of options."""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCUMENT = Path(__file__).with_name("distributed_deployment.md")


def blocks(language: str) -> list[str]:
    """Every block of a language, in order, as it stands but for its indentation."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    return [
        "\n".join(line.removeprefix(indent) for line in text.splitlines()) + "\n"
        for indent, text in found
    ]


def languages() -> set[str]:
    """The languages that blocks are in."""
    return set(re.findall(r"^ *```(\w+)$", DOCUMENT.read_text(), re.MULTILINE))


def option_rows() -> list[tuple[str, str, object]]:
    """Name, type and default of the rows under "Configuration Options"."""
    rows = re.findall(r"^\| ([A-Z_]+) \| (\w+) \| (\S+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return [(name, type_, ast.literal_eval(default)) for name, type_, default in rows]
