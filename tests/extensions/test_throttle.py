"""Delays that follow what all workers of a crawl see."""

from __future__ import annotations

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import NotConfigured

from crawlo_scrapy.extensions.throttle import AutoThrottleExtension
from crawlo_scrapy.settings import SettingError
from tests.crawling import Peek, crawl, crawl_settings, make_crawler

EXTENSION = {"crawlo_scrapy.extensions.throttle.AutoThrottleExtension": 0}


class Pages(Spider):
    name = "pages"

    async def start(self):
        for number in range(5):
            yield Request(f"{self.site}/ok/{number}")
        yield Request(f"{self.site}/ok/mine", meta={"autothrottle_dont_adjust_delay": True})

    def parse(self, response):
        pass


async def test_delay_of_the_crawl(redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, EXTENSIONS=EXTENSION, CRAWLO_AUTOTHROTTLE=True,
        AUTOTHROTTLE_START_DELAY=0.2, AUTOTHROTTLE_MAX_DELAY=3, AUTOTHROTTLE_TARGET_CONCURRENCY=4,
    )  # fmt: skip
    crawler = await crawl(Pages, settings, site=site.url)
    assert crawler.stats.get_value("response_received_count") == 6
    peek = Peek(redis_url, project, "pages")
    limits = peek.redis.hgetall(peek.keys.limits)
    assert limits.pop(b"throttle:") == b"200"
    [(slot, delay)] = limits.items()
    assert slot == b"throttle:127.0.0.1"
    assert 0 < float(delay) < 200, "the site is faster than the first guess"


async def test_nothing_is_left_of_it_when_it_is_switched_off(redis_url, project, site):
    settings = crawl_settings(
        redis_url, project, EXTENSIONS=EXTENSION, CRAWLO_AUTOTHROTTLE=True,
        AUTOTHROTTLE_START_DELAY=0.1,
    )  # fmt: skip
    await crawl(Pages, settings, site=site.url)
    peek = Peek(redis_url, project, "pages")
    assert peek.redis.exists(peek.keys.limits)
    await crawl(Pages, {**settings, "CRAWLO_AUTOTHROTTLE": False}, site=site.url)
    assert not peek.redis.exists(peek.keys.limits)


def test_settings(redis_url, project):
    def made(**settings):
        return AutoThrottleExtension.from_crawler(
            make_crawler(Pages, crawl_settings(redis_url, project, **settings))
        )

    with pytest.raises(NotConfigured):
        made()
    with pytest.raises(SettingError, match="AUTOTHROTTLE_TARGET_CONCURRENCY is 0"):
        made(CRAWLO_AUTOTHROTTLE=True, AUTOTHROTTLE_TARGET_CONCURRENCY=0)
