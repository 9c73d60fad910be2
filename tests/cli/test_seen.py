"""`crawlo-scrapy seen`: what is counted, what can be forgotten, and what is said when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crawlo_scrapy.client import AsyncCrawlClient
from crawlo_scrapy.payload import PlainRequest, fingerprint, push_of
from crawlo_scrapy.store import seen
from crawlo_scrapy.store.control import Control, Note
from crawlo_scrapy.store.feeding import Feed
from crawlo_scrapy.store.partitions import Layout
from crawlo_scrapy.store.seen import PLAIN, SeenChoice, SeenState
from crawlo_scrapy.values import Codec
from tests.cli.conftest import Command, SomeCrawl, do

A = [f"http://a.test/{number}" for number in range(5)]
B = [f"http://b.test/{number}" for number in range(4)]
URLS = SeenChoice(urls=True)
BLOOM = SeenChoice("bloom")


def push(crawl: SomeCrawl, *urls: str, seen: SeenChoice | None = None, **fields: Any) -> int:
    """Push *urls*; return how many were new. A crawl that is begun has the choice *seen*."""

    async def act() -> int:
        async with AsyncCrawlClient(
            *crawl.keys.names, redis_url=crawl.url, seen=seen, **fields
        ) as client:
            return (await client.push(urls)).queued

    return do(act())


def forget(crawlo: Command, crawl: SomeCrawl, *words: str, **variables: str) -> int:
    """Forget; return how many."""
    done = crawlo("seen", "forget", "shop", *words, "--yes", "--json", *crawl.words, **variables)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["forgotten"])


def state_of(crawl: SomeCrawl) -> SeenState:
    async def look() -> SeenState:
        async with crawl.client() as client:
            return await seen.look(client, crawl.keys)

    return do(look())


def audit(crawl: SomeCrawl) -> list[Note]:
    async def read() -> list[Note]:
        async with crawl.client() as client:
            return await Control(client, crawl.keys).audit()

    return do(read())


def test_urls_by_the_projects_fingerprinter(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A)
    words = ["--url", A[1] + "#fragment", "--url", A[2], "--url", "http://a.test/never"]
    assert forget(crawlo, some_crawl, *words) == 2
    assert push(some_crawl, *A) == 2
    [note] = [note for note in audit(some_crawl) if "forget" in note.what]
    assert note.what.startswith("seen forget --url http://a.test/1#fragment")
    assert note.what.endswith("(2)")


def test_requests_that_are_no_plain_get(crawlo: Command, some_crawl: SomeCrawl) -> None:
    post = ["--method", "POST", "--body", "q=1"]
    crawlo("push", "shop", A[0], *post, *some_crawl.words)
    assert forget(crawlo, some_crawl, "--url", A[0]) == 0
    assert forget(crawlo, some_crawl, "--url", A[0], *post) == 1
    assert "Queued 1 request" in crawlo("push", "shop", A[0], *post, *some_crawl.words).stdout


def test_a_file_and_a_pattern(crawlo: Command, some_crawl: SomeCrawl, tmp_path: Path) -> None:
    push(some_crawl, *A, *B)
    file = tmp_path / "urls.txt"
    file.write_text("\n".join([*A, *B, "# no URL", json.dumps({"url": "http://c.test/"})]))
    assert forget(crawlo, some_crawl, "*//a.test/?", "--file", str(file)) == 5
    assert forget(crawlo, some_crawl, "--file", str(file)) == 4
    assert state_of(some_crawl).count == 0
    file.write_text(f"{A[0]}\nnothing\n")
    done = crawlo("seen", "forget", "shop", "--file", str(file), "--yes", *some_crawl.words)
    assert done.returncode == 1
    assert "line 2: 'nothing' is not a URL" in done.stderr


def test_standard_input(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A)
    words = ["seen", "forget", "shop", "--file", "-", *some_crawl.words]
    assert "add --yes" in crawlo(*words, typed=A[0]).stderr
    assert "Forgot 1 URL of" in crawlo(*words, "--yes", typed=A[0]).stdout


def test_it_asks(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A)
    words = ["seen", "forget", "shop", "--url", A[0], *some_crawl.words]
    done = crawlo(*words, typed="n\n")
    assert f"Forget --url {A[0]} of 5 seen URLs, for {some_crawl.keys.name} on" in done.stdout
    assert (done.returncode, state_of(some_crawl).count) == (130, 5)
    assert "Forgot 1 URL" in crawlo(*words, typed="y\n").stdout
    assert state_of(some_crawl).count == 4


def test_a_pattern_where_urls_are_kept(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A, *B, seen=URLS)
    words = ["seen", "forget", "shop", "http://a.test/*", *some_crawl.words]
    assert "Forget 5 URLs, for" in crawlo(*words, typed="n\n").stdout
    assert forget(crawlo, some_crawl, "http://a.test/*") == 5
    assert forget(crawlo, some_crawl, "http://a.test/*") == 0
    assert push(some_crawl, *A, *B, seen=URLS) == 5
    assert forget(crawlo, some_crawl, "--older-than", "1d") == 0
    assert forget(crawlo, some_crawl, "http://b.test/*", "--older-than", "0s") == 4
    assert forget(crawlo, some_crawl, "--older-than", "0s") == 5


def test_urls_that_were_seen_before_they_were_kept(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A)
    push(some_crawl, *B, seen=URLS)
    done = crawlo("seen", "forget", "shop", "*", "--yes", *some_crawl.words)
    assert "Forgot 4 URLs" in done.stdout
    assert "Of 5 seen URLs only the hash is known" in done.stdout


def test_what_expires_is_forgotten_by_age(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A, seen=SeenChoice(ttl=5))
    assert forget(crawlo, some_crawl, "--older-than", "1h") == 0
    words = ["seen", "forget", "shop", "--older-than", "1h", *some_crawl.words]
    assert "in whole slices of 1 s" in crawlo(*words, typed="n\n").stdout


@pytest.mark.parametrize(
    ("choice", "words", "said"),
    [
        (PLAIN, ["http://a.test/*"], "keeps no URLs"),
        (PLAIN, ["--older-than", "7d"], "needs a crawl with REDIS_TTL"),
        (SeenChoice(ttl=900), ["http://*", "--older-than", "7d"], "keeps no URLs"),
        (BLOOM, ["--url", A[0]], "cannot forget a URL"),
        (BLOOM, ["http://a.test/*"], "cannot forget a URL"),
        (PLAIN, [], "say what: PATTERN"),
        (PLAIN, ["--url", A[0], "--older-than", "7d"], "--older-than goes with PATTERN only"),
        (PLAIN, ["http://*", "--url", A[0]], "--url goes with neither"),
        (PLAIN, ["--older-than", "soon"], "no age such as"),
    ],
)
def test_what_cannot_be(
    crawlo: Command, some_crawl: SomeCrawl, choice: SeenChoice, words: list[str], said: str
) -> None:
    push(some_crawl, *A, seen=choice)
    done = crawlo("seen", "forget", "shop", *words, "--yes", *some_crawl.words)
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert state_of(some_crawl).count == 5


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (PLAIN, "an exact set"),
        (SeenChoice(ttl=90, urls=True), "90 s"),
        (BLOOM, "1 Bloom filter, made for 1,000,000 URLs, 0.001 of errors"),
        (SeenChoice("bloom", capacity=2), "further filters are open"),
    ],
    ids=["exact", "expiry", "bloom", "full"],
)
def test_count(crawlo: Command, some_crawl: SomeCrawl, choice: SeenChoice, said: str) -> None:
    push(some_crawl, *A, seen=choice)
    done = crawlo("seen", "count", "shop", *some_crawl.words)
    assert f"The crawl {some_crawl.keys.name} has seen 5 URLs." in done.stdout
    assert said in done.stdout
    facts = json.loads(crawlo("seen", "count", "shop", "--json", *some_crawl.words).stdout)
    assert (facts["count"], facts["how"]) == (5, choice.kind)


def test_all_partitions(crawlo: Command, some_crawl: SomeCrawl) -> None:
    layout = Layout(3, "fingerprint")

    async def feed() -> list[SeenState]:
        async with some_crawl.client() as client:
            pushes = [
                push_of(request, Codec(), fingerprint(request))
                for request in (PlainRequest(url) for url in A + B)
            ]
            await Feed(client, some_crawl.keys, layout=layout, choice=URLS).push(pushes)
            return [await seen.look(client, keys) for keys in layout.keys(some_crawl.keys)]

    assert [state.count > 0 for state in do(feed())] == [True] * 3, "each has some"
    done = crawlo("seen", "count", "shop", *some_crawl.words)
    assert "has seen 9 URLs" in done.stdout
    assert forget(crawlo, some_crawl, "http://b.test/*") == 4
    assert forget(crawlo, some_crawl, "--url", A[0], "--url", A[1], "--url", B[0]) == 2
    assert forget(crawlo, some_crawl, "--older-than", "0s") == 3


def test_status_says_that_a_filter_is_full(crawlo: Command, some_crawl: SomeCrawl) -> None:
    push(some_crawl, *A, seen=SeenChoice("bloom", capacity=2))
    said = crawlo("status", "shop", *some_crawl.words).stdout
    assert "5 URLs; more than its Bloom filter was made for" in said


def test_a_crawl_that_is_not_there(crawlo: Command, some_crawl: SomeCrawl) -> None:
    assert "has seen 0 URLs" in crawlo("seen", "count", "shop", *some_crawl.words).stdout
    assert forget(crawlo, some_crawl, "--url", A[0]) == 0


def test_push_begins_a_crawl_with_the_projects_choice(
    crawlo: Command, some_crawl: SomeCrawl
) -> None:
    words = ["push", "shop", A[0], *some_crawl.words]
    assert crawlo(*words, CRAWLO_SEEN="bloom", CRAWLO_REDIS_TTL="60").returncode == 0
    state = state_of(some_crawl)
    assert (state.how, state.ttl) == ("bloom", 60)
    done = crawlo(*words)
    assert done.returncode == 1
    assert "CRAWLO_SEEN = bloom, REDIS_TTL = 60, and the settings here say" in done.stderr
