"""Addresses, log-ins, and what a user is told."""

from __future__ import annotations

import pytest

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import free_port
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreRefused, StoreUnavailable

SECRET = "s3cret-p@ss"


def test_the_password_never_shows() -> None:
    url = f"redis://user:{SECRET}@example.com:7000/3"
    for address in (Address(url=url), Address(password=SECRET)):
        assert SECRET not in repr(address)
        assert SECRET not in str(address)
    assert str(Address(url=url)) == "example.com:7000/3"


@pytest.mark.parametrize("connect", [Client.connect, BlockingClient])
def test_an_invalid_url_is_refused_without_showing_it(connect) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreRefused, match="percent-encoded") as caught:
        connect(Address(url=f"redsi://:{SECRET}@host"))
    assert SECRET not in str(caught.value)


async def test_nobody_there() -> None:
    client = Client.connect(Address(port=free_port(), password=SECRET))
    with pytest.raises(StoreUnavailable, match="Check that it runs") as caught:
        await client.check_server()
    assert SECRET not in str(caught.value)
    await client.close()


async def test_wrong_password() -> None:
    with LocalRedis(password="right") as server:
        for address in (
            Address(port=server.port),
            Address(port=server.port, password=SECRET),
            Address(port=server.port, username="nobody", password=SECRET),
        ):
            client = Client.connect(address)
            with pytest.raises(StoreRefused, match="REDIS_PASSWORD") as caught:
                await client.check_server()
            assert SECRET not in str(caught.value)
            await client.close()


@pytest.mark.parametrize(
    ("info", "accepted"),
    [
        ({"redis_version": "6.0.16"}, False),
        ({"redis_version": "6.2.0"}, True),
        ({"redis_version": "8.2.3"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "7.1.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, True),
    ],
)
async def test_old_servers_are_refused(monkeypatch, info, accepted) -> None:  # type: ignore[no-untyped-def]
    client = Client.connect(Address())

    async def call(*args: object) -> dict[str, str]:
        return info

    monkeypatch.setattr(client, "call", call)
    if accepted:
        assert (await client.check_server()).split()[1] in info.values()
    else:
        with pytest.raises(StoreRefused, match="too old"):
            await client.check_server()
    await client.close()
