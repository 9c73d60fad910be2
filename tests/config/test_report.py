from __future__ import annotations

from pathlib import Path

from scrapy.settings import Settings

import crawlo_scrapy
from crawlo_scrapy.config.modes import PRESETS
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.places import CONFIG_FILE
from crawlo_scrapy.config.report import describe, options_rst
from tests.config.support import final


def described(**values):
    return {row.name: row for row in describe(Settings(values))}


def test_option_place_and_what_it_became(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "redis-service")
    settings = Settings({"MAX_RETRY_TIMES": 5, "BROWSER_HEADLESS": True, "REDIS_HSOT": "x"})
    settings.set("CONCURRENCY", "20", CONFIG_FILE)
    settings.set("MEMORY_LIMIT", "2GB", "cmdline")
    rows = {row.name: row for row in describe(settings)}
    assert (rows["REDIS_HOST"].value, rows["REDIS_HOST"].source) == (
        "'redis-service'",
        "environment",
    )
    assert rows["MAX_RETRY_TIMES"].source == "settings.py"
    assert rows["MAX_RETRY_TIMES"].becomes == "RETRY_TIMES = 5"
    assert rows["CONCURRENCY"].source == "config file"
    assert "CONCURRENT_REQUESTS_PER_DOMAIN = 20" in rows["CONCURRENCY"].becomes
    assert rows["MEMORY_LIMIT"].source == "command line"
    assert rows["BROWSER_HEADLESS"].becomes.startswith("nothing: Install scrapy-playwright")
    assert rows["REDIS_HSOT"].becomes == "nothing: did you mean REDIS_HOST?"
    assert "DOWNLOAD_DELAY" not in rows
    assert settings["REDIS_HOST"] is None


def test_secrets_are_hidden():
    rows = described(REQUIREPASS="hunter2", REDIS_URL="redis://:hunter2@h:1/0")
    assert "hunter2" not in repr(rows)
    assert rows["REDIS_URL"].value == "'redis://:****@h:1/0'"


def test_everything():
    rows = {row.name: row for row in describe(Settings(), everything=True)}
    assert OPTIONS.keys() <= rows.keys()
    assert "CRAWLO_ROLE" in rows
    assert (rows["CONCURRENCY"].value, rows["CONCURRENCY"].source) == ("16", "default")


def test_page_holds_every_option():
    page = options_rst()
    for name in OPTIONS:
        assert f"``{name}``" in page


def test_page_says_what_has_no_effect_yet():
    page = options_rst()
    for option in OPTIONS.values():
        row = page.partition(f"* - ``{option.name}``\n")[2].partition("* - ")[0]
        assert ("no effect in this version" in row) == (not option.has_reader), option.name


def test_page_explains_what_a_shared_crawl_sets():
    section = options_rst().partition("What a shared crawl sets besides")[2]
    for name, _, why in PRESETS:
        assert f"``{name}``" in section and why in section
    assert final({})["CONCURRENT_ITEMS"] == 8
    assert final({"CONCURRENT_ITEMS": 50})["CONCURRENT_ITEMS"] == 50


def test_an_option_of_ours_is_read():
    """Besides its row somebody names it, or the row says that nobody does."""
    package = Path(crawlo_scrapy.__file__).parent
    code = "".join(p.read_text() for p in package.rglob("*.py") if p.parent.name != "config")
    for option in OPTIONS.values():
        if option.kind == "ours" and option.has_reader and "Without effect" not in option.doc:
            assert code.count(f'"{option.name}"') >= 2, option.name
