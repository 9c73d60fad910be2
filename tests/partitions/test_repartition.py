"""Dividing a crawl anew: all of it is there afterwards, once, whenever it is interrupted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawlo_scrapy.store import moving, seen
from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.errors import StoreRefused, StoreUnavailable
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.forgetting import forget_urls, kept_urls
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout, layout_of, open_partition
from crawlo_scrapy.store.purging import purge
from crawlo_scrapy.store.seen import SeenChoice
from crawlo_scrapy.store.slots import Slots
from crawlo_scrapy.store.workers import Workers
from tests.aio import run_async
from tests.backends import address_of, client_of
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.partitions.repartitioning import Crawl, fill, repartition, request
from tests.servers import RedisCluster
from tests.store.background import Background
from tests.waiting import wait_until

ONE, THREE, FOUR, EIGHT = Layout(), Layout(3), Layout(4), Layout(8)
PRINTS, FIVE_PRINTS = Layout(4, "fingerprint"), Layout(5, "fingerprint")
CHANGES = [
    (ONE, FOUR), (FOUR, EIGHT), (FOUR, THREE), (EIGHT, FOUR), (FOUR, ONE), (ONE, PRINTS),
    (FOUR, PRINTS), (PRINTS, FOUR), (PRINTS, FIVE_PRINTS), (FIVE_PRINTS, THREE), (PRINTS, ONE),
]  # fmt: skip


def title(value: object) -> str:
    return value.title.replace(" ", "-") if isinstance(value, Layout) else str(value)


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    client = Client.connect(address_of(redis_url))
    yield client
    run_async(client.close())


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


async def crawl_on(crawl: Crawl, known: list[Any], queued: int) -> None:
    """Go on with a crawl: what is queued comes once, what was seen is not queued again."""
    members = await crawl.join("next")
    again = [push._replace(mode="f", delay_ms=0) for push in known]
    assert sorted(await crawl.push(members, again)) == sorted(again)
    fresh = [request(10_000 + n) for n in range(50)]
    assert not await crawl.push(members, fresh)
    assert sorted(await crawl.push(members, fresh)) == sorted(fresh)
    # Hosts have delays: without them all comes now.
    for part in crawl.parts:
        await crawl.client.call("unlink", part.limits, part.pace)
        for slot, _ in await crawl.client.call("zrange", part.timed, 0, -1, withscores=True):
            await crawl.client.call("zadd", part.timed, {slot: 1})
    found = Counter(await crawl.lease_all(members))
    assert max(found.values()) == 1
    assert len(found) == queued + 50


@pytest.mark.parametrize(("old", "new"), CHANGES, ids=title)
async def test_all_of_it_is_there(client: Client, project: str, old: Layout, new: Layout) -> None:
    crawl = Crawl(client, Keys(project, "s"), old)
    known = await fill(crawl)
    before = await crawl.contents()
    assert before.sums["queued"] > 40
    assert any(element[0] for elements in before.lists.values() for element in elements)
    outcome = await crawl.divide(new)
    after = await crawl.contents()
    assert await layout_of(client, crawl.keys) == new
    if old.by == new.by == "slot":
        assert after.lists == before.lists
    assert after.sorted_lists == before.sorted_lists
    assert after.delayed == before.delayed
    assert after.dead == before.dead
    assert after.limits == before.limits
    assert after.sums == before.sums
    assert before.seeds <= after.seeds
    assert (outcome.before, outcome.after) == (old, new)
    assert outcome.letters == before.dead.total() > 0
    assert outcome.seen == len(known)
    await crawl_on(crawl, known, before.sums["queued"] - len(before.delayed))


@pytest.mark.parametrize("order", ["fifo", "lifo"])
async def test_the_order_in_a_slot_stays(
    client: Client, project: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BATCH", 7)
    crawl = Crawl(client, Keys(project, "s"), ONE)
    feed = Feed(client, crawl.keys, order=order)
    await feed.push([request(n, slots=2) for n in range(100)])
    before = await crawl.contents()
    for layout in (THREE, PRINTS, FOUR, ONE):
        await crawl.divide(layout)
        assert (await crawl.contents()).sorted_lists == before.sorted_lists
        if layout == THREE:
            assert (await crawl.contents()).lists == before.lists
        if layout == PRINTS:
            for key in before.lists:
                for part in crawl.parts:
                    some = await client.call("lrange", part.queue(*key), 0, -1)
                    assert some == [one for one in before.lists[key] if one in some]


class Killed(BaseException):
    """As if the process were gone."""


class Interrupted:
    """Has a client die at its call number *last*: before it reaches Redis, or after."""

    def __init__(self, client: Client, last: int, after: bool) -> None:
        self.client, self.last, self.after, self.count = client, last, after, 0
        self.call, self.send = client.call, client.send

    def __enter__(self) -> Interrupted:
        self.client.call = self._wrap(self.call)  # type: ignore[method-assign]
        self.client.send = self._wrap(self.send)  # type: ignore[method-assign]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.call = self.call  # type: ignore[method-assign]
        self.client.send = self.send  # type: ignore[method-assign]

    def _wrap(self, method: Any) -> Any:
        async def wrapped(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.last and not self.after:
                raise Killed
            result = await method(*args, **options)
            if self.count == self.last:
                raise Killed
            return result

        return wrapped


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"), [(ONE, THREE), (THREE, Layout(2)), (Layout(2), Layout(2, "fingerprint"))],
    ids=title,
)  # fmt: skip
async def test_killed_at_each_call_and_run_again(
    client: Client,
    project: str,
    old: Layout,
    new: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moving, "BATCH", 15)
    for last in itertools.count(1):
        crawl = Crawl(client, Keys(project, f"s{last}"), old)
        known = await fill(crawl, 40)
        before = await crawl.contents()
        died = False
        for after in (False, True):
            with Interrupted(client, last, after):
                try:
                    await repartition(client, crawl.keys, new).run()
                except Killed:
                    died = True
                except StoreRefused as exc:
                    # The run before this one was killed when all was done.
                    assert "already" in str(exc)
        try:
            await crawl.divide(new)
        except StoreRefused as exc:
            assert "already" in str(exc)
            crawl.layout = new
        after_all = await crawl.contents()
        assert after_all.sorted_lists == before.sorted_lists, last
        if new.by == "slot":
            assert after_all.lists == before.lists
        assert after_all.delayed == before.delayed
        assert after_all.dead == before.dead
        assert after_all.limits == before.limits
        assert after_all.sums == before.sums
        await crawl_on(crawl, known, before.sums["queued"] - len(before.delayed))
        await purge(client, crawl.keys)
        if not died:
            break
    assert last > 50


async def test_purged_after_an_interruption(client: Client, project: str) -> None:
    for last in (20, 40, 60, 90, 120, None):
        crawl = Crawl(client, Keys(project, "s"), THREE)
        await fill(crawl)
        if last is None:
            await crawl.divide(FOUR)
            await crawl.divide(Layout(2))
        else:
            with Interrupted(client, last, after=True), pytest.raises(Killed):
                await repartition(client, crawl.keys, FOUR).run()
        await purge(client, crawl.keys)
        left = []
        for end in ("}", "#"):
            async for page in client.scan(f"crawlo:{{{crawl.keys.name}{end}*", 1000):
                left += page
        assert left == []
    with pytest.raises(StoreRefused, match="no crawl"):
        await repartition(client, crawl.keys, FOUR).run()


async def test_refused_while_a_worker_lives(client: Client, project: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), THREE)
    members = await crawl.join("w7")
    with pytest.raises(StoreRefused, match=r"w7.*crawlo-scrapy stop"):
        await repartition(client, crawl.keys, FOUR).run()
    with pytest.raises(StoreRefused, match="w7"):
        await repartition(client, crawl.keys, FOUR).look()
    await crawl.push(members, [request(n) for n in range(9)])
    assert await client.call("hget", crawl.keys.meta, "state") == b"running"
    # It died, and nobody has noticed.
    for part in crawl.parts:
        await client.call("zadd", part.workers, {"w7": 0})
    await crawl.divide(FOUR)
    assert (await crawl.contents()).sums["queued"] == 9


async def test_other_arguments_while_one_is_interrupted(client: Client, project: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), THREE)
    await fill(crawl)
    with Interrupted(client, 30, after=True), pytest.raises(Killed):
        await repartition(client, crawl.keys, FOUR).run()
    with pytest.raises(StoreRefused, match="--partitions 4 --by slot"):
        await repartition(client, crawl.keys, EIGHT).run()
    # Nobody comes in meanwhile.
    status, found = await Workers(client, crawl.keys).join("w", {}, bucket_fill=400, layout=THREE)
    assert (status, found) == ("layout", "")
    with pytest.raises(StoreRefused, match="repartitioned"):
        await Feed(client, crawl.keys).push([request(1)])
    for part in crawl.parts[1:]:
        assert await open_partition(client, crawl.keys, part) == "purging"
    assert (await crawl.divide(FOUR)).resumed


async def test_the_later_of_two_takes_over(
    client: Client, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl = Crawl(client, Keys(project, "s"), THREE)
    await fill(crawl)
    before = await crawl.contents()
    move = moving.move_requests

    async def slow(*args: Any) -> None:
        monkeypatch.undo()
        await repartition(client, crawl.keys, FOUR).run()
        await move(*args)

    monkeypatch.setattr(moving, "move_requests", slow)
    with pytest.raises(StoreRefused, match="another"):
        await repartition(client, crawl.keys, FOUR).run()
    crawl.layout = FOUR
    assert (await crawl.contents()).lists == before.lists


@pytest.mark.parametrize("state", ["finished", "paused", ""])
async def test_the_state_stays(client: Client, project: str, state: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), FOUR)
    members = await crawl.join("w1")
    await crawl.push(members, [request(n) for n in range(30)])
    await crawl.lease_all(members)
    await crawl.leave(members)
    if state:
        await client.call("hset", crawl.keys.meta, mapping={"state": state, "finished": 1})
    else:
        await purge(client, crawl.keys, queue_only=True)
    await crawl.divide(THREE)
    found = await client.call("hget", crawl.keys.meta, "state")
    assert (found or b"").decode() == state
    members = await crawl.join("w2")
    await client.call("hset", crawl.keys.meta, "state", "running")
    assert len(await crawl.push(members, [request(n) for n in range(40)])) == 30


async def test_a_batch_that_a_feed_sends_again(client: Client, project: str) -> None:
    """Some of it was pushed before the crawl was divided anew."""
    crawl = Crawl(client, Keys(project, "s"), THREE)
    pushes = [request(n) for n in range(60)]
    feed = Feed(client, crawl.keys, name="f", layout=THREE)
    await feed.push([])
    call, calls = client.send, itertools.count()

    async def cut(*args: Any, **options: Any) -> Any:
        if next(calls) == 1:
            raise StoreUnavailable("gone")
        return await call(*args, **options)

    client.send = cut  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await feed.push(pushes)
    client.send = call  # type: ignore[method-assign]
    await crawl.divide(FOUR)
    with pytest.raises(StoreRefused, match="4 partitions"):
        await feed.push(pushes)
    await Feed(client, crawl.keys, name="f", number=2).push(pushes)
    assert (await crawl.contents()).sums["queued"] == 60


async def test_times_of_slots_go_with_them(client: Client, project: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), ONE)
    members = await crawl.join("w1")
    await crawl.push(members, [request(n) for n in range(18)])
    for n in range(9):
        await Slots(client, crawl.keys).hold(f"host{n}", 3600)
    times = dict(await client.call("zrange", crawl.keys.timed, 0, -1, withscores=True))
    await crawl.leave(members)
    for layout in (FOUR, PRINTS, ONE):
        await crawl.divide(layout)
        for part in crawl.parts:
            for slot, time in await client.call("zrange", part.timed, 0, -1, withscores=True):
                assert time >= times[slot] - 1
            assert not await client.call("exists", part.slots)
        holds = [await Slots(client, part).holds() for part in crawl.parts]
        assert set().union(*holds) == {f"host{n}" for n in range(9)}


# What is gone.


async def lose(crawl: Crawl, number: int) -> int:
    part = crawl.parts[number]
    count = int(await crawl.client.call("hget", part.meta, "queued") or 0)
    async for page in crawl.client.scan(part.prefix + "*", 1000, near=part.meta):
        for key in page:
            await crawl.client.call("unlink", key)
    return count


@pytest.mark.parametrize("new", [EIGHT, FOUR, PRINTS], ids=title)
async def test_partitions_that_are_gone(client: Client, project: str, new: Layout) -> None:
    crawl = Crawl(client, Keys(project, "s"), FOUR)
    known = await fill(crawl)
    queued = (await crawl.contents()).sums["queued"]
    lost = await lose(crawl, 2)
    with pytest.raises(StoreRefused, match=r"only 0, 1, 3 are .*--accept-loss"):
        await repartition(client, crawl.keys, new).run()
    outcome = await crawl.divide(new, accept_loss=True)
    assert outcome.lost == [2]
    assert (await crawl.contents()).sums["queued"] == queued - lost
    members = await crawl.join("next")
    assert len(await crawl.push(members, known)) < len(known)
    assert len(await crawl.push(members, known)) == len(known)
    with pytest.raises(StoreRefused, match="next"):
        await repartition(client, crawl.keys, new, accept_loss=True).run()
    await crawl.leave(members)
    with pytest.raises(StoreRefused, match="already"):
        await repartition(client, crawl.keys, new, accept_loss=True).run()


async def test_one_that_goes_while_it_is_divided(client: Client, project: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), FOUR)
    await fill(crawl)
    with Interrupted(client, 60, after=True), pytest.raises(Killed):
        await repartition(client, crawl.keys, THREE).run()
    await lose(crawl, 3)
    for _ in range(2):
        with pytest.raises(StoreRefused, match="emptied while"):
            await repartition(client, crawl.keys, THREE).run()
    await crawl.divide(THREE, accept_loss=True)
    await crawl.contents()


# Other seen sets.


async def seen_crawl(client: Client, keys: Keys, layout: Layout, choice: SeenChoice) -> Crawl:
    """A crawl with that seen set, which has seen 300 requests."""
    crawl = Crawl(client, keys, layout)
    members = await crawl.join("w1")
    for part in crawl.parts:
        await seen.choose(client, part, choice.share(layout.count), own=1)
    await crawl.push(members, [request_with_url(n) for n in range(300)])
    await crawl.leave(members)
    return crawl


def request_with_url(number: int) -> Any:
    url = f"http://host{number % 9}.test/{number}"
    payload = bytes([0x81, 0xA1]) + b"u" + bytes([0xA0 + len(url)]) + url.encode()
    return request(number)._replace(payload=payload)


@pytest.mark.parametrize("ttl", [0.0, 3600.0])
@pytest.mark.parametrize(
    ("old", "new"), [(ONE, THREE), (FOUR, THREE), (FOUR, PRINTS), (PRINTS, FOUR)], ids=title
)
async def test_urls_and_slices(
    client: Client, redis_url: str, project: str, old: Layout, new: Layout, ttl: float
) -> None:
    everything = client_of(redis_url)
    keys = Keys(project, "s")
    crawl = await seen_crawl(client, keys, old, SeenChoice(ttl=ttl, urls=True))
    known = [request_with_url(n) for n in range(300)]
    for layout in (new, ONE):
        await crawl.divide(layout)
        counts = [(await seen.look(client, part)).count for part in crawl.parts]
        assert sum(counts) == 300
        kept: dict[str, set[int]] = {}
        for number, part in enumerate(crawl.parts):
            async for page in kept_urls(client, part):
                for url in page:
                    kept.setdefault(url.url, set()).add(number)
            if ttl:
                async for keys_page in client.scan(part.seen_prefix + "*", 1000, near=part.meta):
                    for key in keys_page:
                        assert everything.ttl(key) > 0
        assert len(kept) == 300
        if layout.by == "fingerprint":
            for push in known:
                url = push.payload[4:].decode()
                assert kept[url] == {push.member % layout.count}
        members = await crawl.join("w2")
        assert len(await crawl.push(members, known)) == 300
        assert not await crawl.push(members, [request_with_url(5000 + n) for n in range(20)])
        assert len(await crawl.push(members, known)) == 300
        await crawl.leave(members)
        # Those count no more: the next look is at what was there.
        known_now = sum([(await seen.look(client, part)).count for part in crawl.parts])
        assert known_now == 320
        for part in crawl.parts:
            await seen_forget(client, part, [request_with_url(5000 + n) for n in range(20)])


async def seen_forget(client: Client, keys: Keys, pushes: list[Any]) -> None:
    urls = {push.payload[4:].decode() for push in pushes}
    async for page in kept_urls(client, keys, urls.__contains__):
        await forget_urls(client, keys, page)


@pytest.mark.parametrize("ttl", [0.0, 3600.0])
async def test_bloom_filters(client: Client, project: str, ttl: float) -> None:
    choice = SeenChoice("bloom", 100, 0.0001, ttl=ttl)
    crawl = await seen_crawl(client, Keys(project, "s"), Layout(2), choice)
    if b"bf" in await client.call("hmget", crawl.keys.meta, "seen_how"):
        pytest.skip("this server has a module for it")
    known = [request_with_url(n) for n in range(300)]
    await crawl.divide(FOUR)
    members = await crawl.join("w2")
    assert len(await crawl.push(members, known)) == 300
    assert len(await crawl.push(members, [request_with_url(5000 + n) for n in range(20)])) <= 1
    await crawl.leave(members)
    for layout in (THREE, PRINTS):
        with pytest.raises(StoreRefused, match="a multiple of 4 partitions"):
            await repartition(client, crawl.keys, layout).run()
    assert await client.call("hget", crawl.keys.meta, "state") == b"running"


async def test_the_memory_that_it_takes(client: Client, project: str) -> None:
    crawl = Crawl(client, Keys(project, "s"), FOUR)
    await fill(crawl)
    full = {"seen": 1_600_000, "seen_fill": 1_600_000, "seen_level": 0}
    for part in crawl.parts:
        await client.call("hset", part.meta, mapping=full)
    looks = {
        layout: await repartition(client, crawl.keys, layout).look()
        for layout in (EIGHT, THREE, FIVE_PRINTS)
    }
    now = looks[EIGHT].memory[0]
    assert 4 * 1_600_000 * 8 < now < 4 * 1_600_000 * 10
    assert looks[EIGHT].memory[1] == 2 * now
    assert looks[THREE].memory[1] > 20 * now  # buckets have outgrown their packed form
    assert now <= looks[FIVE_PRINTS].memory[1] < 1.1 * now
    assert looks[EIGHT].seen == 6_400_000
    assert await layout_of(client, crawl.keys) == FOUR


# Any crawl.

LAYOUTS = st.builds(Layout, st.integers(2, 9), st.sampled_from(["slot", "fingerprint"])) | st.just(
    ONE
)


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    layouts=st.lists(LAYOUTS, min_size=2, max_size=4).filter(
        lambda found: all(one != other for one, other in itertools.pairwise(found))
    ),
    numbers=st.lists(st.integers(0, 500), unique=True, max_size=80),
    slots=st.integers(1, 30),
)
def test_any_crawl(
    background: Background,
    redis_url: str,
    layouts: list[Layout],
    numbers: list[int],
    slots: int,
) -> None:
    async def check() -> None:
        client = Client.connect(address_of(redis_url))
        try:
            crawl = Crawl(client, Keys(f"test-{uuid4().hex[:12]}", "s"), layouts[0])
            members = await crawl.join("w1")
            pushes = [request(n, slots=slots) for n in numbers]
            await crawl.push(members, pushes)
            await crawl.leave(members)
            before = await crawl.contents()
            for layout in layouts[1:]:
                ordered = crawl.layout.by == layout.by == "slot"
                lists = (await crawl.contents()).lists
                await crawl.divide(layout)
                after = await crawl.contents()
                assert after.sorted_lists == before.sorted_lists
                assert not ordered or after.lists == lists
                assert after.sums == before.sums
            members = await crawl.join("w2")
            assert sorted(await crawl.push(members, pushes)) == sorted(pushes)
            assert len(await crawl.lease_all(members)) == len(numbers)
            await purge(client, crawl.keys)
        finally:
            await client.close()

    background(check())


@pytest.mark.chaos
@pytest.mark.slow
def test_workers_go_on_with_it(tmp_path: Path, redis_url: str, background: Background) -> None:
    """A crawl whose workers are stopped twice, and that is divided anew each time."""
    with ChaosSite(pages=1500, delay=0.2) as site:
        parts = ONE
        with Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet:
            keys = Keys(fleet.project, "chaos", "run")
            for pages, layout in ((200, FOUR), (700, FIVE_PRINTS), (1500, None)):
                fleet.set(CRAWLO_PARTITIONS=parts.count, CRAWLO_PARTITION_BY=parts.by)
                fleet.start(2)
                if layout is None:
                    break
                wait_until(lambda pages=pages: len(fleet.items()) > pages, "pages are crawled", 120)
                for worker in fleet.alive:
                    worker.terminate()
                fleet.wait(60)
                background(divide(redis_url, keys, layout))
                parts = layout
            fleet.wait(120)
            assert set(fleet.items().values()) == {1}
            assert len(fleet.items()) == site.pages
            assert fleet.reasons() == {"shutdown": 4, "finished": 2}
            assert not fleet.errors()


async def divide(redis_url: str, keys: Keys, layout: Layout) -> None:
    client = Client.connect(address_of(redis_url))
    try:
        await repartition(client, keys, layout).run()
    finally:
        await client.close()


@pytest.mark.slow
async def test_on_a_cluster() -> None:
    with RedisCluster() as cluster:
        nodes = tuple(f"127.0.0.1:{node.port}" for node in cluster.nodes)
        client = Client.connect(Address(cluster_nodes=nodes))
        try:
            crawl = Crawl(client, Keys("p", "s"), ONE)
            known = await fill(crawl)
            before = await crawl.contents()
            for layout in (Layout(6), PRINTS, THREE):
                await crawl.divide(layout)
                after = await crawl.contents()
                assert after.sorted_lists == before.sorted_lists
                assert after.sums == before.sums
                assert after.dead == before.dead
            await crawl_on(crawl, known, before.sums["queued"] - len(before.delayed))
        finally:
            await client.close()
