"""Names of scrapy-redis."""

from __future__ import annotations

import pytest

from crawlo_scrapy import connection
from crawlo_scrapy.config.scrapy_redis import PARAMS, SETTINGS, WITHOUT, notes
from crawlo_scrapy.settings import SETTINGS as OURS
from tests.config.support import final


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"host": "h", "port": 7, "db": 2, "username": "u", "password": "p"},
         {"REDIS_HOST": "h", "REDIS_PORT": 7, "REDIS_DB": 2, "REDIS_USER": "u",
          "REDIS_PASSWORD": "p"}),
        ({"url": "redis://h:1/2"}, {"REDIS_URL": "redis://h:1/2"}),
        ({"unix_socket_path": "/a b"}, {"REDIS_URL": "unix:///a%20b"}),
        ({"socket_timeout": 3, "max_connections": 5, "encoding": "latin1"},
         {"CRAWLO_REDIS_TIMEOUT": 3, "REDIS_CONNECTION_POOL_SIZE": 5, "REDIS_ENCODING": "latin1"}),
        ({"ssl": True, "ssl_ca_certs": "/ca", "ssl_cert_reqs": None},
         {"REDIS_TLS": True, "REDIS_TLS_CA_FILE": "/ca", "REDIS_TLS_VERIFY": False}),
        ({"ssl_cert_reqs": "required"}, {"REDIS_TLS_VERIFY": True}),
        ({"host": None}, {"REDIS_HOST": None}),
    ],
)  # fmt: skip
def test_params(given, expected):
    settings = final({"REDIS_PARAMS": given})
    assert {name: settings.get(name) for name in expected} == expected


def test_our_own_settings_win():
    settings = final({"REDIS_PARAMS": {"host": "a", "db": 3}, "REDIS_HOST": "b"})
    assert (settings["REDIS_HOST"], settings["REDIS_DB"]) == ("b", 3)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1", "redis://u:p%2F@h:1/4"),
        ("redis://me:mine@h:1/7", "redis://me:mine@h:1/7"),
        ("rediss://:mine@h", "rediss://u:mine@h:6379/4"),
        ("unix:///s", "unix:///s"),
    ],
)
def test_a_url_is_completed_as_redis_py_does(url, expected):
    params = {"username": "u", "password": "p/", "db": 4}
    assert final({"REDIS_URL": url, "REDIS_PARAMS": params})["REDIS_URL"] == expected


def test_passwords_are_not_shown():
    settings = final({"REDIS_PARAMS": {"host": "h", "password": "s3cr3t", "odd": "s3cr3t"}})
    assert "s3cr3t" not in str(connection.address(settings))
    assert "s3cr3t" not in str(notes(settings))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("LifoQueue", "lifo"), ("SpiderStack", "lifo"), ("FifoQueue", "fifo"),
        ("SpiderQueue", "fifo"), ("PriorityQueue", "fifo"), ("SpiderPriorityQueue", "fifo"),
    ],
)  # fmt: skip
def test_queue_class(name, order):
    given = {"SCHEDULER_QUEUE_CLASS": f"scrapy_redis.queue.{name}"}
    assert final(given)["CRAWLO_QUEUE_ORDER"] == order
    assert final({**given, "CRAWLO_QUEUE_ORDER": "fifo"})["CRAWLO_QUEUE_ORDER"] == "fifo"


def test_one_note_lists_what_has_no_effect():
    assert notes(final({"SCHEDULER_IDLE_BEFORE_CLOSE": 0, "REDIS_PARAMS": {}})) == []
    settings = final(
        {
            "SCHEDULER_SERIALIZER": "json", "SCHEDULER_IDLE_BEFORE_CLOSE": 9,
            "REDIS_PARAMS": {"retry_on_timeout": True, "redis_cls": "x.Y", "db": 1},
            "SCHEDULER_QUEUE_CLASS": "mine.Queue",
        }
    )  # fmt: skip
    [note] = notes(settings)
    for word in ("SCHEDULER_SERIALIZER", "SCHEDULER_IDLE_BEFORE_CLOSE", "mine.Queue",
                 "redis_cls, retry_on_timeout in REDIS_PARAMS"):  # fmt: skip
        assert word in note
    assert settings.get("CRAWLO_QUEUE_ORDER") is None


def test_the_tables_name_settings_of_ours():
    assert set(PARAMS.values()) <= set(OURS)
    assert not set(SETTINGS) & set(WITHOUT)
    same = [name for name, text in SETTINGS.items() if text.startswith("the same")]
    assert set(same) <= set(OURS)
