"""Scripts reach the server, whatever it knows."""

from __future__ import annotations

import pytest

from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.scripts import Call, run, script
from tests.store.conftest import Store, names, push


async def test_a_server_that_forgot_the_scripts(store: Store) -> None:
    member = await store.join()
    await store.client.call("script_flush")
    first = await store.frontier.exchange(member, [push("1"), push("2")], limit=1)
    await store.client.call("script_flush")
    acks = [lease.id for lease in first.leases]
    result = await store.frontier.exchange(member, [push("3")], acks, limit=10)
    assert names(result) == ["2", "3"]
    counters = [await store.meta(name) for name in ("queued", "leased", "pushed", "acked")]
    assert counters == ["0", "2", "3", "1"]


async def test_an_error_in_a_script(store: Store) -> None:
    await store.client.call("set", store.keys.meta, "not a hash")
    with pytest.raises(StoreError, match=r"at .+ answered: .*WRONGTYPE"):
        await store.join()


async def test_nothing_to_run(store: Store) -> None:
    assert await run(store.client) == []


def test_includes_are_resolved() -> None:
    call = Call("frontier_push", ["k"])
    assert "--#include" not in call.script.source
    assert "local now" in call.script.source
    assert script("frontier_push") is call.script
