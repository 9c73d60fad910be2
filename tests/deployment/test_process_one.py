"""A worker as process 1, as in a container: it gets SIGTERM and leaves cleanly."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from crawlo_scrapy.localserver import LocalRedis
from tests.chaos.site import ChaosSite
from tests.cli.conftest import Command
from tests.crawling import Peek
from tests.waiting import wait_until

PAGES = 60
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child=SIGKILL", "--"]
OURS = [sys.executable, "-c", "from crawlo_scrapy.cli import main; main()"]
SPIDER = """
import scrapy


class PagesSpider(scrapy.Spider):
    name = "pages"

    async def start(self):
        yield scrapy.Request({url!r})

    def parse(self, response):
        yield from response.follow_all(css="a")
"""

Start = Callable[..., "subprocess.Popen[str]"]


def words_of_dockerfile(folder: Path, instruction: str) -> list[str]:
    """The command after CMD or HEALTHCHECK … CMD, in exec form: no shell is process 1."""
    [line] = re.findall(
        rf"^{instruction}.*?(\[.*\])$", (folder / "Dockerfile").read_text(), re.MULTILINE
    )
    words: list[str] = json.loads(line)
    return words


@pytest.fixture
def start(deployed: Path, redis_server: LocalRedis, project: str) -> Iterator[Start]:
    """Start a command of ours as process 1 of a namespace of its own."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*UNSHARE, "true"], check=False).returncode
    ):
        pytest.skip("no PID namespace can be made here: run as root on Linux, with unshare")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS_"))}
    env = {
        **clean,
        "REDIS_PORT": str(redis_server.port),
        "PROJECT_NAME": project,
        "CRAWLO_DOWNLOAD_DELAY": "0.02",
        "CRAWLO_CRAWL_ID": "one",
        "CONCURRENCY": "2",
    }
    started: list[subprocess.Popen[str]] = []

    def start(words: list[str], **variables: str) -> subprocess.Popen[str]:
        assert words[0] == "crawlo-scrapy"
        started.append(
            subprocess.Popen(
                [*UNSHARE, *OURS, *words[1:]],
                cwd=deployed,
                env={**env, **variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()  # and with it, process 1
        process.communicate()


def process_one(unshare: subprocess.Popen[str]) -> int:
    """The number of the namespace's process 1 out here."""
    wait_until(lambda: psutil.Process(unshare.pid).children(), "unshare has forked")
    [child] = psutil.Process(unshare.pid).children()
    status = Path(f"/proc/{child.pid}/status").read_text()
    [numbers] = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid")]
    assert numbers[-1] == "1"
    return child.pid


def add_spider(folder: Path, text: str) -> None:
    (folder / "My_shop/spiders/pages.py").write_text(text)


@pytest.mark.slow
def test_the_images_command_leaves_cleanly(
    start: Start, deployed: Path, crawlo: Command, redis_server: LocalRedis, project: str
) -> None:
    command = words_of_dockerfile(deployed, "CMD")
    with ChaosSite(PAGES, 0.05) as site:
        add_spider(deployed, SPIDER.format(url=site.url))
        worker = start(command, CRAWLO_DOWNLOAD_DELAY="0.5")
        pid = process_one(worker)
        wait_until(lambda: len(site.requests) > 4, "some pages are fetched")
        probe = words_of_dockerfile(deployed, "HEALTHCHECK")
        health = crawlo(
            *probe[1:], cwd=deployed, REDIS_PORT=str(redis_server.port), PROJECT_NAME=project
        )
        assert health.stdout.startswith("alive"), health.stderr
        os.kill(pid, signal.SIGTERM)
        said, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0, said
        assert "Spider closed (shutdown)" in said

        peek = Peek(redis_server.url, project, "pages", "one")
        assert peek.leased() == []
        assert peek.redis.zcard(peek.keys.workers) == 0
        assert 0 < peek.number("acked") < PAGES
        assert peek.queued()

        # The next one does the rest, and nothing twice.
        said, _ = start(command).communicate(timeout=120)
        assert "Spider closed (finished)" in said
        pages = {path: n for path, n in site.requests.items() if path.startswith(b"/page/")}
        assert len(pages) == PAGES
        assert set(pages.values()) == {1}
    peek.redis.delete(*peek.all_keys())
    peek.redis.close()


@pytest.mark.slow
@pytest.mark.parametrize("spider", ["pages", "all"])
def test_status_of_a_worker_that_is_stopped_before_the_end(
    start: Start, deployed: Path, spider: str
) -> None:
    """A Kubernetes Job would take status 0 for "completed"."""
    with ChaosSite(PAGES, 0.05) as site:
        add_spider(deployed, SPIDER.format(url=site.url))
        words = ["crawlo-scrapy", "run", spider, "--config", "worker_settings.py"]
        worker = start([*words, "--stopped-status", "143"])
        pid = process_one(worker)
        wait_until(lambda: len(site.requests) > 3, "some pages are fetched")
        os.kill(pid, signal.SIGTERM)
        said, _ = worker.communicate(timeout=60)
        assert worker.returncode == 143, said
        assert "Spider closed (shutdown)" in said


def test_sigterm_before_scrapy_listens(start: Start, deployed: Path) -> None:
    """The kernel spares process 1 a signal that it has no handler for."""
    marker = deployed / "imported"
    add_spider(
        deployed, f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(600)\n"
    )
    worker = start(words_of_dockerfile(deployed, "CMD"))
    pid = process_one(worker)
    wait_until(marker.exists, "the spider is being imported")
    os.kill(pid, signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 143
