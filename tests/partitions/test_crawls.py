"""Spiders on a divided crawl, in this process."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.partitions import Layout
from tests.backends import address_of, client_of
from tests.crawling import crawl, crawl_settings, make_crawler, run, start, until
from tests.site import Site

COUNT = 4
PAGES = 40


class Hosts(Spider):
    """Follows links over many slots; each page once."""

    name = "hosts"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.pages = []

    async def start(self):
        yield self.request(1).replace(dont_filter=True)

    def request(self, number):
        meta = {"download_slot": f"host{number % 7}"}
        return Request(f"{self.url}/page?n={number}", meta=meta)

    def parse(self, response):
        number = int(response.url.rpartition("=")[2])
        self.pages.append(number)
        yield from map(self.request, {min(2 * number, PAGES), min(2 * number + 1, PAGES), 1})


def parts_of(project: str, by: str = "slot") -> list[Keys]:
    return Layout(COUNT, by).keys(Keys(project, Hosts.name))


def settings_for(
    redis_url: str, project: str, by: str = "slot", **more: object
) -> dict[str, object]:
    return crawl_settings(
        redis_url, project, CRAWLO_PARTITIONS=COUNT, CRAWLO_PARTITION_BY=by, **more
    )


@pytest.mark.parametrize("by", ["slot", "fingerprint"])
async def test_each_page_once(redis_url: str, project: str, site: Site, by: str) -> None:
    settings = settings_for(redis_url, project, by)
    crawlers = [make_crawler(Hosts, settings) for _ in range(3)]
    tasks = [start(run(crawler, url=site.url)) for crawler in crawlers]
    assert [await task for task in tasks] == ["finished"] * 3
    pages = [page for crawler in crawlers for page in crawler.spider.pages]
    assert sorted(pages) == list(range(1, PAGES + 1))
    redis = client_of(redis_url)
    acked = [int(redis.hget(part.meta, "acked") or 0) for part in parts_of(project, by)]
    assert sum(acked) == PAGES
    assert sum(map(bool, acked)) >= 3, "the work is divided"


async def test_the_next_run_remembers(redis_url: str, project: str, site: Site) -> None:
    settings = settings_for(redis_url, project)
    await crawl(Hosts, settings, url=site.url)
    again = await crawl(Hosts, settings, url=site.url)
    assert again.spider.pages == [1], "the start request only"


async def test_another_number_is_refused(redis_url: str, project: str, site: Site, caplog) -> None:  # type: ignore[no-untyped-def]
    await crawl(Hosts, settings_for(redis_url, project), url=site.url)
    await crawl(Hosts, crawl_settings(redis_url, project, CRAWLO_PARTITIONS=2), url=site.url)
    assert "was begun with 4 partitions by slot, and the settings say 2 partitions" in caplog.text
    assert "crawlo-scrapy repartition" in caplog.text


@pytest.mark.parametrize(
    "limit", [{"CRAWLO_SLOT_DELAY": 1.0}, {"CRAWLO_SLOTS": {"a": {"delay": 1}}}]
)
async def test_limits_need_slots_in_one_place(
    redis_url: str, project: str, site: Site, caplog: pytest.LogCaptureFixture, limit: dict
) -> None:
    settings = settings_for(redis_url, project, "fingerprint", **limit)
    crawler = await crawl(Hosts, settings, url=site.url)
    assert crawler.stats.get_value("finish_reason") == "invalid_setting"
    assert f"{next(iter(limit))} limits slots" in caplog.text


async def test_delays_hold(redis_url: str, project: str, site: Site) -> None:
    settings = settings_for(redis_url, project, CRAWLO_SLOTS={"host1": {"delay": 0.1}})
    await crawl(Hosts, settings, url=site.url)
    redis = client_of(redis_url)
    part = parts_of(project)[Layout(COUNT).place("host1", 0)]
    assert redis.hget(part.limits, "delay:host1") == b"100"
    assert not redis.zcard(part.slots)


async def test_struck_off_in_one_partition(redis_url: str, project: str, site: Site) -> None:
    """It registers anew there, and goes on with all it has elsewhere."""
    settings = settings_for(redis_url, project, CRAWLO_HEARTBEAT_INTERVAL=0.1)
    crawler = make_crawler(Hosts, settings)
    redis = client_of(redis_url)
    task = start(run(crawler, url=site.url))
    parts = parts_of(project)
    await until(lambda: redis.zcard(parts[2].workers), "it joined")
    # As another worker would that has not heard of it.
    [worker] = redis.zrange(parts[2].workers, 0, -1)
    client = Client.connect(address_of(redis_url))
    frontier = Frontier(client, parts[2])
    assert await frontier.reclaim(worker.decode(), timeout=-60, max_attempts=5) is not None
    await client.close()
    assert await task == "finished"
    assert set(crawler.spider.pages) == set(range(1, PAGES + 1))
    assert crawler.stats.get_value("crawlo/rejoined", 0) <= 1


async def test_a_partition_that_is_gone(project: str, site: Site, caplog) -> None:  # type: ignore[no-untyped-def]
    with LocalRedis() as server:
        crawler = make_crawler(Slow, settings_for(server.url, project))
        task = start(run(crawler, url=site.url))
        parts = parts_of(project)
        redis = client_of(server.url)
        await until(lambda: redis.hget(parts[1].meta, "pushed"), "there is something in it")
        redis.unlink(*redis.scan_iter(parts[1].prefix + "*"))
        assert await task == "crawl_lost"
        redis.close()
    assert (
        f"A partition of the crawl {project}:hosts ({parts[1].prefix}) is no longer" in caplog.text
    )
    assert "repartition --accept-loss" in caplog.text


class Slow(Hosts):
    custom_settings = {"DOWNLOAD_DELAY": 0.1}

    def parse(self, response):
        yield from super().parse(response)
        number = int(response.url.rpartition("=")[2])
        yield self.request(PAGES + number)
