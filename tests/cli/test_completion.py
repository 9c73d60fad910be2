"""The completion script, in the shells that are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import EXAMPLE

#: What is typed, and what the shell must offer.
CASES = [
    ("st", {"status"}),
    ("dead-letters re", {"requeue"}),
    ("run --conc", {"--concurrency"}),
    ("run --log-level w", {"warning"}),
    ("run sh", {"shop"}),
    ("startproject x high", {"high-performance"}),
]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Variables with which the shell finds our command."""
    program = tmp_path / "crawlo-scrapy"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from crawlo_scrapy.cli import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def shell(words: list[str], script: str, env: dict[str, str]) -> list[str]:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(
        [*words, script], cwd=EXAMPLE, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_bash(env: dict[str, str], typed: str, offered: set[str]) -> None:
    words = ["crawlo-scrapy", *typed.split()]
    found = shell(
        ["bash", "--norc", "-c"],
        f"""
        source <(crawlo-scrapy completion bash)
        complete -p crawlo-scrapy >/dev/null || exit 1
        COMP_WORDS=({" ".join(words)})
        COMP_CWORD={len(words) - 1}
        function=$(complete -p crawlo-scrapy | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$function" crawlo-scrapy "${{COMP_WORDS[COMP_CWORD]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """,
        env,
    )
    assert offered <= {word.lower() for word in found}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("startp", "startproject"), ("run --config scrapy.c", "scrapy.cfg")],
)
def test_bash_at_a_terminal(env: dict[str, str], typed: str, completed: str) -> None:
    """With the tab key. Names of files are completed by bash itself."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    ours, its = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "-i"],
        cwd=EXAMPLE,
        env={**env, "TERM": "dumb", "PS1": "$ "},
        stdin=its, stdout=its, stderr=its,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(its)
        os.write(ours, b"source <(crawlo-scrapy completion bash); echo re''ady\n")
        read_until(ours, "ready")
        os.write(ours, f"crawlo-scrapy {typed}\t".encode())
        read_until(ours, completed)
        process.kill()
    os.close(ours)


def read_until(terminal: int, text: str) -> None:
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 4096).decode()


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_fish(env: dict[str, str], typed: str, offered: set[str]) -> None:
    found = shell(
        ["fish", "--no-config", "-c"],
        f"crawlo-scrapy completion fish | source; complete -C 'crawlo-scrapy {typed}'",
        env,
    )
    assert offered <= {word.lower() for word in found}


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_zsh(env: dict[str, str], typed: str, offered: set[str]) -> None:
    """The script is taken, and what it asks the command for is offered."""
    words = ["crawlo-scrapy", *typed.split()]
    found = shell(
        ["zsh", "-f", "-c"],
        f"""
        autoload -Uz compinit && compinit -u -D
        source <(crawlo-scrapy completion zsh)
        [[ -n "$_comps[crawlo-scrapy]" ]] || exit 1
        COMP_WORDS="{" ".join(words)}" COMP_CWORD={len(words) - 1} \\
            _CRAWLO_SCRAPY_COMPLETE=zsh_complete crawlo-scrapy
        """,
        env,
    )
    assert offered <= {word.lower() for word in found}
