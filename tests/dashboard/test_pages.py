"""What stands on the pages."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ormsgpack
import pytest

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.acl import reader_rule
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.frontier import Frontier, Membership, Push
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import NEWEST, SUM, ErrorLine
from crawlo_scrapy.store.workers import Workers
from tests.dashboard.conftest import Dashboard, client_of
from tests.servers import default_redis, wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example_project"
HOSTILE = "\"'></td></script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;{{7*7}}"


class Page(HTMLParser):
    """The texts of a page: `words` of everything, `rows` of its tables, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._texts: list[str] = []
        self._in_cell = False
        self.feed(text)
        self.words = " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self._texts.append(data)
        if self._in_cell:
            self.rows[-1][-1] = " ".join((self.rows[-1][-1] + data).split())

    def row(self, head: str) -> list[str]:
        """The cells of the row that *head* begins."""
        [row] = [row[1:] for row in self.rows if row and row[0] == head]
        return row


@asynccontextmanager
async def changing(crawl: SimulatedCrawl, redis_url: str) -> AsyncIterator[Client]:
    """A client for a test to change its crawl with."""
    async with client_of(redis_url) as client:
        crawl.use(client)
        yield client


def figure(page: str, name: str) -> str:
    """The number under *name* at the top of a page."""
    found = re.search(rf"<dt>{name}</dt><dd>([^<]*)", page)
    assert found, name
    return found[1].strip()


# All crawls.


def test_all_crawls(redis_url: str, crawl: SimulatedCrawl) -> None:
    # A new one: the first search for crawls is waited for.
    with Dashboard(redis_url) as dashboard:
        page = Page(dashboard.page("/"))
    state, _, pages, items, errors, queued, leased, dead, nodes, _ = page.row(crawl.keys.name)
    assert state == "running"
    sums = [4 * (figure // 4) for figure in crawl.figures[:3]]
    assert [pages, items, errors] == [f"{figure:,}" for figure in sums]
    assert (queued, leased, dead, nodes) == (f"{crawl.figures[6]:,}", "32", "8", "4")


async def test_a_crawl_of_any_name(redis_url: str, project: str) -> None:
    keys = Keys(f"{project} ü/%25?#", "s:<b>", "..")
    async with client_of(redis_url) as client:
        await SimulatedCrawl(client, keys, nodes=1, hours=0.1).make()
    with Dashboard(redis_url) as dashboard:
        tags = Page(dashboard.page("/")).tags
        links = [attributes.get("href") or "" for tag, attributes in tags if tag == "a"]
        [link] = [link for link in links if quote(project) in link]
        text = dashboard.page(link)
        [source] = [a["data-src"] for _, a in Page(text).tags if "data-src" in a]
        assert source
        assert json.loads(dashboard.page(source))["time"]


def test_no_crawls(redis_server: LocalRedis, tmp_path: Path) -> None:
    with LocalRedis(binary=default_redis()) as empty, Dashboard(empty.url) as dashboard:
        assert "There are no crawls here" in dashboard.page("/")


def test_inside_a_project_only_its_crawls(redis_url: str, crawl: SimulatedCrawl, path: str) -> None:
    with Dashboard(redis_url, cwd=EXAMPLE) as dashboard:
        page = dashboard.page("/")
        assert "Crawls of shop" in Page(page).words
        assert crawl.keys.name not in page
        assert dashboard.ask(path).status == 404
    with Dashboard(redis_url, "--all", cwd=EXAMPLE) as dashboard:
        assert crawl.keys.name in dashboard.page("/")


# One crawl.


def test_one_crawl(dashboard: Dashboard, crawl: SimulatedCrawl, path: str) -> None:
    text = dashboard.page(path)
    page = Page(text)
    assert figure(text, "Pages") == f"{4 * (crawl.figures[0] // 4):,}"
    assert figure(text, "Queued") == f"{crawl.figures[6]:,}"
    assert figure(text, "Dead letters") == "8"
    # Nodes.
    node = page.row("host-0-4001")
    assert node[0] == "running"
    assert node[2] == f"{crawl.figures[0] // 4:,}"
    assert node[-2:] == ["host-0", "4001"]
    # Responses, priorities, slots, stats.
    ok = crawl.stats(0)["downloader/response_status_count/200"][1]
    assert page.row("200 OK")[0] == f"{4 * ok:,}"
    assert page.row("twisted.internet.error.TimeoutError") == ["100"]
    assert any(row[0].startswith("site-") for row in page.rows if row)
    assert page.row("log_count/INFO") == [f"{4 * 4321:,}"]
    # Dead letters: reason, URL, error.
    assert "2 attempts" in page.words
    assert "https://site-1.test/broken/1?a=1&b=2" in page.words
    assert "User timeout caused connection failure (1)" in page.words


def test_curves(dashboard: Dashboard, crawl: SimulatedCrawl, path: str) -> None:
    curves = json.loads(dashboard.page(f"{path}/curves.json"))
    assert set(curves) == {"time", "pages", "items", "errors", "queued", "memory"}
    assert len({len(column) for column in curves.values()}) == 1
    # The first sample, and none since the last.
    assert len(curves["time"]) >= 28
    assert max(curves["queued"]) > 100_000
    assert 100 < max(curves["pages"]) < 1000
    # The same for those who see no curves.
    table = Page(dashboard.page(path)).rows
    assert ["Up to", "Pages a minute", "Items a minute", "Errors a minute", "Queued"] in table


async def test_silent_and_left_nodes(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with changing(crawl, redis_url) as client:
        ages_ago = {crawl.members[1].worker_id: 1}
        await client.call("zadd", crawl.keys.workers, ages_ago)
        await client.call("zrem", crawl.keys.workers, crawl.members[2].worker_id)
        nodes = crawl.keys.stats_nodes(1)
        score = await client.call("zscore", nodes, crawl.members[2].worker_id)
        await client.call("zadd", nodes, {crawl.members[2].worker_id: -score})
    text = dashboard.page(path)
    page = Page(text)
    assert "2 at work, 1 not heard of, 1 left" in page.words
    assert page.row("host-0-4001")[0] == "silent"
    # What is wrong stands first.
    assert re.findall(r"host-0-400\d(?=</a>)", text)[0] == "host-0-4001"
    assert "1 that left" in page.words


def test_nodes_in_order(dashboard: Dashboard, crawl: SimulatedCrawl, path: str) -> None:
    text = dashboard.page(f"{path}?sort=memory")
    assert re.findall(r"host-0-400\d(?=</a>)", text) == [f"host-0-400{n}" for n in (3, 2, 1, 0)]
    assert 'aria-sort="descending"' in text
    assert dashboard.page(f"{path}?sort=__class__")


def test_stats_by_filter(dashboard: Dashboard, crawl: SimulatedCrawl, path: str) -> None:
    page = Page(dashboard.page(f"{path}?filter=RESPONSE_status"))
    assert page.row("downloader/response_status_count/404")
    assert "log_count/INFO" not in page.words
    assert "8 of 8 keys" in page.words


async def test_error_lines(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with changing(crawl, redis_url):
        member = crawl.members[0]
        line = ErrorLine(1e9, member.worker_id, "scrapy.core.scraper", "ERROR", "Spider error: no")
        await crawl.write(member, {}, line)
    said = "2001-09-09 01:46:40 host-0-4000 scrapy.core.scraper Spider error: no"
    assert said in Page(dashboard.page(path)).words
    assert said in Page(dashboard.page(f"{path}/node?id=host-0-4000")).words
    assert said not in Page(dashboard.page(f"{path}/node?id=host-0-4001")).words


async def test_runs(dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str) -> None:
    async with changing(crawl, redis_url) as client:
        finished = {"state": "finished", "finished": 1}
        await client.call("hset", crawl.keys.meta, mapping=finished)
        await client.call("delete", crawl.keys.workers)
        await client.call("zadd", crawl.keys.stats_nodes(1), {crawl.members[1].worker_id: 1})
        member = await crawl.join(7)
        await crawl.write(member, {"response_received_count": (SUM, 5)})
    text = dashboard.page(path)
    assert figure(text, "Pages") == "5"
    assert f'href="{path}?run=1"' in text
    earlier = dashboard.page(f"{path}?run=1")
    assert figure(earlier, "Pages") == f"{4 * (crawl.figures[0] // 4):,}"
    assert "An earlier run" in earlier
    assert Page(earlier).row("host-0-4001")[0] == "lost"
    assert json.loads(dashboard.page(f"{path}/curves.json?run=1"))["time"]
    assert dashboard.ask(f"{path}?run=3").status == 404


async def test_a_finished_crawl(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with changing(crawl, redis_url) as client:
        seconds, _ = await client.call("time")
        finished = {"state": "finished", "finished": 1000 * int(seconds)}
        await client.call("hset", crawl.keys.meta, mapping=finished)
    page = Page(dashboard.page(path))
    assert "took 30 min" in page.words
    assert "a minute 0" not in page.words
    with Dashboard(redis_url) as other:
        assert Page(other.page("/")).row(crawl.keys.name)[:2] == ["finished", "–"]


async def test_a_crawl_without_stats(dashboard: Dashboard, redis_url: str, project: str) -> None:
    keys = Keys(project, "s")

    async with client_of(redis_url) as client:
        await Workers(client, keys).join("w1", {"host": "h"}, bucket_fill=400)
    page = Page(dashboard.page(f"/crawl/{keys.name}"))
    assert page.row("w1")[0] == "running"
    assert "No responses yet" in page.words
    assert dashboard.page(f"/crawl/{keys.name}/node?id=w1")
    assert json.loads(dashboard.page(f"/crawl/{keys.name}/node/curves.json?id=w1"))["time"] == []


# One node.


def test_one_node(dashboard: Dashboard, crawl: SimulatedCrawl, path: str) -> None:
    text = dashboard.page(f"{path}/node?id=host-0-4002")
    assert figure(text, "Pages") == f"{crawl.figures[0] // 4:,}"
    assert figure(text, "Host") == "host-0"
    assert Page(text).row("log_count/INFO") == ["4,321"]
    curves = json.loads(dashboard.page(f"{path}/node/curves.json?id=host-0-4002"))
    assert len(curves["time"]) >= 28
    assert curves["memory"][-1] == 152_000_000


@pytest.mark.parametrize("name", ["..", "a/../b", "ü *?[%2F]", "a&id=b#c", HOSTILE])
async def test_a_node_of_any_name(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str, name: str
) -> None:
    async with changing(crawl, redis_url) as client:
        _, member = await Workers(client, crawl.keys).join(name, {}, bucket_fill=400)
        assert isinstance(member, Membership)
        await crawl.write(member, {"response_received_count": (SUM, 7)})
    links = [
        attributes.get("href") or ""
        for tag, attributes in Page(dashboard.page(path)).tags
        if tag == "a"
    ]
    [link] = [link for link in links if "/node?id=" in link and "host-0" not in link]
    assert figure(dashboard.page(link), "Pages") == "7"


# What is not there.


@pytest.mark.parametrize(
    "wanted",
    ["/crawl/no:such", "/crawl/one", "/crawl/a:b:c:d", "/crawl/%2e%2e:x", "/crawl/a%20b:c",
     "/crawl/", "/crawl/no:such/node?id=x", "/nowhere", "/crawl/no:such/curves.json"],
)  # fmt: skip
def test_not_there(dashboard: Dashboard, wanted: str) -> None:
    answer = dashboard.ask(wanted)
    assert answer.status == 404
    assert "Not here" in answer.text


@pytest.mark.parametrize("query", ["node", "node?id=", "node?id=host-0-9999", "node/curves.json"])
def test_no_such_node(dashboard: Dashboard, path: str, query: str) -> None:
    assert dashboard.ask(f"{path}/{query}").status == 404


@pytest.mark.parametrize("run", ["x", "-1", "1" * 50, "²"])
def test_a_run_that_is_no_number(dashboard: Dashboard, path: str, run: str) -> None:
    assert dashboard.ask(f"{path}?run={quote(run)}").status == 200


# Hostile strings.


async def test_hostile_strings(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with changing(crawl, redis_url) as client:
        member, keys = crawl.members[0], crawl.keys
        stats: dict[str, tuple[bytes, Any]] = {
            HOSTILE: (NEWEST, HOSTILE),
            f"downloader/response_status_count/{HOSTILE}": (SUM, 3),
            f"downloader/exception_type_count/{HOSTILE}": (SUM, 3),
            "nested": (NEWEST, {HOSTILE: [HOSTILE]}),
            "half \ud800 a character": (NEWEST, "half \ud800"),
            "large": (SUM, 10**4000),
            "long": (NEWEST, "x" * 100_000),
            "control": (NEWEST, "a\0b\x1bc\u202ed"),
            "bytes": (NEWEST, b"\xff"),
        }
        line = ErrorLine(1e9, HOSTILE, HOSTILE, "ERROR", HOSTILE)
        await crawl.write(member, stats, line)
        payload = ormsgpack.packb({"u": f"https://a.test/{HOSTILE}"})
        push = Push("n", 0, 99, quote(HOSTILE, safe=""), 0, payload)
        await Frontier(client, keys).exchange(member, [push])
        letters = DeadLetters(client, keys)
        await letters.bury_request(member, HOSTILE, push, HOSTILE, HOSTILE)
        broken = push._replace(payload=b"\xff\x00broken")
        await letters.bury_request(member, "broken", broken, "decode", "\udcff")
        record = {"host": HOSTILE, "role": HOSTILE, "version": HOSTILE}
        await client.call("hset", keys.worker(member.worker_id), mapping=record)
    for page in (path, f"{path}/node?id=host-0-4000", f"{path}?filter={quote(HOSTILE)}"):
        text = dashboard.page(page)
        assert "alert(1)" in text
        assert "<img" not in text
        tags = Page(text).tags
        scripts = [attributes for tag, attributes in tags if tag == "script"]
        assert all(set(a) == {"src", "defer"} for a in scripts)
        assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
        assert len(text) < 200_000


async def test_logins_in_addresses_are_not_shown(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    address = "https://user:hunter2@site.test/x"

    async with changing(crawl, redis_url) as client:
        member = crawl.members[0]
        line = ErrorLine(1e9, "n", "l", "ERROR", f"no answer from {address}")
        await crawl.write(member, {f"seen/{address}": (NEWEST, [address])}, line)
        push = Push("n", 0, 99, "a", 0, ormsgpack.packb({"u": address}))
        letters = DeadLetters(client, crawl.keys)
        await letters.bury_request(member, "x", push, "failed", address)
    for page in (path, f"{path}/node?id=host-0-4000"):
        text = dashboard.page(page)
        assert "://****@site.test/x" in text
        assert "hunter2" not in text


# Redis.


@pytest.mark.slow
def test_says_that_redis_is_away_and_comes_back(redis_alone: LocalRedis) -> None:
    with Dashboard(redis_alone.url) as dashboard:
        assert dashboard.page("/crawl/p:s")
        redis_alone.kill()
        wait_until(lambda: dashboard.ask("/crawl/p:s").status == 503, "the page says so")
        answer = dashboard.ask("/")
        assert "Redis does not answer" in answer.text
        assert "hunter2" not in answer.text
        assert answer.headers["x-frame-options"] == "DENY"
        redis_alone.restart()
        wait_until(lambda: dashboard.ask("/crawl/p:s").status == 200, "the page is back")
        assert figure(dashboard.page("/crawl/p:s"), "Dead letters") == "8"
    assert "hunter2" not in dashboard.output


def test_starts_without_redis() -> None:
    with Dashboard("redis://127.0.0.1:1") as dashboard:
        answer = dashboard.ask("/")
    assert answer.status == 503
    assert "cannot be reached" in answer.text


async def test_a_user_who_may_only_read_is_enough(redis_alone: LocalRedis) -> None:
    async with client_of(redis_alone.url) as client:
        await client.call(
            "execute_command", "ACL", "SETUSER", "viewer", "on", ">looks", *reader_rule().split()
        )
    address = f"redis://viewer:looks@127.0.0.1:{redis_alone.port}/0"
    with Dashboard(address) as dashboard:
        assert "running" in dashboard.page("/")
        assert figure(dashboard.page("/crawl/p:s"), "Dead letters") == "8"
        assert dashboard.page("/crawl/p:s/curves.json")
        assert dashboard.page("/crawl/p:s/node?id=host-0-4000")
        assert dashboard.page("/crawl/p:s/node/curves.json?id=host-0-4000")


# Without the internet.


def test_everything_is_of_this_server(dashboard: Dashboard, path: str) -> None:
    text = dashboard.page(path)
    used = [
        attributes.get("src") or attributes.get("href") or ""
        for tag, attributes in Page(text).tags
        if tag in ("script", "link", "img")
    ]
    assert len(used) >= 6
    for asset in used:
        assert asset.startswith("/assets/")
        assert dashboard.ask(asset).status == 200
    assets = ROOT / "crawlo_scrapy" / "dashboard" / "assets"
    for file in (*assets.glob("*.css"), *assets.glob("*.js")):
        assert "://" not in file.read_text("utf-8"), file
