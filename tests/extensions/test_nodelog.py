"""What log lines look like, and which handler Scrapy's log has."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scrapy import Spider
from scrapy.settings import BaseSettings, Settings
from scrapy.utils import log

from crawlo_scrapy.connection import node_id
from crawlo_scrapy.extensions import nodelog
from crawlo_scrapy.extensions.logfile import RotatingLog
from crawlo_scrapy.settings import SettingError
from tests.config.support import final

logger = logging.getLogger("mine")


@pytest.fixture(autouse=True)
def scrapys_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scrapy's log as a new process has it, and afterwards as it was."""
    monkeypatch.setattr(
        log, "_get_handler", getattr(log._get_handler, "__wrapped__", log._get_handler)
    )
    monkeypatch.setattr(log, "_scrapy_root_handler", None)
    level = logging.root.level
    before = list(logging.root.handlers)
    yield
    for handler in set(logging.root.handlers) - set(before):
        logging.root.removeHandler(handler)
        handler.close()
    logging.root.setLevel(level)
    nodelog._waiting.clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings({"CRAWLO_NODE_ID": "n1", "LOG_FILE": str(tmp_path / "logs" / "x.log")})


def lines(file: str | Path) -> list[str]:
    return Path(file).read_text().splitlines()


class TestNode:
    def test_is_the_same_for_all_of_a_process(self, monkeypatch):
        name = node_id(Settings())
        assert node_id(Settings()) == name
        assert str(os.getpid()) in name
        monkeypatch.setattr(os, "getpid", lambda: -7)
        assert node_id(Settings()) != name

    def test_given(self):
        assert node_id(Settings({"CRAWLO_NODE_ID": "n1"})) == "n1"

    @pytest.mark.parametrize(
        ("form", "expected"),
        [
            (
                "%(asctime)s [%(name)s]: %(message)s",
                "%(asctime)s [%(node)s] [%(name)s]: %(message)s",
            ),
            ("%(message)s", "[%(node)s] %(message)s"),
            ("%(node)s %(asctime)s %(message)s", "%(node)s %(asctime)s %(message)s"),
            (None, f"[%(node)s] {logging.BASIC_FORMAT}"),
        ],
    )
    def test_format(self, form, expected):
        assert nodelog.with_node(form) == expected


class TestLines:
    def test_name_the_node(self, settings):
        settings["LOG_INCLUDE_NODE_ID"] = True
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        logger.info("hello")
        [line] = lines(settings["LOG_FILE"])
        assert line.endswith("[n1] [mine] INFO: hello")

    def test_node_where_the_format_wants_it(self, settings):
        settings["LOG_FORMAT"] = "%(message)s of %(node)s"
        nodelog.settle(settings, "s")  # there is no log of Scrapy's: nothing happens
        assert not Path(settings["LOG_FILE"]).exists()
        log.install_scrapy_root_handler(settings)
        logger.info("hello")
        logger.info("bye", extra={"node": "elsewhere"})
        assert lines(settings["LOG_FILE"]) == ["hello of n1", "bye of elsewhere"]

    def test_crawlos_name_of_the_node(self, settings):
        del settings["CRAWLO_NODE_ID"]
        settings.update({"WORKER_ID": "w1", "LOG_FORMAT": "%(node)s"})
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        logger.info("hello")
        assert lines(settings["LOG_FILE"]) == ["w1"]

    def test_json(self, settings):
        settings.update({"LOG_JSON": True, "LOG_MAX_BYTES": 10_000})
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        spider = Spider("s")
        spider.logger.warning("two\nlines é", extra={"order": 5, "made": object, "time": "mine"})
        try:
            raise ValueError("because")
        except ValueError:
            logger.exception("failed", stack_info=True)
        first, second = map(json.loads, lines(settings["LOG_FILE"]))
        assert first.pop("time").endswith("+00:00")
        assert first == {
            "level": "WARNING", "logger": "s", "node": "n1", "spider": "s",
            "message": "two\nlines é", "order": 5, "made": str(object),
        }  # fmt: skip
        assert "ValueError: because" in second["exception"]
        assert "Stack" in second["stack"]
        assert second["spider"] is None

    def test_level_and_short_names_are_scrapys(self, settings):
        settings.update({"LOG_MAX_BYTES": 1000, "LOG_LEVEL": "WARNING", "LOG_SHORT_NAMES": True})
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        logging.getLogger("scrapy.core").info("no")
        logging.getLogger("scrapy.core").error("yes")
        [line] = lines(settings["LOG_FILE"])
        assert line.endswith("[scrapy] ERROR: yes")


class TestFile:
    def test_name(self, settings, tmp_path):
        settings["LOG_FILE"] = str(tmp_path / "{project}" / "{spider}-{node}.log")
        settings["PROJECT_NAME"] = "shop/1"
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        logger.info("before there is a spider")
        logger.debug("and another")
        assert not list(tmp_path.iterdir())
        nodelog.settle(settings, "s")
        logger.info("later")
        assert settings["LOG_FILE"] == str(tmp_path / "shop_1" / "s-n1.log")
        said = [line.partition(": ")[2] for line in lines(settings["LOG_FILE"])]
        assert said == ["before there is a spider", "and another", "later"]
        assert settings.getpriority("LOG_FILE") == 20

    # Scrapy before 2.19 does not close the handler that it puts away.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_made_again_from_frozen_settings(self, settings):
        """As Scrapy does when a crawl starts."""
        settings.update({"LOG_MAX_BYTES": 10_000, "LOG_FILE_APPEND": False})
        nodelog.settle(settings, "s")
        log.install_scrapy_root_handler(settings)
        nodelog.settle(settings, "s")
        logger.info("one")
        settings.freeze()
        log.install_scrapy_root_handler(settings)
        logger.info("two")
        assert [line[-3:] for line in lines(settings["LOG_FILE"])] == ["one", "two"]
        assert [type(h) for h in logging.root.handlers].count(RotatingLog) == 1

    def test_backup_count_of_zero_is_no_rotation(self, settings):
        settings.update({"LOG_MAX_BYTES": 10, "LOG_BACKUP_COUNT": 0})
        assert not nodelog.asked_for(settings)

    def test_scrapys_own_handler_where_nothing_is_asked_for(self, settings, tmp_path):
        settings["LOG_FILE"] = str(tmp_path / "x.log")
        nodelog.hook()
        log.install_scrapy_root_handler(settings)
        assert type(log.get_scrapy_root_handler()) is logging.FileHandler
        assert not log.get_scrapy_root_handler().filters

    def test_other_logging_is_left_alone(self, tmp_path):
        """A program that has set its logging up itself, and a crawler in it."""
        before = list(logging.root.handlers)
        made = final({"LOG_FILE": str(tmp_path / "{spider}.log"), "LOG_MAX_BYTES": 100})
        assert made["LOG_FILE"] == str(tmp_path / "test.log")
        assert logging.root.handlers == before
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("name", "said"),
        [("{host}.log", r"LOG_FILE holds \{host\}; known are"), ("x.log/y", "cannot write to")],
    )
    def test_that_cannot_be(self, settings, tmp_path, name, said, capsys):
        (tmp_path / "x.log").touch()
        settings.update({"LOG_FILE": str(tmp_path / name), "LOG_FORMAT": "%(node)s %(message)s"})
        nodelog.hook()
        log.install_scrapy_root_handler(settings)  # before there is a crawler
        logger.info("hello")
        assert capsys.readouterr().err == "n1 hello\n"
        with pytest.raises(SettingError, match=said):
            nodelog.settle(settings, "s")

    def test_a_scrapy_that_is_built_differently(self, settings, monkeypatch, caplog):
        log.install_scrapy_root_handler(BaseSettings({"LOG_LEVEL": "INFO"}))
        monkeypatch.delattr(log, "_get_handler")
        settings["LOG_JSON"] = True
        nodelog.settle(settings, "s")
        assert "LOG_JSON and LOG_MAX_BYTES have no effect" in caplog.text


def test_no_crawl_came_of_it(tmp_path: Path) -> None:
    """What waited for the spider's name is told when the process ends."""
    script = """
import logging
from scrapy.crawler import CrawlerProcess
CrawlerProcess({"ADDONS": {"crawlo_scrapy.Addon": 1}, "LOG_FILE": "{spider}.log"})
logging.getLogger("mine").error("nothing to crawl")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert "ERROR:mine:nothing to crawl" in done.stderr
    assert not list(tmp_path.iterdir())
