"""What may stand in CRAWLO_ALERTS."""

from __future__ import annotations

import pytest
from scrapy.settings import Settings

from crawlo_scrapy.alerts.rules import KINDS, Rule, rules_of
from crawlo_scrapy.settings import SettingError

HOOKS = {"CRAWLO_ALERT_WEBHOOK_URLS": ["http://a.test/x"], "CRAWLO_ALERT_MAIL_TO": "a@b,c@d"}


def rules(value, **more):
    return rules_of(Settings({"CRAWLO_ALERTS": value, **more}))


def test_none_by_default():
    assert rules_of(Settings()) == []
    assert rules([]) == rules("") == []


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ("finished", Rule("finished", {}, 300)),
        ("node_lost quiet=60", Rule("node_lost", {}, 60)),
        (
            "error_rate",
            Rule("error_rate", {"above": 0.1, "seconds": 300, "at_least": 20}, 300),
        ),
        (
            {"when": "error_rate", "above": 0.5, "seconds": "60", "at_least": 1},
            Rule("error_rate", {"above": 0.5, "seconds": 60, "at_least": 1}, 300),
        ),
        ("memory above=1.5GB", Rule("memory", {"above": 1.5 * 2**30}, 300)),
        ({"when": "memory", "above": 1000}, Rule("memory", {"above": 1000}, 300)),
        ("queue_growth seconds=10", Rule("queue_growth", {"above": 10_000, "seconds": 10}, 300)),
    ],
)
def test_an_entry(entry, rule):
    assert rules([entry]) == [rule]
    if isinstance(entry, str):
        assert rules(entry) == [rule]


def test_who_is_told():
    [rule] = rules([{"when": "finished", "to": ["mail", "log"]}], **HOOKS)
    assert rule.to == {"mail", "log"}
    [rule] = rules("finished to=webhook+mail", **HOOKS)
    assert rule.to == {"webhook", "mail"}
    [rule] = rules("finished", **HOOKS)
    assert rule.to == frozenset()


def test_texts():
    """From the environment or the command line a list comes as text."""
    assert rules("finished, node_lost quiet=5,") == rules(["finished", "node_lost quiet=5"])
    assert rules('["finished", {"when": "dead_letters", "above": 5}]') == rules(
        ["finished", "dead_letters above=5"]
    )


def test_the_quiet_of_all():
    assert [rule.quiet for rule in rules("finished", CRAWLO_ALERT_QUIET=7)] == [7]


def test_a_rule_is_known_by_its_figures_and_not_by_who_is_told():
    [one] = rules("no_progress seconds=60 to=log quiet=1")
    assert one.name == "no_progress seconds=60"


WRONG = [
    ("error_rte", "rule 1 (error_rte): there is no rule 'error_rte'; did you mean error_rate?"),
    ("hm", f"there is no rule 'hm'; there are: {', '.join(KINDS)}"),
    ("finished over=5", "there is no figure 'over'; there are: quiet, to"),
    ("error_rate abov=5", "there is no figure 'abov'; did you mean above?"),
    ("no_progress 5", "'5' is not of the form NAME=VALUE"),
    ("no_progress seconds=soon", "seconds must be a number, not 'soon'"),
    ("no_progress seconds=0", "seconds must be more than 0"),
    ("no_progress seconds=nan", "seconds must not be below 0, or infinite"),
    ("dead_letters above=-1", "above must not be below 0, or infinite"),
    ("memory", "above is missing, such as above='1.5GB'"),
    ("memory above=much", "above must be a size such as '1.5GB', not 'much'"),
    ("finished to=slack", "it is for slack, and CRAWLO_ALERT_SLACK_URLS is not set"),
    ("finished to=pager", "there is no channel 'pager'; there are: log, webhook, slack, mail"),
    ("finished to=log,finished", "rule 2 (finished): it stands there twice"),
    ([5], "rule 1 (5): must be a name or a dict"),
    ([{"when": "memory", "above": True}], "above must be a size such as '1.5GB', not True"),
    ([{"above": 5}], "rule 1 (?): there is no rule ''"),
    ("[1", "CRAWLO_ALERTS is not valid JSON"),
    (5, "CRAWLO_ALERTS must be a list of rules, not int"),
    ({"when": "finished"}, "CRAWLO_ALERTS must be a list of rules, not dict"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_what_is_wrong_is_said(value, message):
    with pytest.raises(SettingError) as caught:
        rules(value)
    assert message in str(caught.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingError) as caught:
        rules("hm, finished, memory")
    first, *others = str(caught.value).splitlines()
    assert first == "CRAWLO_ALERTS: 2 rules are wrong:"
    assert [line.split(":")[0] for line in others] == ["  rule 1 (hm)", "  rule 3 (memory)"]
