"""run and the commands about a project: what Scrapy does, and what is added."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import EXAMPLE, Command

SPIDER = """
import scrapy

class {name}Spider(scrapy.Spider):
    name = "{name}"
    start_urls = ["data:text/html,<h1>{name}</h1>"]

    def parse(self, response):
        heading = response.css("h1::text").get()
        yield {{"name": self.name, "heading": heading, "x": getattr(self, "x", "")}}
"""


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of a shop."""
    words = [sys.executable, str(EXAMPLE / "shopserver.py"), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def small(crawlo: Command, tmp_path: Path) -> Path:
    """A project with two spiders that need no network."""
    assert crawlo("startproject", "small", "simple", cwd=tmp_path).returncode == 0
    for name in ("one", "two"):
        path = tmp_path / "small/small/spiders" / f"{name}.py"
        path.write_text(SPIDER.format(name=name))
    return tmp_path / "small"


def test_runs_a_spider_in_a_shared_crawl(
    crawlo: Command, redis_url: str, project: str, shop: str, tmp_path: Path
) -> None:
    done = crawlo(
        "run", "shop", "--json", "-s", f"CRAWLO_CRAWL_ID={project}", "-s", f"SHOP_URL={shop}",
        "-s", f"ITEMS_FILE={tmp_path}/i.jsonl", "-s", "CLOSESPIDER_PAGECOUNT=30",
        "--concurrency", "4", CRAWLO_REDIS_URL=redis_url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["spider"] == "shop"
    assert report["finish_reason"] == "closespider_pagecount"
    assert report["pages"] >= 30
    assert report["stats"]["scheduler/enqueued/redis"] > 0
    purged = crawlo("purge", "shop", "--yes", "--crawl-id", project, CRAWLO_REDIS_URL=redis_url)
    assert "Purged" in purged.stdout


def test_run_says_that_redis_is_away(crawlo: Command, tmp_path: Path) -> None:
    words = ["run", "shop", "-s", f"ITEMS_FILE={tmp_path}/i.jsonl"]
    done = crawlo(*words, CRAWLO_REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == 1
    assert "Cannot take part in the crawl: Redis at 127.0.0.1:1 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_arguments_and_output(crawlo: Command, small: Path) -> None:
    done = crawlo(
        "run", "one", "-a", "x=a=b", "--output-file", "items", "--output-format", "jsonlines",
        "--log-level", "warning", "--log-file", "one.log", "--no-stats", cwd=small,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    item = json.loads((small / "items").read_text())
    assert item == {"name": "one", "heading": "one", "x": "a=b"}
    assert (small / "one.log").read_text() == ""


def test_all_spiders(crawlo: Command, small: Path) -> None:
    done = crawlo("run", "all", "--json", "-s", "MAX_RUNNING_SPIDERS=1", cwd=small)
    assert done.returncode == 0, done.stderr
    assert {(r["spider"], r["finish_reason"], r["items"]) for r in json.loads(done.stdout)} == {
        ("one", "finished", 1),
        ("two", "finished", 1),
    }


def test_config_file_beats_settings_and_the_command_line_beats_it(
    crawlo: Command, small: Path
) -> None:
    (small / "my.py").write_text(
        "from crawlo.config import CrawloConfig\n"
        "config = CrawloConfig.distributed(project_name='p', concurrency=31)\n"
    )
    words = ["run", "one", "--dry-run", "--json", "--config", "my.py"]
    facts = json.loads(crawlo(*words, cwd=small / "small").stdout)
    assert (facts["crawl"], facts["mode"], facts["concurrency"]) == ("p:one", "distributed", 31)
    facts = json.loads(crawlo(*words, "--concurrency", "5", cwd=small).stdout)
    assert facts["concurrency"] == 5
    facts = json.loads(crawlo(*words, cwd=small, CONCURRENCY="7").stdout)
    assert facts["concurrency"] == 7


def test_list_and_check(crawlo: Command, small: Path) -> None:
    assert crawlo("list", cwd=small).stdout == "one\ntwo\n"
    assert [s["name"] for s in json.loads(crawlo("list", "--json", cwd=small).stdout)] == [
        "one",
        "two",
    ]
    report = json.loads(crawlo("check", "one", "--json", cwd=small).stdout)
    assert (report["ok"], report["spiders"]) == (True, ["one"])


def test_shell_joins_no_crawl(crawlo: Command) -> None:
    done = crawlo("shell", "--nolog", "-c", "crawler.settings['SCHEDULER']")
    assert done.stdout.strip() == "scrapy.core.scheduler.Scheduler", done.stderr


def test_settings_hide_secrets(crawlo: Command) -> None:
    done = crawlo("settings", "shop", REDIS_PASSWORD="hush", CONCURRENCY="9")
    assert "hush" not in done.stdout
    assert "environment" in done.stdout
    rows = {
        row["name"]: row for row in json.loads(crawlo("settings", "--json", CONCURRENCY="9").stdout)
    }
    assert rows["CONCURRENCY"]["value"] == "9"


def test_help_version_completion(crawlo: Command) -> None:
    assert "requeue" in crawlo("help", "dead-letters").stdout
    assert crawlo("help", "dead-letters", "requeue").stdout.startswith("Usage: ")
    assert "Scrapy" in json.loads(crawlo("version", "--json").stdout)
    for name in ("bash", "zsh", "fish"):
        assert "_CRAWLO_SCRAPY_COMPLETE" in crawlo("completion", name).stdout
