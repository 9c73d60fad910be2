from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.parse import OptionError, parse, parse_all
from tests.config.support import final

BAD = [
    ("CONCURRENCY", 0, "a whole number of at least 1"),
    ("CONCURRENCY", "many", "a whole number"),
    ("CONCURRENCY", True, "a whole number"),
    ("CONCURRENCY", 1.5, "a whole number"),
    ("DOWNLOAD_DELAY", -1, "a number of at least 0"),
    ("REDIS_PORT", 70000, "from 1 to 65535"),
    ("REDIS_DB", -1, "at least 0"),
    ("REDIS_HOST", "redis://h", "REDIS_URL"),
    ("REDIS_HOST", ["h"], "a string"),
    ("REDIS_URL", "h:6379", "redis://"),
    ("REDIS_CLUSTER_NODES", ["h"], "192.168.1.100:7000"),
    ("REDIS_CLUSTER_NODES", ["h:0"], "192.168.1.100:7000"),
    ("RETRY_STATUS_CODES", [5], "HTTP status"),
    ("RETRY_STATUS_CODES", "abc", "HTTP status"),
    ("RANDOM_RANGE", [1.5, 0.5], "the lower first"),
    ("RANDOM_RANGE", 1, "two numbers"),
    ("MEMORY_LIMIT", "2 apples", "'2GB'"),
    ("MEMORY_WARNING_THRESHOLD", 101, "from 0 to 100"),
    ("LOG_LEVEL", "LOUD", "CRITICAL"),
    ("RUN_MODE", "cluster", "standalone, distributed, auto"),
    ("VERIFY_SSL", "perhaps", "True or False"),
    ("MIDDLEWARES", 5, "a list of import paths"),
    ("DOWNLOAD_DELAY_OVERRIDES", ["a"], "a dict"),
    ("CRAWLO_ROLE", "boss", "auto, control, worker"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_fault_says_option_value_place_and_what_is_allowed(name, value, allowed):
    with pytest.raises(ValueError) as caught:
        final({name: value})
    text = str(caught.value)
    assert f"{name} (settings.py) is" in text
    assert allowed in text


def test_all_faults_are_in_one_error():
    with pytest.raises(OptionError) as caught:
        final({"CONCURRENCY": 0, "REDIS_PORT": "x", "LOG_LEVEL": "LOUD"})
    faults = {fault.name for fault in caught.value.faults}
    assert faults == {"CONCURRENCY", "REDIS_PORT", "LOG_LEVEL"}
    assert str(caught.value).count("\n") == 3


def test_a_secret_is_not_in_the_error():
    with pytest.raises(OptionError) as caught:
        final({"REDIS_PASSWORD": ["hunter2"], "REDIS_URL": "http://u:hunter2@h"})
    assert "hunter2" not in str(caught.value)


GOOD = [
    ("REDIS_PORT", "6380", 6380),
    ("REDIS_PASSWORD", 12345, "12345"),
    ("REDIS_CLUSTER_NODES", "a:1,b:2", ["a:1", "b:2"]),
    ("REDIS_CLUSTER_NODES", '["a:1", "b:2"]', ["a:1", "b:2"]),
    ("REDIS_CLUSTER_NODES", [("a", 1)], [("a", 1)]),
    ("REDIS_SENTINEL_URLS", ["redis://:p@a:26379/0"], ["redis://:p@a:26379/0"]),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_LEVEL", 10, 10),
    ("RUN_MODE", "AUTO", "auto"),
    ("RETRY_HTTP_CODES", 500, [500]),
    ("VERIFY_SSL", "no", False),
    ("DOWNLOAD_DELAY_OVERRIDES", '{"a": 1}', {"a": 1}),
]


@pytest.mark.parametrize(("name", "value", "expected"), GOOD)
def test_good(name, value, expected):
    assert parse(OPTIONS[name], value) == expected


@given(
    st.sampled_from(sorted(OPTIONS)),
    st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text()),
)
def test_any_value_parses_or_is_a_fault(name, value):
    parsed, faults = parse_all({name: value})
    assert value is None or (name in parsed) != bool(faults)


@given(st.integers(1, 4000), st.sampled_from(["MB", "M", "MiB", " mb"]))
def test_sizes(number, unit):
    assert parse(OPTIONS["MEMORY_LIMIT"], f"{number}{unit}") == number
    assert parse(OPTIONS["MEMORY_LIMIT"], number * 2**20) == number
