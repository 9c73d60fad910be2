"""Many start requests, which come slowly; every second one is not filtered."""

import asyncio

import scrapy

from tests.chaos.spider import DiskPipeline


class SeedSpider(scrapy.Spider):
    name = "seeds"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "ITEM_PIPELINES": {DiskPipeline: 1},
        "CRAWLO_ALLOWED_SCHEMES": ["data"],
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "INFO",
    }

    async def start(self):
        for number in range(int(self.count)):
            await asyncio.sleep(0.02)
            yield scrapy.Request(f"data:,{number}", dont_filter=number % 2 == 0)

    def parse(self, response):
        yield {"url": response.url}
