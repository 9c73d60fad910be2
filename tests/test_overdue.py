"""A worker that has no place for a request of a limited slot leaves it to those that do."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider

from tests.crawling import Peek, crawl_settings, make_crawler, run, start, until


class TwoSites(Spider):
    """Asks for more of a site that does not answer than a worker has places, then for another's."""

    name = "many"

    async def start(self):
        for number in range(12):
            yield Request(f"{self.site}/gate/{number}", meta={"download_slot": "slow"}, priority=1)
        for number in range(20):
            yield Request(f"{self.site}/ok/{number}", meta={"download_slot": "fast"})

    def parse(self, response):
        pass


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"delay": 0.02}])
async def test_full_worker_holds_up_no_limited_slot(limit, redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, CRAWLO_SLOTS={"fast": limit}, DOWNLOAD_TIMEOUT=60,
        CONCURRENT_REQUESTS=4, CONCURRENT_REQUESTS_PER_DOMAIN=4,
    )  # fmt: skip
    peek = Peek(redis_url, project, "many")
    full = make_crawler(TwoSites, settings)
    crawling = start(run(full, site=site.url))
    await until(lambda: sum(site.hits.values()) >= 4, "it has no place left")
    await until(lambda: any("/ok/" in url for url in peek.leased()), "a request of the other site")
    other = make_crawler(TwoSites, {**settings, "CONCURRENT_REQUESTS": 40})
    helping = start(run(other, site=site.url))
    pages = [f"/ok/{number}" for number in range(20)]
    await until(lambda: all(site.hits[page] for page in pages), "the other site is not held up")
    site.open_gate()
    assert [await crawling, await helping] == ["finished"] * 2
    assert all(site.hits[page] == 1 for page in pages)
    assert full.stats.get_value("crawlo/late") >= 1
