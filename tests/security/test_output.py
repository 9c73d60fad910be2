"""What commands print of texts that a stranger wrote."""

from __future__ import annotations

import pytest

from crawlo_scrapy.cli.output import console, moment, plain, print_json, table
from crawlo_scrapy.dashboard import text

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b1m\u202e[red]b[/]\r"


def test_control_characters_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("name", "#count")
    rows.add_row(HOSTILE, "1")
    console().print(rows)
    console().print(f"There is no crawl {HOSTILE}.")
    print_json({"name": HOSTILE})
    said = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in said)
    assert said.count("\\x1b[2J") == 2
    assert "[red]b[/]" in said


def test_usual_texts_stay_as_they_are() -> None:
    assert plain("日本語 é\n\tx") == "日本語 é\n\tx"


@pytest.mark.parametrize("time", [10**30, -(10**30), 2**63, -1])
def test_times_that_are_none(time: int) -> None:
    assert moment(time)
    assert text.moment(time)
