"""Scrapy's tools never join a crawl."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scrapy import cmdline
from scrapy.settings import Settings, default_settings

from crawlo_scrapy.config import tools
from tests.config.support import final

OURS = "crawlo_scrapy.scheduler.RedisScheduler"


@pytest.fixture
def run(monkeypatch):
    """Run a Scrapy command up to where it would start; return what `running_tool` says there."""

    def run(command, *arguments):
        seen = []

        class Process:
            def __init__(self, settings):
                seen.append(tools.running_tool())

        for name in ("CrawlerProcess", "AsyncCrawlerProcess"):
            monkeypatch.setattr(cmdline, name, Process, raising=False)
        monkeypatch.setattr(cmdline, "_run_command", lambda *a: seen.append(tools.running_tool()))
        monkeypatch.setattr(cmdline, "inside_project", lambda: True)
        with pytest.raises(SystemExit):
            cmdline.execute(["scrapy", command, *arguments], Settings())
        return seen

    return run


@pytest.mark.parametrize("command", tools.TOOLS)
def test_tool_is_seen(run, command):
    before, during = run(command)
    assert before is during
    assert type(during).__module__ == f"scrapy.commands.{command}"


@pytest.mark.parametrize("command", ["crawl", "runspider", "list"])
def test_other_commands_are_not_tools(run, command):
    assert set(run(command)) == {None}


def test_script_is_not_a_tool():
    assert tools.running_tool() is None


def test_check_is_seen_by_its_variable(monkeypatch):
    monkeypatch.setenv("SCRAPY_CHECK", "true")
    assert tools.running_tool()


class Tool:
    default_settings = {"DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter"}


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr("crawlo_scrapy.addon.running_tool", Tool)


def test_tool_gets_scrapys_components_and_the_options(tool, caplog):
    settings = final(
        {
            "SCHEDULER": OURS,
            "DUPEFILTER_CLASS": "crawlo_scrapy.dupefilter.RedisDupeFilter",
            "SPIDER_MIDDLEWARES": {"crawlo_scrapy.spidermiddlewares.SeedMiddleware": 1, "m.M": 2},
            "EXTENSIONS": {"crawlo_scrapy.extensions.stats.StatsExtension": 1, "m.M": 2},
            "MAX_RETRY_TIMES": 7,
            "BROWSER_HEADLESS": True,
        }
    )
    assert settings["SCHEDULER"] == default_settings.SCHEDULER
    assert settings["DUPEFILTER_CLASS"] == "scrapy.dupefilters.BaseDupeFilter"
    assert settings["STATS_CLASS"] == default_settings.STATS_CLASS
    assert dict(settings["SPIDER_MIDDLEWARES"]) == {"m.M": 2}
    assert dict(settings["EXTENSIONS"]) == {"m.M": 2}
    assert settings["RETRY_TIMES"] == 7
    assert not caplog.records


def test_tool_keeps_what_the_command_set(tool):
    command = {"DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter"}
    assert final(command=command)["DUPEFILTER_CLASS"] == command["DUPEFILTER_CLASS"]


PROJECT = {
    "scrapy.cfg": "[settings]\ndefault = shop.settings\n",
    "page.html": "a page",
    "shop/__init__.py": "",
    "shop/settings.py": (
        'SPIDER_MODULES = ["shop.spiders"]\n'
        'ADDONS = {"crawlo_scrapy.Addon": 500}\n'
        # A port where nothing listens: whoever joins fails.
        "REDIS_PORT = 1\n"
        "TELNETCONSOLE_ENABLED = False\n"
    ),
    "shop/spiders/__init__.py": "",
    "shop/spiders/s.py": (
        "import scrapy\n"
        "class S(scrapy.Spider):\n"
        "    name = 's'\n"
        "    start_urls = ['data:,start']\n"
        "    def parse(self, response):\n"
        '        """Has a contract.\n'
        "        @url data:,contract\n"
        '        @returns items 1\n        """\n'
        "        scheduler = type(self.crawler.engine._slot.scheduler).__module__\n"
        "        print('SCHEDULER', scheduler)\n"
        "        yield {'scheduler': scheduler}\n"
    ),
}


@pytest.fixture
def project(tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["shell", "PAGE", "--spider", "s", "-c", "settings['SCHEDULER']"], "core.scheduler"),
        (["fetch", "--spider", "s", "PAGE"], "a page"),
        (["parse", "--spider", "s", "PAGE"], "SCHEDULER scrapy.core.scheduler"),
        (["check", "s"], "SCHEDULER scrapy.core.scheduler"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_tool_works_without_redis(project: Path, arguments, expected):
    page = (project / "page.html").as_uri()
    arguments = [page if argument == "PAGE" else argument for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert expected in done.stdout, done.stderr
    assert "Joined the crawl" not in done.stderr and "cannot be reached" not in done.stderr
    assert done.returncode == 0


def test_crawl_does_join(project: Path):
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "crawl", "s"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Redis at 127.0.0.1:1/0 cannot be reached" in done.stderr
    assert "SCHEDULER" not in done.stdout
