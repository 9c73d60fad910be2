"""`crawlo-scrapy push`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crawlo_scrapy.cli.startproject import write_project
from crawlo_scrapy.store.inspect import CrawlState, inspect
from tests.cli.conftest import EXAMPLE, Command, SomeCrawl, do
from tests.waiting import wait_until


def state_of(crawl: SomeCrawl) -> CrawlState:
    async def look() -> CrawlState:
        async with crawl.client() as client:
            return await inspect(client, crawl.keys)

    return do(look())


def test_urls(crawlo: Command, some_crawl: SomeCrawl) -> None:
    urls = ["http://a.test/1", "http://a.test/2", "http://a.test/1#x"]
    done = crawlo("push", "shop", *urls, "--priority", "4", *some_crawl.words)
    assert done.returncode == 0, done.stderr
    assert "Queued 2 requests for shop:shop:" in done.stdout
    assert "1 seen before" in done.stdout
    assert "The crawl is new. No worker runs" in done.stdout
    assert state_of(some_crawl).by_priority == [(4, 2)]
    again = crawlo("push", "shop", *urls, "--json", *some_crawl.words)
    assert json.loads(again.stdout) == {
        "queued": 0, "duplicates": 3, "invalid": 0, "crawl": some_crawl.keys.name, "workers": 0,
    }  # fmt: skip
    done = crawlo("push", "shop", urls[0], "--dont-filter", *some_crawl.words)
    assert "is new" not in done.stdout
    assert state_of(some_crawl).queued == 3


def test_lines_that_are_no_requests(crawlo: Command, some_crawl: SomeCrawl, tmp_path: Path) -> None:
    lines = [
        b"# a comment", b"", b"http://a.test/1", b"a.test/2", b'{"url": "http://a.test/3"}',
        b'{"url": ', b'{"url": "http://a.test/4", "callback": "nothing"}', b'[1]',
        b"http://a.test/\xff", b'{"url": "http://b.test/", "priority": 9, "meta": {"a": 1}}',
    ]  # fmt: skip
    file = tmp_path / "urls.txt"
    file.write_bytes(b"\n".join(lines))
    done = crawlo("push", "shop", "--file", str(file), *some_crawl.words)
    assert done.returncode == 1
    assert "Queued 3 requests" in done.stdout
    assert "5 invalid" in done.stdout
    told = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == [f"line {n}" for n in (4, 6, 7, 8, 9)]
    assert "has no method 'nothing'" in told[2]
    assert told[4] == "line 9: it is not UTF-8"
    assert state_of(some_crawl).by_priority == [(9, 1), (0, 2)]


def test_from_a_pipe_by_the_full_name(
    crawlo: Command, some_crawl: SomeCrawl, tmp_path: Path
) -> None:
    words = ["push", some_crawl.keys.name, "--file", "-", "--redis-url", some_crawl.url]
    done = crawlo(*words, cwd=tmp_path, typed="http://a.test/1\nhttp://a.test/2\n")
    assert done.returncode == 0, done.stderr
    assert state_of(some_crawl).queued == 2


def test_what_the_options_say(crawlo: Command, some_crawl: SomeCrawl) -> None:
    options = ["--method", "post", "--body", "x=1", "--header", "X-A: b: c", "--meta", '{"d": 1}',
               "--callback", "parse"]  # fmt: skip
    done = crawlo("push", "shop", "http://a.test/", *options, *some_crawl.words)
    assert done.returncode == 0, done.stderr
    key = some_crawl.keys.queue("a.test", "0")
    [element] = do(some_crawl.call("lrange", key, 0, -1))
    from crawlo_scrapy.values import Codec

    assert Codec().decode(element[1:]) == {
        "u": "http://a.test/", "m": "POST", "b": b"x=1", "h": [b"X-A", b"b: c"], "a": {"d": 1},
        "c": "parse",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to push"),
        (["http://h/", "--meta", "{"], "--meta is no JSON"),
        (["http://h/", "--meta", "[]"], "--meta must be a JSON object"),
        (["http://h/", "--header", "x"], "not of the form"),
        (["http://h/", "--callback", "nope"], "has no method 'nope'"),
    ],
)
def test_mistakes_are_one_line(
    crawlo: Command, some_crawl: SomeCrawl, words: list[str], message: str
) -> None:
    done = crawlo("push", "shop", *words, *some_crawl.words)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_projects_own_fingerprinter(
    crawlo: Command, some_crawl: SomeCrawl, tmp_path: Path
) -> None:
    write_project(tmp_path / "p", "p", "default")
    (tmp_path / "p/p/prints.py").write_text(
        "class Prints:\n    def fingerprint(self, request):\n"
        "        return request.url.partition('?')[0].encode()\n"
    )
    (tmp_path / "p/p/spiders/one.py").write_text(
        "import scrapy\nclass One(scrapy.Spider):\n    name = 'one'\n"
        "    custom_settings = {'REQUEST_FINGERPRINTER_CLASS': 'p.prints.Prints',\n"
        "                       'PROJECT_NAME': 'shop'}\n"
    )
    words = ["--redis-url", some_crawl.url, "--crawl-id", "own" + some_crawl.keys.names[2]]
    done = crawlo("push", "one", "http://h/?a", "http://h/?b", *words, cwd=tmp_path / "p")
    assert "Queued 1 request for shop:one" in done.stdout, done.stderr
    crawlo("purge", "one", "--yes", *words, cwd=tmp_path / "p")


@pytest.mark.slow
def test_interrupted_and_repeated(some_crawl: SomeCrawl, crawlo: Command, tmp_path: Path) -> None:
    file, count = tmp_path / "urls.txt", 60_000
    file.write_text("".join(f"http://h{n % 50}.test/{n}\n" for n in range(count)))
    code = "from crawlo_scrapy.cli import main; main()"
    words = ["push", "shop", "--file", str(file), *some_crawl.words]
    killed = subprocess.Popen([sys.executable, "-c", code, *words], cwd=EXAMPLE)
    wait_until(lambda: state_of(some_crawl).pushed >= 3000, "some are there")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = state_of(some_crawl).pushed
    assert there < count
    done = crawlo(*words, "--json")
    assert json.loads(done.stdout)["queued"] == count - there
    assert json.loads(done.stdout)["duplicates"] == there
    assert state_of(some_crawl).queued == count
