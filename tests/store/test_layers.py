"""The store stands alone, and its scripts say what they need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import crawlo_scrapy.store

FOLDER = Path(crawlo_scrapy.store.__file__).parent
SCRIPTS = sorted(FOLDER.glob("lua/*.lua"))

#: Commands that Redis 6.2 does not have, and commands that reach beyond one crawl.
FORBIDDEN = {"FCALL", "LMPOP", "ZMPOP", "SINTERCARD", "HEXPIRE", "FLUSHALL", "FLUSHDB", "KEYS"}


def test_the_store_does_not_import_scrapy() -> None:
    modules = [f"crawlo_scrapy.store.{path.stem}" for path in FOLDER.glob("*.py")]
    code = f"import sys, {', '.join(m for m in modules if '__init__' not in m)}\n"
    code += "assert 'scrapy' not in sys.modules and 'twisted' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_have_a_header_and_are_short(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0].startswith("-- ")
    if not script.stem.startswith("_"):
        header = [line for line in lines if line.startswith("--")]
        for word in ("KEYS:", "ARGV:", "Returns"):
            if word != "ARGV:" or "ARGV" in script.read_text():
                assert any(word in line for line in header), word
    assert sum(1 for line in lines if line and not line.startswith("--")) <= 75


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_keep_to_old_commands_and_spell_no_key(script: Path) -> None:
    source = script.read_text()
    commands = {name.upper() for name in re.findall(r"redis\.call\('(\w+)'", source)}
    assert not commands & FORBIDDEN
    assert "crawlo:" not in source


def test_fragments_are_used_and_exist() -> None:
    sources = [script.read_text() for script in SCRIPTS]
    used = {name for s in sources for name in re.findall(r"^--#include (\w+)$", s, re.M)}
    assert used == {script.stem for script in SCRIPTS if script.stem.startswith("_")}
