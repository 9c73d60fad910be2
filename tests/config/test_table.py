from __future__ import annotations

import csv
from pathlib import Path

import pytest
from scrapy.settings import default_settings

from crawlo_scrapy.config.convert import CONVERTERS, scrapy_has
from crawlo_scrapy.config.option import module_exists
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.settings import SETTINGS
from tests.reference.document import option_rows

CSV = Path(__file__).with_name("crawlo_options.csv")


def test_every_option_of_crawlo_has_a_row():
    with CSV.open(newline="") as file:
        names = {row["name"] for row in csv.DictReader(file)}
    assert names - OPTIONS.keys() == set()


def test_every_option_of_the_document_has_a_row_of_its_type_and_default():
    for name, type_, default in option_rows():
        assert OPTIONS[name].type == type_
        assert SETTINGS[name].default == default


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_row_is_whole(option):
    assert option.doc[0].isupper() or option.doc.partition(":")[0] in option.choices
    assert "@" not in option.name
    if option.kind == "mapped":
        assert option.how in CONVERTERS
        assert option.doc.endswith(".")
    elif option.kind == "ours":
        assert option.name in SETTINGS
        assert option.reader.startswith("crawlo_scrapy.")
    else:
        assert not option.doc.endswith(".")


@pytest.mark.skipif(
    not scrapy_has("DOWNLOAD_DELAY_JITTER"), reason="older Scrapy does not list all its settings"
)
def test_a_target_is_a_setting_of_scrapy_or_ours():
    known = {*vars(default_settings), *SETTINGS, *OPTIONS}
    for option in OPTIONS.values():
        assert set(option.targets) <= known, option.name


def test_a_module_that_is_not_there_is_not_a_reader():
    assert module_exists("crawlo_scrapy.config.option")
    assert not module_exists("crawlo_scrapy.nothing")
    assert not module_exists("crawlo_scrapy.nothing.inside")
