from __future__ import annotations

import pytest

from crawlo_scrapy.config.environment import read_environment
from crawlo_scrapy.config.parse import OptionError
from tests.config.support import components, final


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("REDIS_HOST", "redis-service", "REDIS_HOST", "redis-service"),
        ("REDIS_PORT", "6380", "REDIS_PORT", 6380),
        ("REDIS_PASSWORD", "s3cret", "REDIS_PASSWORD", "s3cret"),
        ("REDIS_DB", "2", "REDIS_DB", 2),
        ("CONCURRENCY", "20", "CONCURRENCY", 20),
        ("PROJECT_NAME", "shop", "PROJECT_NAME", "shop"),
        ("CRAWLO_MODE", "auto", "RUN_MODE", "auto"),
        ("CRAWLO_REDIS_HOST", "other", "REDIS_HOST", "other"),
        ("CRAWLO_REDIS_URL", "redis://h/1", "REDIS_URL", "redis://h/1"),
        ("CRAWLO_DOWNLOAD_DELAY", "0.5", "DOWNLOAD_DELAY", 0.5),
        ("CRAWLO_RETRY_STATUS_CODES", "500,429", "RETRY_STATUS_CODES", [500, 429]),
        ("CRAWLO_MIDDLEWARES", '{"a.B": 5}', "MIDDLEWARES", {"a.B": 5}),
        ("CRAWLO_EXTENSIONS", "a.B,c.D", "EXTENSIONS", {"a.B": 500, "c.D": 501}),
        ("CRAWLO_SCHEDULER_PERSIST", "false", "SCHEDULER_PERSIST", False),
        ("CRAWLO_DEBUG", "1", "LOG_LEVEL", "DEBUG"),
        ("CRAWLO_ROLE", "worker", "CRAWLO_ROLE", "worker"),
        ("CRAWLO_CRAWL_ID", "monday", "CRAWLO_CRAWL_ID", "monday"),
        # Crawlo's sign, not Scrapy's.
        ("CRAWLO_DEPTH_PRIORITY", "1", "DEPTH_PRIORITY", -1),
        # What Kubernetes sets in every pod beside a Service named "redis".
        ("REDIS_PORT", "tcp://10.0.0.11:6381", "REDIS_PORT", 6381),
    ],
)
def test_variable(variable, text, name, value, monkeypatch):
    monkeypatch.setenv(variable, text)
    assert read_environment() == {name: value}
    settings = final()
    assert settings[name] == value or components(settings, name) == value


def test_prefixed_variable_wins(monkeypatch):
    monkeypatch.setenv("CRAWLO_CONCURRENCY", "5")
    monkeypatch.setenv("CONCURRENCY", "20")
    assert read_environment() == {"CONCURRENCY": 5}


def test_empty_is_not_set():
    assert read_environment({"REDIS_PASSWORD": "", "CONCURRENCY": " "}) == {}


@pytest.mark.parametrize(
    "variable", ["DOWNLOAD_DELAY", "LOG_LEVEL", "CRAWLO_TEST_SOMETHING", "SCHEDULER_PERSIST"]
)
def test_others_are_left_alone(variable):
    assert read_environment({variable: "nonsense"}) == {}


def test_faults_name_the_variables():
    with pytest.raises(OptionError) as caught:
        read_environment({"CRAWLO_CONCURRENCY": "many", "REDIS_PORT": "0"})
    assert "environment variable CRAWLO_CONCURRENCY" in str(caught.value)
    assert "environment variable REDIS_PORT" in str(caught.value)
