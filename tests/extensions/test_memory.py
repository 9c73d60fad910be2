"""A worker that needs too much memory: it warns, leaves, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import NotConfigured
from scrapy.statscollectors import MemoryStatsCollector

from crawlo_scrapy.config.memory import container_limit_mb
from crawlo_scrapy.extensions import memory
from crawlo_scrapy.extensions.memory import MemoryUsageExtension
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.crawling import crawl, crawl_settings, make_crawler

OURS = "crawlo_scrapy.extensions.memory.MemoryUsageExtension"
PATIENCE = 240
MB = 2**20


class Growing(Spider):
    """Is not through before its worker leaves, which it makes larger with each page."""

    name = "growing"

    async def start(self):
        yield Request("data:,x")

    def parse(self, response):
        self.used[0] += 1
        number = response.meta.get("number", 0)
        yield Request(f"data:,{number}", dont_filter=True, meta={"number": number + 1})


@pytest.fixture
def settings(redis_url, project):
    return crawl_settings(
        redis_url,
        project,
        EXTENSIONS={OURS: 1, "scrapy.extensions.memusage.MemoryUsage": None},
        MEMUSAGE_CHECK_INTERVAL_SECONDS=0.05,
        MEMUSAGE_WARNING_MB=150,
        MEMUSAGE_LIMIT_MB=200,
    )


@pytest.fixture
def used(monkeypatch):
    """What the process is made to have, in megabytes."""
    sizes = [100]
    monkeypatch.setattr(memory, "resident_memory", lambda: sizes[0] * MB)
    monkeypatch.setattr(memory, "container_limit_mb", lambda: 0)
    return sizes


async def test_warns_and_leaves(settings, used, caplog):
    crawler = await crawl(Growing, settings, used=used)
    stats = crawler.stats.get_stats()
    assert stats["finish_reason"] == "memusage_exceeded"
    assert stats["memusage/warning_reached"] == stats["memusage/limit_reached"] == 1
    assert stats["memusage/startup"] == 100 * MB
    assert caplog.text.count("Memory usage reached 150MiB") == 1
    assert caplog.text.count("Memory usage exceeded 200MiB") == 1
    # `scrapy crawl` exits with status 1: a supervisor is to start another.
    assert crawler.spider is None


async def test_alone_it_exits_as_scrapys(settings, used):
    del settings["SCHEDULER"], settings["DUPEFILTER_CLASS"], settings["SPIDER_MIDDLEWARES"]
    crawler = await crawl(Growing, settings, used=used)
    assert crawler.stats.get_value("finish_reason") == "memusage_exceeded"
    assert crawler.spider is not None


@pytest.mark.parametrize(
    ("container", "given", "expected"),
    [
        (0, (0, 0), (0, 0)),
        (0, (150, 200), (150, 200)),
        (1000, (0, 0), (800, 900)),
        (1000, (0, 500), (0, 500)),
        (1000, (700, 5000), (700, 900)),
        (1000, (950, 0), (800, 900)),
    ],
)
def test_limits_in_a_container(container, given, expected, monkeypatch):
    monkeypatch.setattr(memory, "container_limit_mb", lambda: container)
    warning, limit = given
    crawler = make_crawler(Growing, {"MEMUSAGE_WARNING_MB": warning, "MEMUSAGE_LIMIT_MB": limit})
    crawler.stats = MemoryStatsCollector(crawler)
    usage = MemoryUsageExtension.from_crawler(crawler)
    assert (usage.warning / MB, usage.limit / MB) == expected
    assert usage.get_virtual_size() > 10 * MB


def test_turned_off_as_scrapys():
    with pytest.raises(NotConfigured):
        MemoryUsageExtension.from_crawler(make_crawler(Growing, {"MEMUSAGE_ENABLED": False}))


@pytest.mark.parametrize(
    ("files", "megabytes"),
    [
        ({}, 0),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 0),
        ({"sys/fs/cgroup/memory.max": str(512 * MB)}, 512),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 0),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": str(256 * MB)}, 256),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": str(300 * MB),
                "sys/fs/cgroup/a/b/memory.max": "max",
            },
            300,
        ),
    ],
)
def test_container_limit(tmp_path: Path, files: dict[str, str], megabytes: int) -> None:
    for name, text in {"proc/meminfo": "MemTotal: 4194304 kB\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_limit_mb(tmp_path) == megabytes


@pytest.mark.slow
def test_one_of_three_workers_leaves(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ChaosSite(pages=1500, delay=0.2) as site,
        Fleet(
            tmp_path,
            redis_url,
            "-a",
            f"url={site.url}",
            spider=Path(__file__).with_name("hog_spider.py"),
            MEMORY_USAGE_WARNING_THRESHOLD=300,
            MEMORY_LIMIT="400MB",
            MEMORY_MONITOR_INTERVAL=0.5,
        ) as fleet,
    ):
        monkeypatch.setenv("HOG", "1")
        fleet.start(1)
        monkeypatch.delenv("HOG")
        fleet.start(2)
        assert fleet.wait(PATIENCE) == [1, 0, 0]
        assert fleet.reasons() == {"memusage_exceeded": 1, "finished": 2}
        hog = fleet.logs[0].read_text()
        assert "Memory usage reached 300MiB" in hog
        assert "Memory usage exceeded 400MiB" in hog
        assert "Left the crawl" in hog
        assert len(fleet.items()) == site.pages
        assert set(fleet.items().values()) == {1}
        assert site.fetched_twice == 0
        assert not any("counts as dead" in log.read_text() for log in fleet.logs)
