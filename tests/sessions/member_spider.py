"""One worker logs in; pages are asked for until each was seen from within."""

import os

import scrapy

from tests.chaos.spider import ChaosSpider, DiskPipeline


class MemberSpider(scrapy.Spider):
    name = "member"
    custom_settings = {
        **ChaosSpider.custom_settings, "ITEM_PIPELINES": {DiskPipeline: 1},
        "CRAWLO_SHARED_COOKIES": True, "LOG_LEVEL": "DEBUG", "CONCURRENT_REQUESTS": 2,
        "CRAWLO_PREFETCH": 2,
    }  # fmt: skip

    async def start(self):
        yield scrapy.Request(f"{self.url}/login", self.logged_in, meta={"cookiejar": 1})

    def logged_in(self, response):
        for n in range(60):
            yield response.follow(f"/page/{n}", self.parse_page, meta={"cookiejar": 1})
        # Another jar, of nobody.
        yield response.follow("/other", self.parse_page, meta={"cookiejar": 2, "stranger": True})

    def parse_page(self, response):
        inside = response.text == "member"
        if not inside and not response.meta.get("stranger"):
            yield response.request.replace(dont_filter=True)
            return
        yield {"url": response.url, "inside": inside, "pid": os.getpid()}
