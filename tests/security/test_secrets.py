"""Secrets of the settings stay in the settings: not in logs, commands' output, Redis, processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import redis

from crawlo_scrapy.config.option import is_secret, shown
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.settings import SETTINGS
from tests.servers import default_redis

TIMEOUT = 120
#: Each is told from the others where it is found; Redis's has what a URL must encode.
SECRETS = {
    name: f"s3cr3t-{name.lower()}"
    for name in ("MONGO", "MYSQL", "SIGNING", "TOKEN", "WEBHOOK", "PROXY", "SENTINEL")
}
REDIS_SECRET = "s3cr3t:re/d%is@"
SPELLINGS = [*SECRETS.values(), REDIS_SECRET, quote(REDIS_SECRET, safe="")]

SPIDER = '''
import scrapy

class Tiny(scrapy.Spider):
    name = "tiny"

    async def start(self):
        for n in range(5):
            yield scrapy.Request(f"data:,page%20{n}")
        proxy = "http://me:PROXY@127.0.0.1:1"
        yield scrapy.Request("http://127.0.0.1:1/x", self.parse, meta={"proxy": proxy})
        yield scrapy.Request("http://127.0.0.1:1/y", self.parse, meta={"proxy": proxy, "o": object})

    def parse(self, response):
        self.logger.error("an error with %s", self.settings["REDIS_URL"] and "an address")
        yield {"page": response.text}
        raise ValueError("a bug")
'''  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[LocalRedis]:
    with LocalRedis(binary=default_redis(), password=REDIS_SECRET) as server:
        yield server


def write(folder: Path, server_url: str | None, **more: Any) -> None:
    (folder / "tiny.py").write_text(SPIDER.replace("PROXY", SECRETS["PROXY"]))
    settings = {
        "BOT_NAME": "secrets",
        "SPIDER_MODULES": ["tiny"],
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "REDIS_URL": server_url,
        "CRAWLO_ALLOWED_SCHEMES": ["http", "https", "data"],
        "CRAWLO_SIGNING_KEY": SECRETS["SIGNING"],
        "CRAWLO_DEAD_LETTER_FAILED": True,
        "MONGO_URI": f"mongodb://me:{SECRETS['MONGO']}@127.0.0.1:1/?connectTimeoutMS=200",
        "MYSQL_PASSWORD": SECRETS["MYSQL"],
        "REDIS_SENTINEL_PASSWORD": SECRETS["SENTINEL"],
        "CRAWLO_ALERTS": ["dead_letters above=0", "finished"],
        "CRAWLO_ALERT_WEBHOOK_URLS": [f"http://127.0.0.1:1/{SECRETS['WEBHOOK']}"],
        "CRAWLO_STATS_INTERVAL": 0.3,
        "RETRY_TIMES": 0,
        "LOG_LEVEL": "DEBUG",
        "TELNETCONSOLE_ENABLED": False,
        **more,
    }
    lines = [f"{name} = {value!r}\n" for name, value in settings.items()]
    (folder / "settings.py").write_text("".join(lines))
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = settings\n")


class Commands:
    """Runs commands in a project, and looks at what they and their processes show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arguments: set[str] = set()

    def run(self, *words: str, **variables: str) -> str:
        """Return all that the command says; it may fail."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLO_", "REDIS_"))}
        env |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", **variables}
        program = "from crawlo_scrapy.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words], cwd=self.folder, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        watch = threading.Thread(target=self._watch, args=[process.pid])
        watch.start()
        said, _ = process.communicate(timeout=TIMEOUT)
        watch.join()
        check(said, " ".join(words))
        assert "Traceback" not in said or words[0] == "run", said
        return said

    def _watch(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                family = [process, *process.children(recursive=True)]
                self.arguments |= {" ".join(member.cmdline()) for member in family}
                threading.Event().wait(0.02)
        except psutil.NoSuchProcess:
            pass


def check(text: str, where: str) -> None:
    for spelling in SPELLINGS:
        if spelling in text:
            [line, *_] = [line for line in text.splitlines() if spelling in line]
            raise AssertionError(f"a secret is shown by {where}: {line[:500]}")


def contents(server: LocalRedis) -> str:
    """Return all keys and all values."""
    client = redis.Redis.from_url(server.url)
    reads = {
        b"string": client.get, b"hash": client.hgetall, b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1), b"stream": client.xrange,
    }  # fmt: skip
    found = [(key, reads[client.type(key)](key)) for key in client.keys("*")]
    assert found
    return "\n".join(map(repr, found))


@pytest.mark.slow
def test_a_crawl_and_all_that_looks_at_it(server: LocalRedis, tmp_path: Path) -> None:
    write(tmp_path, server.url)
    commands = Commands(tmp_path)
    said = commands.run("run", "tiny", http_proxy="")
    assert "'finish_reason': 'finished'" in said, said[-3000:]
    assert "a bug" in said
    for words in (
        ["status", "tiny"], ["status", "tiny", "--json"], ["settings"], ["settings", "--json"],
        ["doctor"], ["nodes", "tiny"], ["stats", "tiny"], ["stats", "tiny", "--errors"],
        ["dead-letters", "list", "tiny"], ["audit", "tiny"], ["check"], ["list"],
        ["redis-conf"], ["redis-conf", "--acl"], ["health", "tiny"],
        ["push", "tiny", "http://127.0.0.1:1/z"], ["pause", "tiny"], ["purge", "tiny", "--yes"],
    ):  # fmt: skip
        if words[0] == "purge":
            # What a request itself carries stands in its dead letter, and nowhere else.
            dead = re.compile(r"^\(b'[^']*:dead'.*$", re.MULTILINE)
            check(dead.sub("", contents(server)), "Redis")
        commands.run(*words)
    check("\n".join(commands.arguments), "the list of processes")
    assert len(commands.arguments) > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "url",
    [
        "redis://:{secret}x@127.0.0.1:{port}", "redis://nobody:{secret}@127.0.0.1:{port}",
        "redis://:{secret}@127.0.0.1:1", "redis://:{raw}@127.0.0.1:{port}", "rediss://:{secret}@x:1",
        "redis://:{secret}@no-such-host.invalid:1/0",
    ],
)  # fmt: skip
def test_a_redis_that_does_not_serve(server: LocalRedis, tmp_path: Path, url: str) -> None:
    secret = quote(REDIS_SECRET, safe="")
    write(tmp_path, url.format(secret=secret, raw=REDIS_SECRET, port=server.port))
    commands = Commands(tmp_path)
    for words in (["run", "tiny"], ["status", "tiny"], ["doctor"]):
        commands.run(*words)


@pytest.mark.slow
def test_a_password_of_its_own_setting(server: LocalRedis, tmp_path: Path) -> None:
    own = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": server.port, "REDIS_PASSWORD": REDIS_SECRET}
    write(tmp_path, None, **own)
    commands = Commands(tmp_path)
    assert "'finish_reason': 'finished'" in commands.run("run", "tiny")
    commands.run("doctor")
    said = commands.run("status", "tiny", REDIS_PASSWORD=f"{REDIS_SECRET}x")
    assert "refuses the login" in said


@pytest.mark.slow
def test_the_dashboard_s_token(server: LocalRedis, tmp_path: Path) -> None:
    write(tmp_path, server.url)
    command = Commands(tmp_path)
    token = SECRETS["TOKEN"]
    said = command.run("dashboard", "--port", "99999", CRAWLO_DASHBOARD_TOKEN=token)
    assert "99999" in said
    said = command.run("dashboard", "--port", str(server.port), CRAWLO_DASHBOARD_TOKEN=token)
    assert "Error" in said, "the port is taken"
    check("\n".join(command.arguments), "the list of processes")


def test_every_setting_that_is_a_secret_is_known_as_one() -> None:
    words = ("password", "secret", "token")
    for name, setting in SETTINGS.items():
        if any(word in setting.doc.lower().split() for word in words):
            assert is_secret(name) or setting.kind == "bool" or name.endswith("_FILE"), name
    for name in ("REDIS_URL", "MONGO_URI", "REDIS_PASSWORD", "MYSQL_PASSWORD", "CRAWLO_SIGNING_KEY",
                 "CRAWLO_ALERT_WEBHOOK_URLS", "REDIS_SENTINEL_PASSWORD", "MAIL_PASS"):  # fmt: skip
        assert "s3cr3t" not in shown(name, "redis://me:s3cr3t@h/" if "UR" in name else "s3cr3t")
