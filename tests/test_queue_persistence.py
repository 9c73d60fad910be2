"""QUEUE_PERSISTENCE = False: the last worker leaves what was seen, and no queue."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider

from tests.crawling import Peek, crawl, crawl_settings


class Stopping(Spider):
    name = "stopping"

    async def start(self):
        yield Request(self.site + "/ok/start")

    def parse(self, response):
        yield Request(self.site + "/ok/1")
        yield Request(self.site + "/ok/2")
        raise CloseSpider("enough")


@pytest.mark.parametrize("keep", [True, False])
async def test_what_the_last_worker_leaves(redis_url, project, site, keep):
    settings = crawl_settings(redis_url, project, QUEUE_PERSISTENCE=keep)
    await crawl(Stopping, settings, site=site.url)
    peek = Peek(redis_url, project, "stopping")
    queued = [site.url + "/ok/1", site.url + "/ok/2"] if keep else []
    assert peek.queued() == queued
    assert peek.number("seen") == 3
    assert peek.number("queued") == len(queued)
