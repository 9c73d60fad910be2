"""Names of any form stay inside their own crawl, also as patterns."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Spider

from crawlo_scrapy.client import Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys, clean, hash_slot, partition_pattern
from tests.backends import address_of, client_of
from tests.crawling import crawl, crawl_settings

#: Names that were made to break out, and any others.
NAMES = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="a:{}#*?[]\\%~\n\0 /^-", max_size=8),
    st.sampled_from(
        ["a", "x" * 10_000, "x" * 200, "ü" * 5000, "\ud800", "%7B", "a}:meta", "a#1.2.0"]
    ),
)
CRAWLS = st.tuples(NAMES, NAMES, st.none() | NAMES)
PARTITIONS = st.none() | st.tuples(st.integers(1, 3), st.just(4))
GLOB = set("*?[]\\^")
many = settings(max_examples=100, deadline=None)


def keys_of(crawl: Any, partition: Any) -> Keys:
    keys = Keys(*crawl)
    return keys.partition(*partition) if partition else keys


def identity(crawl: Any, partition: Any) -> Any:
    project, spider, crawl_id = crawl
    return project, spider, crawl_id or None, partition


@many
@given(CRAWLS, PARTITIONS, CRAWLS, PARTITIONS)
def test_no_crawl_s_keys_begin_as_another_s(
    one: Any, part: Any, other: Any, other_part: Any
) -> None:
    first, second = keys_of(one, part).prefix, keys_of(other, other_part).prefix
    if identity(one, part) == identity(other, other_part):
        assert first == second
    else:
        assert not first.startswith(second)
        assert not second.startswith(first)


@many
@given(CRAWLS, PARTITIONS)
def test_a_pattern_matches_one_crawl(crawl: Any, part: Any) -> None:
    keys = keys_of(crawl, part)
    # What is scanned for is a prefix and a star: nothing else in it may be a pattern.
    assert not GLOB & set(keys.prefix)
    assert not GLOB & set(partition_pattern(keys).removesuffix("*"))
    assert not GLOB & set(clean(crawl[0]))
    assert keys.prefix.isascii()
    assert keys.prefix.isprintable()
    assert len(keys.prefix) < 1000
    assert keys.prefix.count("{") == keys.prefix.count("}") == 1


@many
@given(CRAWLS, PARTITIONS, NAMES)
def test_every_key_of_a_crawl_is_on_its_hash_slot(crawl: Any, part: Any, name: str) -> None:
    keys = keys_of(crawl, part)
    made = [
        keys.meta,
        keys.worker(name),
        keys.leases(name),
        keys.feed(name),
        keys.migration(name),
        keys.robots(name),
        keys.robots_claim(name),
        keys.queue(clean(name)),
        keys.queue(clean(name), "5"),
        keys.stats(1, name),
        keys.stats_node_series(1, name),
    ]
    tag = keys.prefix.partition("{")[2].partition("}")[0]
    for key in made:
        assert key.startswith(keys.prefix)
        begin = key.index("{")
        assert hash_slot(key[begin + 1 : key.index("}", begin)]) == hash_slot(tag)
    assert len(set(made)) == len(made)


async def test_a_purge_removes_one_crawl(redis_url: str, project: str) -> None:
    client = Client.connect(address_of(redis_url))
    names = ["s", "s*", "s?", "[s]", "s:s", "s}", "{s}", "s\\*", "s#1.4.0", "s%2A", "s\n", "*"]
    crawls = [Keys(project, name, crawl_id) for name in names for crawl_id in [None, "1", "*"]]
    for keys in crawls:
        await client.call("hset", keys.meta, "state", "running")
        await client.call("hset", keys.queue_prefix + "x", "a", 1)
    for number, keys in enumerate(crawls, 1):
        assert await Frontier(client, keys).purge() == 2
        left = [await client.call("exists", other.meta) for other in crawls]
        assert left == [0] * number + [1] * (len(crawls) - number)
    await client.close()


async def test_a_crawl_with_such_names(redis_url, project, site):
    """A project, a spider and a node that are named as nobody would."""
    odd = "{x}:*\n%2F#?[]\\é" + "x" * 500

    class Odd(Spider):
        name = odd

        async def start(self):
            from scrapy import Request

            yield Request(f"{site.url}/ok/1", meta={"download_slot": odd})

    names = {"PROJECT_NAME": project + odd, "CRAWLO_CRAWL_ID": odd, "CRAWLO_NODE_ID": odd}
    crawler = await crawl(Odd, crawl_settings(redis_url, project, **names))
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert site.hits["/ok/1"] == 1
    keys = Keys(project + odd, odd, odd)
    found = client_of(redis_url).keys("crawlo:{" + project + "*")
    assert found
    assert all(key.startswith(keys.prefix.encode()) for key in found)
    client = Client.connect(address_of(redis_url))
    assert await Frontier(client, keys).purge() == len(found)
    await client.close()


def test_names_are_told_apart_by_all_of_their_parts() -> None:
    parts = ["a", "a:b", "b", "", "a:", ":a"]
    crawls = set(itertools.product(parts, parts, [None, "a", "b", "a:b"]))
    assert len({Keys(*c).prefix for c in crawls}) == len(crawls)
