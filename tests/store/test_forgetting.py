"""What is forgotten is new again, and nothing else; also while a crawl runs."""

from __future__ import annotations

from typing import Any

import ormsgpack
import pytest

from crawlo_scrapy.store import forgetting, seen
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.forgetting import (
    forget,
    forget_slices,
    forget_urls,
    kept_count,
    kept_urls,
)
from crawlo_scrapy.store.frontier import Push
from crawlo_scrapy.store.seen import SeenChoice
from tests.store.conftest import Store
from tests.store.test_seen_expiry import pass_time


def fingerprint(url: str) -> bytes:
    return b"of " + url.encode()


def request(url: str, **fields: Any) -> Push:
    payload = ormsgpack.packb({"u": url, **fields})
    return Push("f", *seen.split(fingerprint(url)), "a", 0, payload)


async def kept(store: Store, pattern: str = "", before: int | None = None) -> list[str]:
    pages = kept_urls(store.client, store.keys, lambda url: pattern in url, before=before)
    return [one.url async for page in pages for one in page]


@pytest.mark.parametrize("choice", [SeenChoice(), SeenChoice(ttl=1000)], ids=["plain", "expiry"])
async def test_forget(store: Store, choice: SeenChoice) -> None:
    member = await store.join(bucket_fill=1)
    await seen.choose(store.client, store.keys, choice, own=1)
    everything = [b"%d" % number for number in range(5000)]  # of several levels
    for first in range(0, 5000, 1000):
        await seen.add(store.client, store.keys, everything[first : first + 1000])
    if choice.ttl:
        await pass_time(store.client, store.keys, 250)
        await seen.add(store.client, store.keys, [b"later"])
    some = everything[::3]
    assert await forget(store.client, store.keys, [*some, b"never seen"]) == len(some)
    assert await forget(store.client, store.keys, some) == 0
    assert int(await store.meta("seen")) == 5000 - len(some) + bool(choice.ttl)
    fresh = []
    for first in range(0, 5000, 1000):
        fresh += await seen.add(store.client, store.keys, everything[first : first + 1000])
    assert fresh == [number % 3 == 0 for number in range(5000)]
    result = await store.frontier.exchange(member)
    assert result.status == "ok"


async def test_a_forgotten_url_is_queued_once_more(store: Store) -> None:
    member = await store.join()
    await store.frontier.exchange(member, [request("https://a.test/")])
    await forget(store.client, store.keys, [fingerprint("https://a.test/")])
    pushes = [request("https://a.test/"), request("https://a.test/")]
    result = await store.frontier.exchange(member, pushes)
    assert (result.queued, result.duplicates) == (2, [1])


@pytest.mark.parametrize("ttl", [0.0, 1000.0])
async def test_a_bloom_filter_cannot(store: Store, ttl: float) -> None:
    await seen.choose(store.client, store.keys, SeenChoice("bloom", ttl=ttl))
    await seen.add(store.client, store.keys, [b"a"])
    with pytest.raises(StoreRefused, match="cannot forget"):
        await forget(store.client, store.keys, [b"a"])
    assert await seen.add(store.client, store.keys, [b"a"]) == [False]


class TestKeptURLs:
    async def test_of_any_length_and_form(self, store: Store) -> None:
        member = await store.join()
        await seen.choose(store.client, store.keys, SeenChoice(urls=True), own=1)
        urls = [f"https://a.test/{'x' * length}" for length in (0, 1, 16, 17, 240, 241, 70_000)]
        urls.append("https://ü.test/日本")
        await store.frontier.exchange(member, [request(url, m="POST", b=b"1") for url in urls])
        # What has no URL in it is recorded without.
        odd = [b"", b"P" + b"\0" * 40, b"\x81\xa1v\xa1x", b"\x81\xa1u"]
        pushes = [Push("r", *seen.split(b"%d" % n), "a", 0, text) for n, text in enumerate(odd)]
        assert (await store.frontier.exchange(member, pushes)).status == "ok"
        assert await kept(store) == urls
        assert await kept_count(store.client, store.keys) == len(urls)
        assert int(await store.meta("seen")) == len(urls) + len(odd)

    async def test_one_entry_for_what_was_seen_before(self, store: Store) -> None:
        member = await store.join()
        await seen.choose(store.client, store.keys, SeenChoice(urls=True), own=1)
        for _ in range(2):
            await store.frontier.exchange(member, [request("https://a.test/")] * 2)
        assert await kept(store) == ["https://a.test/"]

    async def test_forget_by_pattern(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forgetting, "STEP", 7)
        member = await store.join()
        await seen.choose(store.client, store.keys, SeenChoice(urls=True), own=1)
        urls = [f"https://{host}.test/{number}" for host in "ab" for number in range(20)]
        await store.frontier.exchange(member, [request(url) for url in urls])
        total = 0
        pages = kept_urls(store.client, store.keys, lambda url: "//a" in url)
        async for page in pages:
            assert len(page) <= 7
            total += await forget_urls(store.client, store.keys, page)
        assert total == 20
        assert await kept(store) == urls[20:]
        result = await store.frontier.exchange(member, [request(url) for url in urls])
        assert result.duplicates == list(range(20, 40))

    async def test_by_age(self, store: Store) -> None:
        member = await store.join()
        await seen.choose(store.client, store.keys, SeenChoice(urls=True), own=1)
        await store.frontier.exchange(member, [request("https://a.test/old")])
        # The clock of the stream is Redis's; what comes later has a later time.
        pages = kept_urls(store.client, store.keys)
        [old] = [one async for page in pages for one in page]
        assert await kept(store, before=old.time) == []
        assert await kept(store, before=old.time + 1) == ["https://a.test/old"]
        now = (await seen.look(store.client, store.keys)).now
        assert 0 <= now - old.time < 60_000

    async def test_they_go_with_their_slice(self, store: Store) -> None:
        member = await store.join()
        await seen.choose(store.client, store.keys, SeenChoice(ttl=1000, urls=True), own=1)
        await store.frontier.exchange(member, [request("https://a.test/1")])
        await pass_time(store.client, store.keys, 300)
        await store.frontier.exchange(member, [request("https://a.test/2")])
        state = await seen.look(store.client, store.keys)
        assert list(state.chunks) == [0, 1]
        for chunk in state.chunks:
            assert 0 < await store.client.call("pttl", store.keys.seen_urls(chunk)) <= 1_200_000
        assert await kept(store) == ["https://a.test/1", "https://a.test/2"]
        await pass_time(store.client, store.keys, 950)
        assert await kept(store) == ["https://a.test/2"]


class TestSlices:
    @pytest.mark.parametrize("kind", ["exact", "bloom"])
    async def test_whole_slices_of_an_age(self, store: Store, kind: str) -> None:
        await seen.choose(store.client, store.keys, SeenChoice(kind, ttl=1000))
        for name in (b"a", b"b", b"c"):
            await seen.add(store.client, store.keys, [name, name + b"2"])
            await pass_time(store.client, store.keys, 250)
        # They are 750, 500 and 250 seconds old; a slice takes in what comes in 200.
        assert await forget_slices(store.client, store.keys, 560) == 0
        assert await forget_slices(store.client, store.keys, 540) == 2
        assert await forget_slices(store.client, store.keys, 540) == 0
        assert (await seen.look(store.client, store.keys)).count == 4
        prefix = store.keys.seen_prefix
        assert [key async for key in store.client.redis.scan_iter(prefix + "s1:*")] == []
        assert await seen.add(store.client, store.keys, [b"a", b"b", b"c"]) == [True, False, False]

    async def test_all_of_them_and_then_anew(self, store: Store) -> None:
        await seen.choose(store.client, store.keys, SeenChoice(ttl=1000))
        for name in (b"a", b"b"):
            await seen.add(store.client, store.keys, [name])
            await pass_time(store.client, store.keys, 250)
        assert await forget_slices(store.client, store.keys, 0) == 2
        assert await seen.add(store.client, store.keys, [b"a", b"a"]) == [True, False]
        state = await seen.look(store.client, store.keys)
        assert [piece.number for piece in state.slices] == [3], "no number comes twice"

    async def test_of_a_crawl_without(self, store: Store) -> None:
        await seen.add(store.client, store.keys, [b"a"])
        assert await forget_slices(store.client, store.keys, 0) == 0
        assert await seen.add(store.client, store.keys, [b"a"]) == [False]
