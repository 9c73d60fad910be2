"""doctor and redis-conf."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.cli.startproject import write_project
from crawlo_scrapy.localserver import LocalRedis
from tests.cli.conftest import Command
from tests.servers import default_redis


def findings(crawlo: Command, *words: str) -> tuple[int, dict[str, str]]:
    done = crawlo("doctor", "--json", *words)
    return done.returncode, {f["subject"]: f["level"] for f in json.loads(done.stdout)}


def test_doctor_finds_a_crawl_can_start(crawlo: Command) -> None:
    with LocalRedis(binary=default_redis(), aof=True) as server:
        status, levels = findings(crawlo, "--redis-url", server.url)
    assert status == 0
    assert set(levels.values()) == {"ok"}, levels


def test_doctor_warns_of_what_loses_requests(crawlo: Command) -> None:
    config = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with LocalRedis(binary=default_redis(), config=config) as server:
        status, levels = findings(crawlo, "--redis-url", server.url)
    assert status == 1
    assert (levels["persistence"], levels["eviction"]) == ("warning", "error")


def test_doctor_without_redis(crawlo: Command) -> None:
    status, levels = findings(crawlo, "--redis-url", "redis://127.0.0.1:1")
    assert (status, levels["Redis"], levels["project"]) == (1, "error", "ok")


@pytest.mark.parametrize(
    ("template", "subject", "level"),
    [("simple", "mode", "ok"), ("default", "Redis", "warning"), ("distributed", "Redis", "error")],
)
def test_doctor_where_redis_is_not_needed(
    crawlo: Command, tmp_path: Path, template: str, subject: str, level: str
) -> None:
    write_project(tmp_path / "some_1", "some_1", template)
    done = crawlo("doctor", "--json", cwd=tmp_path / "some_1", REDIS_PORT="1")
    assert {f["subject"]: f["level"] for f in json.loads(done.stdout)}[subject] == level
    assert done.returncode == (level == "error")


def test_a_server_takes_redis_conf(crawlo: Command, tmp_path: Path) -> None:
    password = 'a "strong\\ one'
    (tmp_path / "c.py").write_text(f"REQUIREPASS = {password!r}\nBIND_ADDRESS = '127.0.0.1'\n")
    lines = crawlo("redis-conf", "--config", str(tmp_path / "c.py")).stdout.splitlines()
    assert "bind 127.0.0.1" in lines
    own = ("bind", "port", "dir", "#", "save", "appendonly")
    given = [line.split(" ", 1) for line in lines if not line.startswith(own)]
    with LocalRedis(binary=default_redis(), config=dict(given)) as server:
        client = redis.Redis(port=server.port, password=password)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.close()
