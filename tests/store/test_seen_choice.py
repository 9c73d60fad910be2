"""Kinds of seen set: chosen once, alike in all modes; Bloom filters err as rarely as they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.bloom import Bloom
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.frontier import Frontier, Membership
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.seen import SeenChoice
from crawlo_scrapy.store.workers import Workers
from tests.backends import address_of
from tests.servers import default_redis
from tests.store.background import Background
from tests.store.conftest import Store, push

BLOOM = SeenChoice("bloom", capacity=1000, error_rate=0.01)
KINDS = {
    "exact": SeenChoice(),
    "bloom": BLOOM,
    "expiry": SeenChoice(ttl=1000),
    "bloom with expiry": replace(BLOOM, ttl=1000.0),
    "urls": SeenChoice(urls=True),
    "urls with expiry": SeenChoice(urls=True, ttl=1000),
}
any_kind = pytest.mark.parametrize("choice", KINDS.values(), ids=KINDS.keys())


@pytest.fixture(scope="module")
def with_module() -> Iterator[LocalRedis]:
    """A stand-in for a server with a Bloom module: its commands are those of an exact set.

    No server with such a module can be installed from PyPI.
    """
    names = ["SADD BF.ADD", "SISMEMBER BF.EXISTS", "LPUSHX BF.RESERVE"]
    with LocalRedis(binary=default_redis(), config={"rename-command": names}) as server:
        yield server


async def in_every_mode(frontier: Frontier, member: Membership, seeds: bool = True) -> None:
    async def fresh(mode: str, name: str) -> bool:
        return not (await frontier.exchange(member, [push(name, mode)])).duplicates

    assert await fresh("c", "a"), "never seen"
    assert await fresh("c", "a"), "looking records nothing"
    assert await fresh("f", "a")
    assert not await fresh("c", "a")
    assert not await fresh("f", "a")
    assert await fresh("n", "a"), "queued in any case"
    assert await fresh("n", "b")
    assert not await fresh("f", "b"), "recorded all the same"
    assert await fresh("r", "c")
    assert not await fresh("f", "c")
    if seeds:
        assert await fresh("s1", "a"), "a start request is queued though it was seen"
        assert not await fresh("s1", "a"), "once"
        assert await fresh("s1", "d")
        assert not await fresh("f", "d")
    result = await frontier.exchange(member)
    assert result.queued == (5 if seeds else 3)


@any_kind
async def test_modes_keep_their_meaning(store: Store, choice: SeenChoice) -> None:
    member = await store.join()
    await seen.choose(store.client, store.keys, choice, own=1)
    await in_every_mode(store.frontier, member)
    state = await seen.look(store.client, store.keys)
    assert (state.count, state.ttl, state.urls) == (4, choice.ttl, choice.urls)
    await store.frontier.purge()
    assert [key async for key in store.client.redis.scan_iter(store.keys.prefix + "*")] == []


async def test_the_filter_of_a_module(with_module: LocalRedis, project: str) -> None:
    client, keys = Client.connect(Address(url=with_module.url)), Keys(project, "s")
    for choice in (BLOOM, replace(BLOOM, ttl=1000.0)):
        _, member = await Workers(client, keys).join("w", {}, bucket_fill=400)
        assert isinstance(member, Membership)
        assert (await seen.choose(client, keys, choice, own=1)).how == "bf"
        await in_every_mode(Frontier(client, keys), member, seeds=False)
        bf = keys.seen_prefix + ("s1:" if choice.ttl else "") + "bf"
        assert await client.call("type", bf) == b"set", "it is where the module would have it"
        assert (await client.call("pttl", bf) > 0) == bool(choice.ttl)
        with pytest.raises(StoreRefused, match="CRAWLO_SEEN = bloom"):
            await seen.choose(client, keys, SeenChoice(), own=1)
        await Frontier(client, keys).purge()
    await client.close()


async def test_no_rights_for_the_module(with_module: LocalRedis, project: str) -> None:
    """A user who may not run its commands has filters of ours."""
    # The ACL knows a command by its own name.
    with redis.Redis(port=with_module.port) as admin:
        admin.acl_setuser("w", True, passwords=["+p"], keys=["crawlo:*"],
                          commands=["+@all", "-lpushx"])  # fmt: skip
    client = Client.connect(Address(url=f"redis://w:p@127.0.0.1:{with_module.port}"))
    assert (await seen.choose(client, Keys(project, "s"), BLOOM)).how == "bloom"
    await client.close()


@settings(max_examples=20, deadline=None)
@given(
    choice=st.sampled_from([KINDS["bloom"], KINDS["expiry"], KINDS["bloom with expiry"]]),
    capacity=st.integers(1, 40),
    batches=st.lists(st.lists(st.integers(0, 300), max_size=80), max_size=6),
)
def test_nothing_that_was_seen_is_new(
    redis_url: str,
    background: Background,
    choice: SeenChoice,
    capacity: int,
    batches: list[list[int]],
) -> None:
    background(_never_missed(redis_url, replace(choice, capacity=capacity), batches))


async def _never_missed(redis_url: str, choice: SeenChoice, batches: list[list[int]]) -> None:
    client, keys = Client.connect(address_of(redis_url)), Keys(f"test-{uuid4().hex}", "s")
    await seen.choose(client, keys, choice)
    known: set[int] = set()
    count = 0
    for batch in batches:
        fresh = await seen.add(client, keys, [b"%d" % number for number in batch])
        for number, new in zip(batch, fresh, strict=True):
            assert not (new and number in known)
            assert choice.kind == "bloom" or new == (number not in known)
            known.add(number)
            count += new
    assert (await seen.look(client, keys)).count == count
    await Frontier(client, keys).purge()
    await client.close()


@pytest.mark.parametrize("ttl", [0.0, 1000.0])
async def test_false_positives_are_as_rare_as_promised(store: Store, ttl: float) -> None:
    """Also with seven times what the filter was made for: three filters, all full."""
    choice = replace(BLOOM, ttl=ttl)
    await seen.choose(store.client, store.keys, choice)
    for first in range(0, 7000, 500):
        batch = [b"%d" % number for number in range(first, first + 500)]
        await seen.add(store.client, store.keys, batch)
    wrong, others = 0, 20_000
    for first in range(0, others, 1000):
        bits = [part for n in range(first, first + 1000) for part in seen.split(b"other %d" % n)]
        names = [store.keys.meta, store.keys.seen_prefix]
        [found] = await run(store.client, Call("items_seen", names, bits))
        wrong += sum(found)
    # The last filter is not quite full. Were the rate 1 %, more than 260 would come once in
    # 100,000 tests; filters twice as bad as they should be give 400.
    assert 0 < wrong <= 260
    state = await seen.look(store.client, store.keys)
    assert state.overfull
    assert Bloom(1000, choice.filter_error).filters(state.count) == 3


async def test_a_filter_needs_no_more_memory_than_said(store: Store) -> None:
    choice = SeenChoice("bloom", capacity=100_000, error_rate=0.001)
    await seen.choose(store.client, store.keys, choice)
    for first in range(0, 20_000, 1000):
        await seen.add(store.client, store.keys, [b"%d" % n for n in range(first, first + 1000)])
    size = 0
    async for key in store.client.redis.scan_iter(store.keys.seen_prefix + "*"):
        assert await store.client.call("strlen", key) <= 16_256
        size += await store.client.call("memory_usage", key)
    assert size < 1.03 * Bloom(100_000, 0.001).memory(20_000)


class TestChoice:
    async def test_the_first_one_holds(self, store: Store) -> None:
        await store.join()
        chosen = await seen.choose(store.client, store.keys, BLOOM, own=1)
        assert (chosen.how, chosen.capacity, chosen.error_rate) == ("bloom", 1000, 0.01)
        for other, said in (
            (SeenChoice(), "CRAWLO_SEEN = bloom, and the settings here say CRAWLO_SEEN = exact"),
            (replace(BLOOM, ttl=60.0), "REDIS_TTL = 0, and the settings here say REDIS_TTL = 60"),
        ):
            with pytest.raises(StoreRefused, match=said) as error:
                await seen.choose(store.client, store.keys, other)
            assert "CRAWLO_CRAWL_ID" in str(error.value)
            assert "crawlo-scrapy purge" in str(error.value)

    async def test_nothing_is_written_by_a_look(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, BLOOM, write=False)
        assert await store.client.call("exists", store.keys.meta) == 0

    async def test_the_plain_one_leaves_no_trace(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, SeenChoice())
        assert await store.client.call("exists", store.keys.meta) == 0

    async def test_what_was_seen_stays_of_its_kind(self, store: Store) -> None:
        await seen.add(store.client, store.keys, [b"a"])
        with pytest.raises(StoreRefused, match="CRAWLO_SEEN"):
            await seen.choose(store.client, store.keys, BLOOM)

    async def test_another_kind_while_nothing_was_seen(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, BLOOM)
        assert (await seen.choose(store.client, store.keys, SeenChoice())).how == "exact"
        assert await seen.add(store.client, store.keys, [b"a", b"a"]) == [True, False]
        assert (await seen.look(store.client, store.keys)).how == "exact"

    async def test_another_ttl_or_urls_only_when_nobody_is_there(self, store: Store) -> None:
        first = SeenChoice(ttl=60, urls=True)
        await store.join("w1")
        await seen.choose(store.client, store.keys, first, own=1)
        await seen.add(store.client, store.keys, [b"a"])
        for other in (SeenChoice(ttl=61, urls=True), SeenChoice(ttl=60)):
            with pytest.raises(StoreRefused, match="stop all workers"):
                await seen.choose(store.client, store.keys, other)
        await store.client.call("zadd", store.keys.workers, {"w1": 0})  # it died
        await seen.choose(store.client, store.keys, SeenChoice(ttl=61))
        state = await seen.look(store.client, store.keys)
        assert (state.ttl, state.urls, state.count) == (61, False, 1)
        assert await seen.add(store.client, store.keys, [b"a"]) == [False]

    async def test_another_size_changes_nothing_and_is_told(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, BLOOM)
        other = replace(BLOOM, capacity=5)
        chosen = await seen.choose(store.client, store.keys, other)
        assert chosen.capacity == 1000
        [note] = chosen.notes(other)
        assert "BLOOM_FILTER_CAPACITY" in note
        assert chosen.notes(BLOOM) == []

    async def test_an_overfull_filter_is_told(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, replace(BLOOM, capacity=10))
        await seen.add(store.client, store.keys, [b"%d" % n for n in range(30)])
        chosen = await seen.choose(store.client, store.keys, replace(BLOOM, capacity=10))
        [note] = chosen.notes(replace(BLOOM, capacity=10))
        assert "made for (10)" in note

    async def test_a_program_that_begins_a_crawl(self, store: Store) -> None:
        feed = Feed(store.client, store.keys, choice=BLOOM)
        assert (await feed.push([push("a"), push("a")])).queued == 1
        assert (await seen.look(store.client, store.keys)).how == "bloom"
        with pytest.raises(StoreRefused, match="CRAWLO_SEEN"):
            await Feed(store.client, store.keys, choice=SeenChoice()).push([push("b")])
        assert (await Feed(store.client, store.keys).push([push("b")])).queued == 1

    async def test_it_outlives_a_run(self, store: Store) -> None:
        member = await store.join()
        await seen.choose(store.client, store.keys, BLOOM, own=1)
        await store.frontier.exchange(member, [push("a")])
        await store.frontier.purge(queue_only=True)
        member = await store.join()
        assert (await store.frontier.exchange(member, [push("a")])).duplicates == [0]


async def test_a_plain_crawl_pays_nothing(store: Store) -> None:
    """It sends none of the commands that other kinds need."""
    member = await store.join()
    await store.frontier.exchange(member, [push("warm")])
    before = await _calls(store)
    await store.frontier.exchange(member, [push("x"), push("y"), push("x")])
    after = await _calls(store)
    used = {name: after[name] - before.get(name, 0) for name in after}
    assert used["time"] == used["evalsha"] == 2, "push and lease, each with its clock"
    for name in ("getrange", "setbit", "setrange", "scard", "pexpireat", "xadd"):
        assert used.get(name, 0) == 0


async def _calls(store: Store) -> dict[str, int]:
    found = await store.client.call("info", "commandstats", near=store.keys.meta)
    return {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in found.items()}
