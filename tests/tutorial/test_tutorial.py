"""docs/tutorial.rst, typed on two hosts: network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
import doctest
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.servers import default_redis
from tests.waiting import missing

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.rst"
HOSTS = {"control": "192.168.1.100", "worker": "192.168.1.101"}
BLOCK = re.compile(
    r"^\.\. code-block:: (console|python)\n(?:   :caption: (.*)\n)?\n((?:   .*\n|\n)+)", re.M
)
#: How long a command may go on saying something else than the page, in seconds.
PATIENCE = 30
#: How long one command may run, in seconds.
LONGEST = 240


@dataclass
class File:
    host: str
    path: str
    text: str


@dataclass
class Command:
    host: str
    text: str
    output: str = ""


def steps() -> list[File | Command]:
    """What the page tells to write and to type, in order."""
    found: list[File | Command] = []
    for language, caption, body in BLOCK.findall(TUTORIAL.read_text("utf-8")):
        text = textwrap.dedent(body).strip("\n") + "\n"
        if language == "python":
            host, _, path = caption.partition(": ")
            found.append(File(host, path, text))
            continue
        for line in text.splitlines():
            if typed := re.match(r"(\w+)\$ (.*)", line):
                found.append(Command(*typed.groups()))
            else:
                assert isinstance(found[-1], Command)
                found[-1].output += line + "\n"
    return found


def test_the_page_is_understood() -> None:
    found = steps()
    assert {step.host for step in found} == HOSTS.keys()
    assert len([step for step in found if isinstance(step, File)]) == 4
    assert TUTORIAL.read_text().count("$ ") >= len(found) - 4


class Host:
    """A shell in a network namespace, and a folder that is its home."""

    def __init__(self, namespace: str, home: Path, programs: Path) -> None:
        self.namespace, self.home = namespace, home
        home.mkdir()
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS"))}
        env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"
        env |= {f"GIT_{who}_{what}": "a@a.test" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
        self.log = home / "background.log"
        self._shell = subprocess.Popen(
            ["ip", "netns", "exec", namespace, "bash"],
            cwd=home,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, command: str) -> str:
        """Type a command and return what it says. Those in the background say it to a file."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        if command.endswith(" &"):
            command = f"{command[:-2]} >>{shlex.quote(str(self.log))} 2>&1 &"
        self._shell.stdin.write(f"{command}\nprintf '\\n<%s>\\n' end\n")
        self._shell.stdin.flush()
        said = []
        guard = threading.Timer(LONGEST, self._kill)
        guard.start()
        for line in self._shell.stdout:
            if line == "<end>\n":
                break
            said.append(line)
        guard.cancel()
        return "".join(said).removesuffix("\n")

    def _kill(self) -> None:
        """Kill the shell, and what it started in this namespace."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False
        )
        for pid in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def end(self) -> None:
        self._kill()
        self._shell.wait()
        for pipe in (self._shell.stdin, self._shell.stdout):
            assert pipe is not None
            pipe.close()


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()} (this test needs root on Linux)")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Our command, this Python and a Redis under the names that the page uses."""
    folder = tmp_path / "bin"
    folder.mkdir()
    ours = f"{sys.executable} -c 'from crawlo_scrapy.cli import main; main()'"
    for name, command in {
        "crawlo-scrapy": ours,
        "python": sys.executable,
        "redis-server": default_redis(),
    }.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def hosts(tmp_path: Path, programs: Path) -> Iterator[dict[str, Host]]:
    for program, package in {"ip": "iproute2", "redis-cli": "redis-tools", "git": "git"}.items():
        if shutil.which(program) is None:
            missing(program, f"apt install {package}")
    made: dict[str, Host] = {}
    unique = uuid4().hex[:6]
    names = {host: f"crawlo-{unique}-{host}" for host in HOSTS}
    try:
        for host, name in names.items():
            ip("netns", "add", name)
            made[host] = Host(name, tmp_path / host, programs)
        ends = {host: f"c{unique}{host[0]}" for host in HOSTS}
        ip("link", "add", ends["control"], "type", "veth", "peer", "name", ends["worker"])
        for host, name in names.items():
            ip("link", "set", ends[host], "netns", name)
            ip("-n", name, "address", "add", f"{HOSTS[host]}/24", "dev", ends[host])
            ip("-n", name, "link", "set", ends[host], "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for host in made.values():
            host.end()
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def as_said(wanted: str, said: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(wanted, said, flags)


@pytest.mark.slow
def test_the_transcript(hosts: dict[str, Host]) -> None:
    for step in steps():
        host = hosts[step.host]
        if isinstance(step, File):
            folder = Path(host.type("pwd").strip())
            (folder / step.path).write_text(step.text)
            continue
        said = first = host.type(step.text)
        deadline = time.monotonic() + PATIENCE
        while not as_said(step.output, said) and time.monotonic() < deadline:
            # What runs in the background may not be up yet: a person would try again, too.
            time.sleep(0.5)
            said = host.type(step.text)
        logs = [f"{name}: {h.log.read_text()}" for name, h in hosts.items() if h.log.exists()]
        assert as_said(step.output, said), "\n".join([step.text, first, said, *logs])
    items = [
        json.loads(line)["url"]
        for host in hosts.values()
        for line in (host.home / "distributed_project/items.jsonl").read_text().splitlines()
    ]
    assert len(items) == len(set(items)) == 60
