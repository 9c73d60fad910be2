"""One feed file and several workers of a host."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.addon import Addon
from tests.crawling import make_crawler, run, start, until


class Listing(Spider):
    """Items of pages that wait for each other: every worker has items while the others have."""

    name = "listing"
    fields = ("url", "n")

    async def start(self):
        for n in range(6):
            yield Request(f"{self.site}/ok/{n}")

    def parse(self, response):
        for n in range(50):
            # More than a buffer holds, so that lines would be torn.
            yield dict(zip(self.fields, (response.url, f"{n} " + "x" * 300), strict=True))


class OtherFields(Listing):
    name = "listing"
    fields = ("address", "number")


def make(redis_url: str, project: str, feeds: dict, spider=Listing, **more):
    return make_crawler(
        spider,
        {
            "ADDONS": {Addon: 500},
            "REDIS_URL": redis_url,
            "PROJECT_NAME": project,
            "CRAWLO_SEEDING": "every",
            "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
            "TELNETCONSOLE_ENABLED": False,
            "CRAWLO_EXCHANGE_INTERVAL": 0.02,
            "FEEDS": feeds,
            **more,
        },
    )


async def crawl_twice(redis_url, project, site, feeds, spiders=(Listing, Listing)):
    """Two workers at once, with node ids a and b."""
    crawlers = [
        make(redis_url, project, feeds, spider, CRAWLO_NODE_ID=node)
        for spider, node in zip(spiders, "ab", strict=True)
    ]
    tasks = [start(run(crawler, site=site.url)) for crawler in crawlers]
    for task in tasks:
        assert await task == "finished"
    return sum(c.stats.get_value("item_scraped_count") for c in crawlers)


async def test_json_lines_are_shared(redis_url, project, site, tmp_path):
    path = tmp_path / "new" / "items.jsonl"
    count = await crawl_twice(redis_url, project, site, {str(path): {"format": "jsonlines"}})
    assert count >= 600
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == count
    assert [p.name for p in path.parent.iterdir()] == ["items.jsonl"]


async def test_csv_is_shared_and_has_one_header(redis_url, project, site, tmp_path):
    path = tmp_path / "items.csv"
    count = await crawl_twice(redis_url, project, site, {path.as_uri(): {"format": "csv"}})
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["url", "n"]
    assert len(rows) == count + 1
    assert rows.count(["url", "n"]) == 1


async def test_other_columns_go_elsewhere(redis_url, project, site, tmp_path, caplog):
    path = tmp_path / "items.csv"
    spiders = (Listing, OtherFields)
    count = await crawl_twice(redis_url, project, site, {str(path): {"format": "csv"}}, spiders)
    assert "items.csv has other columns" in caplog.text
    files = sorted(tmp_path.glob("items*.csv"))
    assert len(files) == 2
    assert sum(len(file.read_text().splitlines()) - 1 for file in files) == count


@pytest.mark.parametrize("options", [{"format": "json"}, {"format": "json", "overwrite": True}])
async def test_an_array_has_one_writer(redis_url, project, site, tmp_path, caplog, options):
    path = tmp_path / "items.json"
    count = await crawl_twice(redis_url, project, site, {str(path): options})
    files = list(tmp_path.iterdir())
    assert path in files and len(files) == 2
    assert sum(len(json.loads(file.read_text())) for file in files) == count
    [warning] = [r.message for r in caplog.records if "one writer" in r.message]
    assert str(path) in warning and ("items-a.json" in warning or "items-b.json" in warning)


async def test_several_crawls_of_one_process(redis_url, project, site, tmp_path):
    """As `crawlo-scrapy run all -o items.json` has them: they have one name of a worker."""
    path = tmp_path / "items.json"
    crawlers = [
        make(redis_url, f"{project}-{n}", {str(path): {"format": "json"}}) for n in range(3)
    ]
    for task in [start(run(crawler, site=site.url)) for crawler in crawlers]:
        assert await task == "finished"
    files = list(tmp_path.iterdir())
    assert path in files and len(files) == 3
    assert [len(json.loads(file.read_text())) for file in files] == [300] * 3


async def test_the_node_may_stand_in_the_name(redis_url, project, site, tmp_path, caplog):
    feeds = {str(tmp_path / "items-%(node)s.json"): {"format": "json"}}
    await crawl_twice(redis_url, project, site, feeds)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["items-a.json", "items-b.json"]
    assert "one writer" not in caplog.text


async def test_an_item_is_in_the_file_before_its_page_is_done(redis_url, project, site, tmp_path):
    path = tmp_path / "items.jsonl"

    class Gated(Spider):
        name = "gated"

        async def start(self):
            yield Request(f"{self.site}/ok/1")

        async def parse(self, response):
            yield {"n": 1}
            yield Request(f"{self.site}/gate/1", callback=self.done)

        def done(self, response):
            pass

    crawler = make(redis_url, project, {str(path): {"format": "jl"}}, Gated)
    task = start(run(crawler, site=site.url))
    await until(lambda: site.hits["/gate/1"], "the next page is asked for")
    assert path.read_text() == '{"n": 1}\n'
    site.open_gate()
    assert await task == "finished"


async def test_a_file_that_cannot_be_written(redis_url, project, site, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    (tmp_path / "items.jsonl").mkdir()
    feeds = {str(tmp_path / "items.jsonl"): {"format": "jsonlines"}}
    await run(make(redis_url, project, feeds), site=site.url)
    assert "Is a directory" in caplog.text


def test_alone_scrapys_own_storage_is_used(tmp_path: Path) -> None:
    from tests.config.support import final

    assert not final({"RUN_MODE": "standalone"})["FEED_STORAGES"]
    shared = final({"RUN_MODE": "distributed"})
    assert shared["FEED_STORAGES"][""].endswith("WorkerFileStorage")
    assert dict(final({"FEED_STORAGES": {"s3": "x.Y"}})["FEED_STORAGES"]) == {"s3": "x.Y"}
