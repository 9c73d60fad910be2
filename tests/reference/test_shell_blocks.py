"""Every shell block of the document: run here, ``crawlo`` typed as ``crawlo-scrapy``, or named."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from tests.chaos.site import ChaosSite
from tests.reference.document import blocks, languages
from tests.servers import default_redis
from tests.waiting import missing, wait_until

PASSWORD = "your_password"
SHELL = blocks("bash")
#: The blocks that are run, by what they are about.
INSTALL, CONFIGURE, SERVICE, CONTROL, WORKER, WORKERS, MONITOR, TROUBLE, DOCKER = range(9)
RUN = {CONFIGURE, CONTROL, WORKER, WORKERS, MONITOR, TROUBLE}
#: Commands that are not run: how they begin, and why.
NOT_RUN = {
    "sudo apt-get": "changes the system; .ci/run installs Debian's Redis so",
    "sudo yum": "another system's packages",
    "brew": "another system's packages",
    "sudo nano": "an editor; the lines for the file are given to a server",
    "sudo systemctl": "no service manager runs here; tests start their own servers",
    "sudo ufw": "the machine's firewall, which no test looks at",
    "docker": "no Docker here; tests/cli/test_startproject.py follows the Dockerfile's steps",
}
#: What a user is told to do between the commands: comment -> how it is done here.
STEPS = {
    "# Configure settings_distributed.py": 'cp "$GIVEN/settings_distributed.py" .',
    "# Edit spider file": """
        crawlo-scrapy genspider myspider "$SITE"
        sed -i 's|^        pass$|        yield from response.follow_all(css="a")|' \
            distributed_project/spiders/myspider.py
        git init -q && git add -A && git commit -q -m project
        git clone -q --bare . ../distributed_project.git""",
    "# Configure worker_settings.py": 'cp "$GIVEN/worker_settings.py" .',
}


def commands(block: int) -> list[str]:
    lines = (line.strip() for line in SHELL[block].splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def reason_not_to_run(command: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def typed(text: str, port: int) -> str:
    """A block as a user here types it: our command, our Redis, and the steps in its comments."""
    for comment, step in STEPS.items():
        text = text.replace(comment, step)
    text = re.sub(r"^crawlo ", "crawlo-scrapy ", text, flags=re.MULTILINE)
    return text.replace("192.168.1.100", "127.0.0.1").replace("6379", str(port))


def test_every_block_is_run_or_named() -> None:
    assert len(SHELL) == DOCKER + 1
    for number in range(len(SHELL)):
        left = [c for c in commands(number) if reason_not_to_run(c) is None]
        assert bool(left) == (number in RUN), left


def test_every_language_of_the_document_has_its_tests() -> None:
    # mermaid draws a picture; the others: here, test_python_blocks, test_manifests.
    assert languages() == {"bash", "python", "dockerfile", "yaml", "mermaid"}


@pytest.fixture
def server() -> Iterator[LocalRedis]:
    with LocalRedis(binary=default_redis(), password=PASSWORD) as server:
        yield server


class Shell:
    """Bash sessions with our command on their PATH; those that still run are ended."""

    def __init__(self, folder: Path, port: int, **variables: str) -> None:
        self.folder, self.port = folder, port
        programs = folder / "bin"
        programs.mkdir()
        program = programs / "crawlo-scrapy"
        program.write_text(
            f"#!/bin/sh\nexec {sys.executable} -c "
            "'from crawlo_scrapy.cli import main; main()' \"$@\"\n"
        )
        program.chmod(0o755)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS"))}
        self.env = {
            **clean,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "REDISCLI_AUTH": PASSWORD,
            **variables,
        }
        self.sessions: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            session = subprocess.Popen(
                ["bash", "-e", "-c", script],
                cwd=cwd,
                env=self.env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.sessions.append(session)
        return session

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """One command to its end. A plain `redis-cli` finds our Redis."""
        script = f'redis-cli() {{ command redis-cli -p {self.port} "$@"; }}\n{command}'
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def end(self) -> None:
        for session in self.sessions:
            if session.poll() is None:
                os.killpg(session.pid, signal.SIGKILL)
            session.wait()


@pytest.fixture
def shell(tmp_path: Path, server: LocalRedis) -> Iterator[Shell]:
    shell = Shell(tmp_path, server.port)
    yield shell
    shell.end()


def test_a_server_takes_the_lines_of_its_configuration() -> None:
    lines = [c.split(" ", 1) for c in commands(CONFIGURE) if reason_not_to_run(c) is None]
    config: dict[str, list[str]] = {}
    for name, value in lines:
        config.setdefault(name, []).append(value)
    [password] = config.pop("requirepass")
    with LocalRedis(binary=default_redis(), password=password, config=config) as server:
        client = redis.Redis(port=server.port, password=password)
        assert client.config_get("save") == {"save": "900 1 300 10 60 10000"}
        client.close()
        with redis.Redis(port=server.port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()


@pytest.mark.parametrize(
    "command",
    [c for n in (MONITOR, TROUBLE) for c in commands(n) if reason_not_to_run(c) is None],
)
def test_looking_at_redis(shell: Shell, command: str) -> None:
    if shutil.which("redis-cli") is None:
        missing("redis-cli", "apt install redis-tools")
    done = shell.run(typed(command, shell.port))
    assert done.returncode == 0, done.stderr
    section = {"info": "redis_version:", "memory": "used_memory:", "clients": "connected_clients:"}
    assert section.get(command.split()[-1], "PONG") in done.stdout


def joined(log: Path) -> bool:
    return log.exists() and "Joined the crawl distributed_project:myspider" in log.read_text()


@pytest.mark.slow
def test_a_control_node_and_its_workers_are_one_crawl(
    tmp_path: Path, server: LocalRedis, shell: Shell
) -> None:
    """Blocks "Deploy Control Node", "Deploy Worker Nodes", "Start Multiple Worker Nodes"."""
    if shutil.which("git") is None:
        missing("git", "apt install git")
    given, control, nodes = (tmp_path / name for name in ("given", "control", "nodes"))
    for folder in (given, control, nodes):
        folder.mkdir()
    for name, block in zip(
        ("settings_distributed.py", "worker_settings.py"), blocks("python")[:2], strict=True
    ):
        assert block.startswith(f"# {name}\n")
        (given / name).write_text(typed(block, server.port))

    with ChaosSite(60, 0.05) as site:
        shell.env |= {
            "GIVEN": str(given),
            "SITE": site.url,
            # Else whoever comes first leases more than it can crawl in the time of this test.
            "CRAWLO_PREFETCH": "2",
            # What the document clones from is the control node's folder.
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": f"url.{control}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/your-org/",
            "GIT_CONFIG_KEY_1": "user.name",
            "GIT_CONFIG_VALUE_1": "test",
            "GIT_CONFIG_KEY_2": "user.email",
            "GIT_CONFIG_VALUE_2": "test@test.invalid",
        }
        logs = [tmp_path / f"{n}.log" for n in range(5)]
        shell.start(typed(SHELL[CONTROL], server.port), control, logs[0])
        wait_until(lambda: joined(logs[0]), "the control node has joined")
        shell.start(typed(SHELL[WORKER], server.port), nodes, logs[1])
        project = nodes / "distributed_project"
        wait_until(lambda: joined(logs[1]), "the first worker has joined")
        terminals = re.split(r"^# Terminal \d\n", SHELL[WORKERS], flags=re.MULTILINE)[1:]
        assert len(terminals) == 3
        for terminal, log in zip(terminals, logs[2:], strict=True):
            shell.start(typed(terminal, server.port), project, log)
        statuses = [session.wait(180) for session in shell.sessions]

    said = [log.read_text() for log in logs]
    assert statuses == [0] * 5, said
    for log in logs:
        assert joined(log), log.read_text()
        assert "Spider closed (finished)" in log.read_text()
    pages = {page: n for page, n in site.requests.items() if page.startswith(b"/page/")}
    assert len(pages) == 60
    assert set(pages.values()) == {1}
