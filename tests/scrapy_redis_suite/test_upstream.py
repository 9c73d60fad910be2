"""The tests of scrapy-redis on our classes: each ends as docs/migration says."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.scrapy_redis_suite.suite import UPSTREAM, Result, run_suite

pytest.importorskip("scrapy_redis")

DOCS = UPSTREAM.parents[2] / "docs"
with (DOCS / "scrapy_redis_tests.csv").open(encoding="utf-8", newline="") as _table:
    ROWS = {f"{row['File']}.{row['Test']}": row for row in csv.DictReader(_table)}
WHY = "How, or why not"

#: In which line those fail that differ: for the reason that the table has, and no other.
FAILS_AT = {
    "TestGetRedis.test_custom_class": "assert server is client_cls.return_value",
    "TestGetRedis.test_from_url": "assert server is client_cls.from_url.return_value",
    "TestFromSettings.test_redis_cls_custom_path": "assert isinstance(server, mock.Mock)",
    "TestFromSettings.test_default_params": "assert server is self.redis_cls.return_value",
    "TestFromSettings.test_override_default_params": "assert server is self.redis_cls.return_value",
    "TestRFPDupeFilter.test_clear_deletes": "self.df.clear()",
    "TestRFPDupeFilter.test_close_calls_clear": "self.df.clear = mock.Mock(wraps=self.df.clear)",
    "TestFromMethods.test_from_settings": "df = RFPDupeFilter.from_settings(self.settings)",
    "TestFromMethods.test_from_crawler": "assert df.server is get_redis_from_settings.return_value",
    "TestBaseQueue.test_custom_serializer": "assert serializer.dumps.call_count == 1",
    "SchedulerTest.test_scheduler_persistent": "self.spider.log.assert_has_calls(",
    "ConnectionTest.test_redis_default": 'self.assertEqual(connect_args["host"], "localhost")',
    "TestRedisMixin_setup_redis.test_via_from_crawler": "assert myspider.server is server",
}


def _by_row(results: dict[str, Result]) -> dict[str, Result]:
    return {test.replace(".py::", ".").replace("::", "."): r for test, r in results.items()}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("here")
    return _by_row(run_suite(folder, "tests.scrapy_redis_suite.face"))


def test_all_pass_on_scrapy_redis_and_are_in_the_table(tmp_path: Path) -> None:
    results = _by_row(run_suite(tmp_path))
    assert set(results) == set(ROWS)
    assert {test for test, found in results.items() if found.outcomes != {"passed"}} == set()


@pytest.mark.parametrize("test", ROWS)
def test_each_ends_as_the_table_says(here: dict[str, Result], test: str) -> None:
    row, found = ROWS[test], here[test]
    assert row["Here"] in ("passes", "adapted", "differs", "no counterpart")
    assert bool(row[WHY]) == (row["Here"] != "passes")
    if row["Here"] == "differs":
        [line] = found.lines
        assert line.splitlines()[0] == FAILS_AT[row["Test"]]
    elif row["Here"] != "no counterpart":
        assert found.outcomes == {"passed"}


def test_the_page_has_the_table_and_counts_right() -> None:
    text = " ".join((DOCS / "migration.rst").read_text("utf-8").split())
    assert ".. csv-table:: :file: scrapy_redis_tests.csv" in text
    number = Counter(row["Here"] for row in ROWS.values())
    assert (
        f"Of its {len(ROWS)} tests {number['passes'] + number['adapted']} pass, "
        f"{number['adapted']} of them with an adapter of which the table speaks, "
        f"{number['differs']} differ, and {number['no counterpart']} have no counterpart here."
    ) in text
