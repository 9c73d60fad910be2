"""The example project of scrapy-redis with the add-on in its settings, and as it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from crawlo_scrapy.localserver import LocalRedis
from tests.backends import client_of
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.scrapy_redis_suite.suite import UPSTREAM
from tests.servers import default_redis
from tests.waiting import wait_until

pytest.importorskip("scrapy_redis")

BRANCHES, LEAVES = 6, 12
HOST, SITE = "http://www.dmoz-odp.org", "http://site.example"
OFFSITE = "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware"
#: How many entries a spider of scrapy-redis's takes at a time: CONCURRENT_REQUESTS.
BATCH = 16


class Directory(ChaosSite):
    """Is to be asked as a proxy, for the site whose name stands in the spider `dmoz`."""

    def __init__(self) -> None:
        super().__init__(0, delay=0.05)
        branches = [f"/b{b}/" for b in range(BRANCHES)]
        links = {"/": branches}
        for number, branch in enumerate(branches):
            leaves = [f"{branch}{leaf}/" for leaf in range(LEAVES)]
            links[branch] = [*leaves, branches[number - 1], "http://elsewhere.example/"]
            links.update({leaf: ["/", branch] for leaf in leaves})
        self.pages = {f"{HOST}{path}": _page(path, to) for path, to in links.items()}
        self._replies = {url.encode(): page for url, page in self.pages.items()}


def _page(path: str, links: list[str]) -> bytes:
    body = f"<html><title>{path}</title>"
    body += "".join(f'<div class="cat-item"><a href="{link}">to</a></div>' for link in links)
    for n in range(2):
        body += (
            f'<div class="title-and-desc"><a href="{SITE}{path}{n}"></a>'
            f'<div class="site-title">Site {n}</div><div class="site-descr"> Of it. </div></div>'
        )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


class Project(Fleet):
    """The example project in *folder*, run by three workers.

    It is used as it is, or moved to our scheduler in one of the ways of docs/migration: the add-on
    in the settings, and perhaps our spiders' import too.
    """

    def __init__(self, folder: Path, redis_url: str, spider: str, moved: str) -> None:
        shutil.copytree(UPSTREAM / "example-project", folder)
        settings = {
            "DOWNLOAD_DELAY": 0,
            # Its filter() has no domains left when Scrapy, today, looks at them again.
            "DOWNLOADER_MIDDLEWARES": json.dumps({OFFSITE: None}) if spider != "dmoz" else "{}",
            "CRAWLO_HEARTBEAT_INTERVAL": 0.3,
            "CRAWLO_WORKER_TIMEOUT": 4,
        }
        super().__init__(folder, redis_url, **settings)
        self._command[3:5] = ["crawl", spider]
        if moved:
            file = folder / "example" / "settings.py"
            old = r'^(SCHEDULER|DUPEFILTER_CLASS) = "scrapy_redis.*\n'
            text, removed = re.subn(old, "", file.read_text(), flags=re.M)
            assert removed == 2
            file.write_text(text + '\nADDONS = {"crawlo_scrapy.Addon": 500}\n')
        if moved == "import":
            file = folder / "example" / "spiders" / f"{spider}.py"
            text = file.read_text()
            assert "from scrapy_redis.spiders" in text
            file.write_text(text.replace("scrapy_redis.spiders", "crawlo_scrapy.spiders"))
        self.start(3)

    def that_say(self, text: str) -> list[Any]:
        """Return the workers in whose logs *text* stands."""
        logs = zip(self.workers, self.logs, strict=True)
        return [worker for worker, log in logs if text in log.read_text()]

    def kill_one_that_crawls(self, site: Directory) -> None:
        """Kill a worker that has had pages while others are due, and see that it is missed."""
        wait_until(lambda: len(self.that_say("Joined the crawl")) == 3, "three workers", 60)
        site.release()
        wait_until(lambda: self.that_say("Crawled (200)"), "a page", 60)
        site.hold()
        self.that_say("Crawled (200)")[0].kill()
        wait_until(lambda: self.that_say("counts as dead"), "its death is noticed", 60)
        site.release()


@pytest.fixture
def site(monkeypatch):
    with Directory() as site:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{site.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield site


@pytest.fixture
def server():
    """A Redis of one's own: the project's keys are named after its spiders."""
    with LocalRedis(binary=default_redis()) as server:
        yield server


def items_of(client: Any, spider: str) -> Counter[str]:
    """How often each item is in the list that scrapy-redis's pipeline fills."""
    items = [json.loads(entry) for entry in client.lrange(f"{spider}:items", 0, -1)]
    assert all(item["spider"] == spider and item["crawled"] for item in items)
    return Counter(item.get("link") or item["url"] for item in items)


def feed(client: Any, spider: str, site: Directory) -> None:
    """Give start URLs to the spiders that read them from Redis: texts and objects."""
    starts = {"mycrawler_redis": [f"{HOST}/"], "myspider_redis": list(site.pages)}
    for number, url in enumerate(starts.get(spider, [])):
        entry = json.dumps({"url": url}) if number % 2 else url
        client.rpush(spider.replace("_redis", ":start_urls"), entry)


def all_items(spider: str, site: Directory) -> set[str]:
    """What the spider makes of all pages, the start page too if a link to it is followed."""
    if spider != "dmoz":
        return set(site.pages)
    return {f"{url.replace(HOST, SITE)}{n}" for url in site.pages for n in range(2)}


@pytest.mark.slow
@pytest.mark.parametrize("spider", ["dmoz", "mycrawler_redis", "myspider_redis"])
def test_on_scrapy_redis(server, site, tmp_path, spider):
    """What the next test compares with; nobody is killed."""
    client = client_of(server.url)
    feed(client, spider, site)
    with Project(tmp_path / "project", server.url, spider, ""):
        wait_until(lambda: set(items_of(client, spider)) == all_items(spider, site), "items", 90)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spider", "moved"),
    [
        ("dmoz", "settings"),
        ("mycrawler_redis", "settings"),
        ("myspider_redis", "settings"),
        ("myspider_redis", "import"),
    ],
)
def test_a_worker_is_killed(server, site, tmp_path, spider, moved):
    client = client_of(server.url)
    feed(client, spider, site)
    wanted = all_items(spider, site)
    # Here a start URL counts as seen, so that links to it are not followed.
    wanted -= {"dmoz": {f"{SITE}/0", f"{SITE}/1"}, "mycrawler_redis": {f"{HOST}/"}}.get(
        spider, set()
    )
    # What a spider of scrapy-redis's has taken out of its list dies with it.
    lost = BATCH if (spider, moved) == ("myspider_redis", "settings") else 0

    site.hold()
    with Project(tmp_path / "project", server.url, spider, moved) as fleet:
        fleet.kill_one_that_crawls(site)
        wait_until(lambda: len(wanted - set(items_of(client, spider))) <= lost, "all items", 90)
        if spider != "dmoz":
            for worker in fleet.alive:
                worker.terminate()
        assert sorted(fleet.wait(60)) == [-9, 0, 0]
        assert fleet.reasons() == {"finished" if spider == "dmoz" else "shutdown": 2}
        assert not fleet.errors()
    items = items_of(client, spider)
    assert set(items) <= wanted
    # What the dead worker had in hand was done again.
    assert items.total() - len(items) <= (2 if spider == "dmoz" else 1) * site.fetched_twice
    if spider == "dmoz":
        process(tmp_path / "project", server, items.total())


def process(folder: Path, server: LocalRedis, count: int) -> None:
    """Have the project's own consumer take all items out of their list."""
    command = [
        sys.executable, "process_items.py", "dmoz:items", "-v", "--host", "127.0.0.1",
        "--port", str(server.port), "--limit", str(count),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Processing item: Site") == count
    assert not client_of(server.url).exists("dmoz:items")
