"""Whoever reads what stands in Redis goes on, whatever stands there."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http.cookies import CookieJar

from crawlo_scrapy import cookies
from crawlo_scrapy.alerts.judge import Look, Memory
from crawlo_scrapy.dashboard.reader import NotThere, Reader
from crawlo_scrapy.pipelines import stream_format
from crawlo_scrapy.pipelines.errors import ItemRefused
from crawlo_scrapy.steering import CHANGEABLE
from crawlo_scrapy.store import statsfold
from crawlo_scrapy.store.control import Control, wanted_rows
from crawlo_scrapy.store.cookies import Cookies
from crawlo_scrapy.store.dead_items import DeadItems
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.errors import StoreError
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import find_crawls, inspect, keys_of
from crawlo_scrapy.store.item_reader import ItemReader, look, readers
from crawlo_scrapy.store.items import Items, StreamItem
from crawlo_scrapy.store.keys import CRAWLS
from crawlo_scrapy.store.nodes import find_nodes
from crawlo_scrapy.store.robots import MOST_BYTES, Robots
from crawlo_scrapy.store.slots import Slots
from crawlo_scrapy.store.source import Source
from crawlo_scrapy.store.stats import Sample, Stats
from crawlo_scrapy.store.workers import Workers
from crawlo_scrapy.values import Codec
from tests.security import LONGER
from tests.security.conftest import Bench
from tests.security.hostile import JUNK, retyped, spoiled
from tests.security.operations import Crawl


def all_readers(crawl: Crawl) -> list[Callable[[], Awaitable[Any]]]:
    """Everything that workers, commands and pages read."""
    client, keys = crawl.client, crawl.keys
    stats = Stats(client, keys, Codec())
    reader = Reader(client, Codec(), timeout=15)
    letters, items = DeadLetters(client, keys), Items(client, keys)
    workers, control = Workers(client, keys), Control(client, keys)

    async def nodes() -> None:
        await find_nodes(await inspect(client, keys), stats, 15)

    async def page() -> None:
        with contextlib.suppress(NotThere):
            await reader.crawl(keys.name)

    async def look_at_items() -> None:
        for entry in [*await items.last(10), *[e async for e in DeadItems(client, keys).list()]]:
            with contextlib.suppress(ItemRefused):
                stream_format.decode(entry.item)

    async def memory() -> None:
        state = await inspect(client, keys)
        found = await client.call("hget", keys.alerts, ":memory")
        Memory.load(found or b"").after(Look(state, Sample(1), 15))

    async def source() -> None:
        taken = Source(client, keys, f"{crawl.source_key}:of")
        entries = [*await taken.held("gone"), *await taken.adopt("w1"), *await taken.held("w1")]
        await taken.drop("w1", [entry.name for entry in entries])
        assert not await taken.held("w1")

    async def listed() -> None:
        [letter async for letter in letters.list()]

    async def exchange() -> None:
        await Frontier(client, keys).exchange(crawl.members[0], limit=20)

    async def wanted() -> None:
        wanted_rows(await control.read())

    async def beat() -> None:
        await workers.beat(crawl.members[0], timeout=15)

    return [
        lambda: inspect(client, keys),
        nodes,
        page,
        look_at_items,
        memory,
        source,
        listed,
        exchange,
        wanted,
        beat,
        control.audit,
        reader.crawls,
        stats.runs,
        stats.nodes,
        stats.totals,
        stats.now,
        stats.series,
        stats.errors,
        lambda: stats.counts(["a"], 1),
        lambda: look(client, keys),
        lambda: readers(client, keys),
        lambda: Slots(client, keys).holds(),
        workers.alive,
        lambda: Cookies(client, keys).share([]),
        lambda: Robots(client, keys, 60).get("a", "w1"),
        lambda: workers.living(15),
        lambda: find_crawls(client),
        lambda: statsfold.fold(client, keys, Codec(), 1),
        lambda: ItemReader(client, keys, "r1").read(10),
    ]


def fuzz(bench: Bench, examples: int) -> None:
    kinds = bench.run(bench.kinds())

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=examples < 1000,
        print_blob=False,
    )
    @given(st.data())
    def any_content(data: st.DataObject) -> None:
        bench.run(bench.snapshot.restore())
        ways = st.lists(st.one_of(spoiled(kinds), retyped(fake(kinds))), min_size=1, max_size=3)
        commands = [one for way in data.draw(ways) for one in way]
        bench.run(read(commands))

    async def read(commands: list[tuple[Any, ...]]) -> None:
        await bench.crawl.client.send(commands)
        for reader in all_readers(bench.crawl):
            with contextlib.suppress(StoreError):  # says what is wrong, and does no harm
                await reader()

    any_content()


class fake:
    """Names of keys where `retyped` looks for them."""

    def __init__(self, kinds: dict[bytes, bytes]) -> None:
        self.keys = [name.decode("latin-1") for name in kinds if name.isascii()]


def test_any_content(bench: Bench) -> None:
    fuzz(bench, 60)


@pytest.mark.slow
def test_any_content_in_a_long_run(bench: Bench) -> None:
    fuzz(bench, 200 * LONGER)


@pytest.mark.parametrize(
    "name",
    [
        b"\xff",
        b"a",
        b"a:b%",
        b"a:",
        b"*",
        b"a:b c",
        b"a:b}:meta",
        b"a:b:c:d",
    ],
)
def test_names_that_no_crawl_has(bench: Bench, name: bytes) -> None:
    async def look() -> None:
        client = bench.crawl.client
        await client.call("zadd", CRAWLS, {name: 0})
        await client.call("set", b"crawlo:{" + name + b"}:meta", "x")
        try:
            for found in await find_crawls(client):
                assert keys_of(found).name == found
        finally:
            await client.call("zrem", CRAWLS, name)
            await client.call("delete", b"crawlo:{" + name + b"}:meta")

    bench.run(look())


def test_a_robots_file_that_is_a_bomb(bench: Bench) -> None:
    async def get(packed: bytes) -> Any:
        keys, robots = bench.crawl.keys, Robots(bench.crawl.client, bench.crawl.keys, 60)
        await bench.crawl.client.call("set", keys.robots("http://b"), packed, ex=60)
        return await robots.get("http://b", "w1")

    bomb = zlib.compress(b"200\n" + bytes(100 * 1024 * 1024))
    status, file = bench.run(get(bomb))
    assert status == "here"
    assert len(file.body) <= MOST_BYTES + 8
    for junk in (
        b"",
        b"junk",
        zlib.compress(b"x\ny"),
        zlib.compress(b"9" * 5000 + b"\n"),
        bomb[:9],
    ):
        assert bench.run(get(junk)) == ("yours", None)


@pytest.mark.parametrize("name", sorted(CHANGEABLE))
@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-inf", "-1", "1e99", "9" * 30, "0x10", "\0", "²"]
)
def test_values_that_no_worker_takes(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        CHANGEABLE[name](text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"5",
        b"{}x",
        b"[" * 100_000,
        b'{"known": 5}',
        b'{"time": "x"}',
        b'{"known": {"a": null}}',
        b'{"used": 5}',
        b'{"used": [[1]]}',
        b'{"lost": {"a": "b"}}',
        b'{"other": 1}',
        b'{"done": 1.5}',
        b"\xff",
        b'{"known": []}',
    ],
)
def test_a_memory_of_alerts_that_is_none(text: bytes) -> None:
    assert Memory.load(text) == Memory()


def test_a_memory_of_alerts() -> None:
    memory = Memory(1, 2, 3, {"a": 4}, {"b": 5}, ["a"])
    assert Memory.load(memory.dump()) == memory


@pytest.mark.parametrize("format_", ["json", "msgpack", "", "pickle"])
@pytest.mark.parametrize(
    "junk", [*JUNK, b"[" * 100_000, b"\x91" * 100_000, b'{"a": 1}', b"\x81\x01\x01"]
)
@pytest.mark.parametrize("path", ["", "a\0b", "os.system", "a" * 10_000, "builtins.dict", "\ufffd"])
def test_items_that_are_none(format_: str, junk: bytes, path: str) -> None:
    try:
        fields, kind = stream_format.decode(StreamItem(format_, path, junk))
    except ItemRefused as exc:
        assert str(exc)
    else:
        assert isinstance(fields, dict)
        assert isinstance(kind, type)


GOOD = [0, "n", "v", None, False, "a.test", False, False, "/", True, False, None, True, None, None,
        {}, False]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, 5), (1, None), (2, {"a": 1}), (2, 5), (3, 5), (5, 5), (8, ["/"]), (11, 1e999), (11, "x"),
     (15, 5), (15, ["a"]), (0, {}), (1, "other"), (11, "9" * 5000)],
)  # fmt: skip
def test_cookies_that_are_none(place: int, value: object) -> None:
    jar, name = CookieJar(), b'["a.test", "/", "n"]'
    fields = [*GOOD]
    cookies._put(jar, name, json.dumps(fields).encode())
    assert len(jar) == 1
    fields[place] = value
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        cookies._put(jar, name, json.dumps(fields).encode())
    # Whatever it was: requests go on.
    sent = Request("http://a.test/x")
    jar.add_cookie_header(sent)
    assert sent.headers["Cookie"]


def test_an_exchange_goes_on_after_junk(bench: Bench) -> None:
    """Elements that nobody of us wrote are leased like others, and do not decode."""

    async def leased() -> list[bytes]:
        await bench.snapshot.restore()
        client, keys = bench.crawl.client, bench.crawl.keys
        elements = [b"", b"\0", b"\xff", b"junk"]
        await client.call("lpush", keys.queue("b", "0"), *elements)
        await client.call("zadd", keys.queue("b"), {"0": 0})
        await client.call("zadd", keys.slots, {"b": 1})
        result = await Frontier(client, keys).exchange(bench.crawl.members[0], limit=50)
        return [lease.payload for lease in result.leases]

    assert {b"", b"unk"} <= set(bench.run(leased()))
