"""Every Python block of the document, executed as it stands, and what it makes of the settings."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from scrapy.settings import Settings

from crawlo_scrapy import connection
from crawlo_scrapy.config.files import apply_config_file
from tests.config.support import final
from tests.reference.document import blocks

SCHEDULER = "crawlo_scrapy.scheduler.RedisScheduler"
DUPEFILTER = "crawlo_scrapy.dupefilter.RedisDupeFilter"


def settings_of(text: str, folder: Path):
    """The final settings of a project that has nothing but this file, given by --config."""
    file = folder / "config.py"
    file.write_text(text)
    settings = Settings()
    apply_config_file(settings, file)
    return final({}, settings=settings)


def is_shared(settings) -> bool:
    return settings["SCHEDULER"] == SCHEDULER and settings["DUPEFILTER_CLASS"] == DUPEFILTER


def control_node(settings):
    assert is_shared(settings)
    address = connection.address(settings)
    assert (address.host, address.port, address.db) == ("192.168.1.100", 6379, 0)
    assert address.password == "your_password"
    assert str(connection.keys(settings, "myspider").name) == "distributed_project:myspider"
    assert settings["CONCURRENT_REQUESTS"] == settings["CONCURRENT_REQUESTS_PER_DOMAIN"] == 10
    assert settings["DOWNLOAD_DELAY"] == 1.0


def worker_node(settings):
    assert is_shared(settings)
    assert connection.address(settings).host == "192.168.1.100"
    assert str(connection.keys(settings, "myspider").name) == "distributed_project:myspider"
    assert settings["CONCURRENT_REQUESTS"] == settings["CONCURRENT_REQUESTS_PER_DOMAIN"] == 20
    assert settings["DOWNLOAD_DELAY"] == 0.5


def adjust_concurrency(settings):
    # Two configurations in one block: the last is the file's.
    assert is_shared(settings)
    assert settings["CONCURRENT_REQUESTS"] == settings["CONCURRENT_REQUESTS_PER_DOMAIN"] == 30


def optimize_redis(settings):
    assert is_shared(settings)
    assert connection.address(settings).max_connections == 50
    assert settings["REDIS_CLUSTER_NODES"] == [
        "192.168.1.100:7000",
        "192.168.1.101:7000",
        "192.168.1.102:7000",
    ]


def load_balancing(settings):
    assert is_shared(settings)
    assert settings["CONCURRENT_REQUESTS"] == 5
    assert settings["DOWNLOAD_DELAY"] == 2.0


def extensions_of(settings) -> set[str]:
    """Class names of the extensions, all of which can be loaded."""
    from scrapy.utils.conf import build_component_list
    from scrapy.utils.misc import load_object

    # Older versions of Scrapy have only getwithbase.
    name = "get_component_priority_dict_with_base"
    merged = getattr(settings, name, settings.getwithbase)("EXTENSIONS")
    return {load_object(path).__name__ for path in build_component_list(merged)}


def crawler_monitoring(settings):
    names = extensions_of(settings)
    assert names & {"StatsExtension", "CoreStats"}
    assert len(names & {"LogStatsExtension", "LogStats"}) == 1
    assert settings["LOGSTATS_INTERVAL"] == 30


def log_configuration(settings):
    assert settings["LOG_LEVEL"] == "INFO"
    assert settings["LOG_FILE"] == "distributed_crawler.log"
    assert settings["LOG_MAX_BYTES"] == 10 * 1024 * 1024
    assert settings["LOG_BACKUP_COUNT"] == 5
    assert settings["LOG_INCLUDE_NODE_ID"] is True


def node_communication(settings):
    assert settings["LOG_LEVEL"] == "DEBUG"


def data_consistency(settings):
    assert settings["QUEUE_PERSISTENCE"] is True
    assert settings["STATS_PERSISTENCE"] is True


def security(settings):
    assert connection.address(settings).password == "strong_password_here"
    assert settings["BIND_ADDRESS"] == "192.168.1.100"
    assert settings["REQUIREPASS"] == "your_strong_password"


def resource_management(settings):
    assert settings["CONCURRENT_REQUESTS"] == 20
    assert settings["MEMUSAGE_LIMIT_MB"] == 2048


def fault_tolerance(settings):
    assert settings["RETRY_TIMES"] == 5
    assert settings["RETRY_HTTP_CODES"] == [500, 502, 503, 504, 429]
    assert settings["RETRY_ENABLED"] is True
    extensions_of(settings)


def alerting(settings):
    names = extensions_of(settings)
    assert len(names & {"MemoryUsageExtension", "MemoryUsage"}) == 1
    assert settings["MEMUSAGE_WARNING_MB"] == 500


#: In the document's order.
EFFECTS = [
    control_node,
    worker_node,
    adjust_concurrency,
    optimize_redis,
    load_balancing,
    crawler_monitoring,
    log_configuration,
    node_communication,
    data_consistency,
    security,
    resource_management,
    fault_tolerance,
    alerting,
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """One block tries a connection to 192.168.1.100, which is nobody's business here."""
    import socket

    tried = []

    def connect_ex(self, address):
        tried.append(address)
        return 0

    monkeypatch.setattr(
        socket, "socket", type("Socket", (socket.socket,), {"connect_ex": connect_ex})
    )
    return tried


def test_every_block_has_its_effect_here():
    assert len(blocks("python")) == len(EFFECTS)


@pytest.mark.parametrize("number", range(len(EFFECTS)), ids=lambda n: EFFECTS[n].__name__)
def test_block(number, tmp_path, caplog, capsys):
    caplog.set_level(logging.WARNING)
    settings = settings_of(blocks("python")[number], tmp_path)
    EFFECTS[number](settings)
    assert "did you mean" not in caplog.text
    assert "does not change" not in caplog.text


def test_block_that_tries_the_connection(tmp_path, capsys, no_network):
    settings_of(blocks("python")[EFFECTS.index(node_communication)], tmp_path)
    assert no_network == [("192.168.1.100", 6379)]
    assert capsys.readouterr().out == "Port open\n"


def test_each_configuration_of_a_block_counts_where_it_is_the_only_one(tmp_path):
    """The blocks with several configurations mean one file each."""
    expected = {"adjust_concurrency": [5, 30], "load_balancing": [50, 20, 5]}
    for name, numbers in expected.items():
        block = next(
            b for b, e in zip(blocks("python"), EFFECTS, strict=True) if e.__name__ == name
        )
        lines = [line for line in block.splitlines() if line.startswith("config")]
        found = [settings_of(line + "\n", tmp_path)["CONCURRENT_REQUESTS"] for line in lines]
        assert found == numbers


def test_manifests_variables_beat_the_file(monkeypatch, tmp_path):
    """The document's Kubernetes manifest."""
    (manifest,) = blocks("yaml")
    assert '- name: REDIS_HOST\n          value: "redis-service"' in manifest
    assert '- name: CONCURRENCY\n          value: "20"' in manifest
    monkeypatch.setenv("REDIS_HOST", "redis-service")
    monkeypatch.setenv("CONCURRENCY", "20")
    settings = settings_of(blocks("python")[0], tmp_path)
    assert connection.address(settings).host == "redis-service"
    assert settings["CONCURRENT_REQUESTS"] == 20
