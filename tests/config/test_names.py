from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.settings import default_settings

from crawlo_scrapy.config.names import _KNOWN, near_miss
from crawlo_scrapy.settings import SettingError
from tests.config.support import final


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("REDIS_HSOT", "REDIS_HOST"),
        ("CONCURENCY", "CONCURRENCY"),
        ("CRAWLO_STRCT", "CRAWLO_STRICT"),
        ("REDIS_PASWORD", "REDIS_PASSWORD"),
        ("MY_OWN_SETTING", None),
        ("REDIS_HOST2", None),
        ("REDIS_HOST", None),
        ("ROBOTSTXT_OBEY", None),
        ("DEBUG", None),
    ],
)
def test_near_miss(name, meant):
    assert near_miss(name) == meant


@pytest.mark.parametrize("name", [n for n in vars(default_settings) if n.isupper()])
def test_scrapys_own_names_are_never_a_miss(name):
    assert near_miss(name) is None


@given(st.sampled_from([n for n in _KNOWN if len(n) > 6]), st.data())
def test_one_slip_is_found(name, data):
    at = data.draw(st.integers(1, len(name) - 2))
    slipped = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    if slipped in _KNOWN or slipped[-1].isdigit():
        return
    assert near_miss(slipped) is not None


def test_one_warning_lists_what_has_no_effect(caplog):
    final({"BROWSER_HEADLESS": True, "DEDUP_DEBUG": True, "PLAYWRIGHT_HEADLESS": False})
    (record,) = [r for r in caplog.records if "no effect" in r.message]
    assert "BROWSER_HEADLESS: Install scrapy-playwright" in record.message
    assert "DEDUP_DEBUG: Use crawlo_scrapy.pipelines" in record.message
    assert "PLAYWRIGHT_HEADLESS" in record.message


def test_option_whose_component_is_missing_is_told(caplog, monkeypatch):
    from crawlo_scrapy.config import option

    monkeypatch.setattr(option, "module_exists", lambda module: "bloom" not in module)
    final({"BLOOM_FILTER_CAPACITY": 5})
    assert "BLOOM_FILTER_CAPACITY: not in this version" in caplog.text


def test_name_that_another_package_shares_is_not_told(caplog):
    handler = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
    final({"PLAYWRIGHT_BROWSER_TYPE": "firefox", "DOWNLOAD_HANDLERS": {"https": handler}})
    final({"DOWNLOADER": "mine.Downloader"})
    assert "no effect" not in caplog.text


def test_did_you_mean(caplog, monkeypatch):
    monkeypatch.setenv("CRAWLO_CONCURENCY", "5")
    final({"REDIS_HSOT": "h"}, cmdline={"CONCURENCY": "4"})
    assert "REDIS_HSOT (settings.py): did you mean REDIS_HOST?" in caplog.text
    assert "CONCURENCY (command line): did you mean CONCURRENCY?" in caplog.text
    assert (
        "CRAWLO_CONCURENCY (environment variable): did you mean CRAWLO_CONCURRENCY?" in caplog.text
    )


def test_nothing_to_say(caplog):
    settings = final({"REDIS_HOST": "h", "MY_OWN_SETTING": 1})
    assert settings["MY_OWN_SETTING"] == 1
    assert "no effect" not in caplog.text and "did you mean" not in caplog.text


@pytest.mark.parametrize("name", ["BROWSER_HEADLESS", "REDIS_HSOT"])
def test_strict_mode_refuses(name):
    with pytest.raises(SettingError, match=name):
        final({name: "x", "CRAWLO_STRICT": True})
