"""Scripts with arguments, types of keys and contents that make no sense: no request is lost."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.frontier import Frontier, Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.workers import FORMAT, Workers
from tests.security import LONGER
from tests.security.conftest import Bench
from tests.security.hostile import JUNK, changed, retyped, spoiled
from tests.security.operations import request

#: Not shrunk: what fails says all, and each example takes its time.
PHASES = [Phase.generate]
SCRIPTS = sorted(
    file.name.removesuffix(".lua")
    for file in (files("crawlo_scrapy.store") / "lua").iterdir()
    if file.name.endswith(".lua") and not file.name.startswith("_")
)
TOKEN = re.compile(rb"<TOKEN-\d{4}>")
#: Scripts that are there to remove what stands in Redis.
REMOVING = {"purge_begin", "purge_step", "purge_items", "purge_end"}


def test_every_script_is_called(bench: Bench) -> None:
    assert not set(SCRIPTS) - set(bench.calls), "add an operation that calls it to operations.py"


async def everything(bench: Bench) -> set[bytes]:
    """Return the tokens that stand anywhere in the crawl's keys."""
    commands = {
        b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",),
        b"zset": ("ZRANGE", 0, -1), b"hash": ("HGETALL",), b"stream": ("XRANGE", "-", "+"),
    }  # fmt: skip
    client, keys = bench.crawl.client, bench.crawl.keys
    # Of what was seen the URLs may be kept: those are not the requests.
    seen = keys.seen_prefix.encode()
    names = [name for name in await bench.snapshot.names() if not name.startswith(seen)]
    types = await client.send([("TYPE", name) for name in names])
    reads = [commands[kind] for kind in types]
    replies = await client.send(
        [(read[0], name, *read[1:]) for read, name in zip(reads, names, strict=True)]
    )
    return set(TOKEN.findall(repr(replies).encode()))


async def drained(bench: Bench) -> set[bytes]:
    """Return what a new worker gets once all others are dead; and what are dead letters."""
    client, keys = bench.crawl.client, bench.crawl.keys
    found = set()
    await client.call("hset", keys.meta, mapping={"state": "running", "seeding": ""})
    # Counters that are no numbers stop a crawl until somebody removes them, and lose nothing.
    await client.call("hset", keys.meta, mapping={"queued": 0, "leased": 0, "pushed": 0, "seen": 0})
    await client.call("hsetnx", keys.meta, "created", 1)
    await client.call("hset", keys.meta, mapping={"format": FORMAT, "layout": "1:slot"})
    await client.call("delete", keys.limits, keys.pace, keys.active)
    workers, frontier = Workers(client, keys), Frontier(client, keys)
    for worker_id in {*await workers.alive(), "w1", "w2"}:
        await client.call("zadd", keys.workers, {worker_id: 1})
        await frontier.reclaim(worker_id, timeout=1, max_attempts=100)
    for member in await client.call("zrange", keys.delayed, 0, -1):
        await client.call("zadd", keys.delayed, {member: 1})
    for member in await client.call("zrange", keys.timed, 0, -1):
        await client.call("zadd", keys.timed, {member: 1})
    status, member = await workers.join("last", {}, bucket_fill=400)
    assert isinstance(member, Membership), status
    empty = 0
    while empty < 3:
        result = await frontier.exchange(member, limit=1000, room=100)
        found |= {lease.payload for lease in result.leases}
        empty = 0 if result.leases else empty + 1
    found |= {letter.payload for letter in [x async for x in DeadLetters(client, keys).list()]}
    return {token for payload in found for token in TOKEN.findall(payload)}


def tokens_in(call: Call) -> set[bytes]:
    return set(TOKEN.findall(repr(call.args).encode()))


def is_request(token: bytes) -> bool:
    """Whether it is not of an item, or of an entry that nobody has made a request of."""
    return not b"<TOKEN-0030>" <= token < b"<TOKEN-0050>" and token != b"<TOKEN-0056>"


async def check(bench: Bench, call: Call, args: list[Any], before: set[bytes]) -> None:
    """Run *call* with *args*; whatever comes of it, what was there *before* is there still."""
    name = call.script.name
    given = Call.__new__(Call)
    given.script, given.keys, given.args = call.script, call.keys, args
    failed = False
    try:
        await run(bench.crawl.client, given)
    except StoreError:
        failed = True
    if name in REMOVING:
        return
    gone = before - await everything(bench)
    if name == "frontier_ack":
        # By their ids: what was acked may go.
        assert len(gone) <= len({str(arg) for arg in args[1:]})
        before = before - gone
    elif name == "items_bury":
        before = before - tokens_in(call)  # the caller says what the item is
    assert before <= await everything(bench)
    if failed and name in ("frontier_push", "frontier_feed"):
        # What a worker sends again after an error is not taken for what was seen before.
        await mend(bench, call)
        [[status, *_]] = await run(bench.crawl.client, call)
        if status == b"ok":
            before = before | tokens_in(call)
    await mend(bench, call)
    assert {token for token in before if is_request(token)} <= await drained(bench)


async def mend(bench: Bench, call: Call) -> None:
    """Put keys of types that are not theirs right, as a person would.

    What stood in one is gone, but for what can be told from elsewhere: who was there, and where
    requests are.
    """
    client, keys = bench.crawl.client, bench.crawl.keys
    for name in call.keys:
        kind = await client.call("type", name)
        if kind != b"none" and await is_junk(client, name, kind):
            await client.call("delete", name)
            original = bench.snapshot.dumps.get(name.encode() if isinstance(name, str) else name)
            if original and name in (keys.meta, keys.slots, keys.timed):
                await client.call("restore", name, 0, original)


async def is_junk(client: Client, name: str, kind: bytes) -> bool:
    if kind == b"string":
        return bool(await client.call("get", name) == b"junk")
    if kind == b"list":
        return bool(await client.call("lrange", name, 0, -1) == [b"junk"])
    if kind == b"set":
        return bool(await client.call("smembers", name) == {b"junk"})
    if kind == b"zset":
        return bool(await client.call("zrange", name, 0, -1) == [b"junk"])
    if kind == b"hash":
        return bool(await client.call("hkeys", name) == [b"junk"])
    return kind == b"stream" and [fields for _, fields in await client.call("xrange", name)] == [
        {b"junk": b"1"}
    ]


def holds_requests(keys: Keys, name: str | bytes) -> bool:
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    is_list = text.startswith(keys.queue_prefix) and ":" in text.removeprefix(keys.queue_prefix)
    return is_list or text in (keys.delayed, keys.dead) or text.startswith(keys.leases_prefix)


def fuzz(name: str, bench: Bench, examples: int) -> None:
    calls = bench.calls[name]
    crawl, snapshot = bench.crawl, bench.snapshot

    @settings(
        max_examples=examples, deadline=None, derandomize=examples < 100,
        suppress_health_check=list(HealthCheck), print_blob=False,
        phases=PHASES,
    )  # fmt: skip
    @given(st.data())
    def any_input(data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(calls), label="call")
        way = data.draw(st.sampled_from(["arguments", "types", "contents"]))
        commands: list[tuple[Any, ...]] = []
        args = list(call.args)
        if way == "arguments":
            args = data.draw(changed(args), label="args")
        elif way == "types":
            commands = data.draw(retyped(call), label="commands")
        else:
            commands = data.draw(spoiled(kinds), label="commands")
        bench.run(one(call, args, commands))

    async def one(call: Call, args: list[Any], commands: list[tuple[Any, ...]]) -> None:
        await snapshot.restore()
        for result in await crawl.client.send(commands):
            assert not isinstance(result, Exception) or "ERR" in str(result), result
        before = await everything(bench)
        if commands and not holds_requests(crawl.keys, commands[-1][1]):
            before -= {token for junk in JUNK for token in TOKEN.findall(junk)}
        await check(bench, call, args, before)

    kinds = bench.run(bench.kinds())
    any_input()


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_request_is_lost(name: str, bench: Bench) -> None:
    fuzz(name, bench, 12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_no_request_is_lost_in_a_long_run(name: str, bench: Bench) -> None:
    fuzz(name, bench, 25 * LONGER)


def test_what_was_in_hand_when_a_script_failed(bench: Bench) -> None:
    """Of two slots one has a list of another type: what the other gave is leased, and comes back.

    A batch that is pushed meanwhile, and again when that is mended, is not taken for seen.
    """

    async def scenario() -> tuple[set[bytes], set[bytes]]:
        await bench.snapshot.restore()
        client, keys = bench.crawl.client, bench.crawl.keys
        frontier, member = Frontier(client, keys), bench.crawl.members[0]
        queued = {b"<TOKEN-0050>", b"<TOKEN-0051>"}
        batch = [request(50, slot="a"), request(51, slot="broken", mode="n")]
        before = {token for token in await everything(bench) if is_request(token)}
        await client.call("set", keys.queue("broken", "0"), "junk")
        await client.call("zadd", keys.queue("broken"), {"0": 0})
        await client.call("zadd", keys.slots, {"broken": 9e15})
        for _ in range(3):
            with pytest.raises(StoreError, match="WRONGTYPE"):
                await frontier.exchange(member, batch, limit=100)
        await client.call("delete", keys.queue("broken", "0"))
        result = await frontier.exchange(member, batch)
        assert result.duplicates == []
        return before | queued, await drained(bench)

    expected, found = bench.run(scenario())
    assert expected == found
