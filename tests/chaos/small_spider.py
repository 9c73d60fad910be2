"""A small crawl with slow callbacks, slow pipelines and late children; needs no site."""

import asyncio
import random

import scrapy

from tests.chaos.spider import DiskPipeline

DEPTH, WIDTH = 3, 3
#: Pages of a crawl: the start page and all children, whose URLs are alike at each level.
PAGES = 1 + DEPTH * WIDTH


class SlowPipeline:
    @classmethod
    def from_crawler(cls, crawler):
        pipeline = cls()
        pipeline.disk = DiskPipeline.from_crawler(crawler)
        return pipeline

    async def process_item(self, item):
        await asyncio.sleep(random.random() * 0.1)
        return self.disk.process_item(item)


class SmallSpider(scrapy.Spider):
    name = "small"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "ITEM_PIPELINES": {SlowPipeline: 1},
        "CRAWLO_ALLOWED_SCHEMES": ["data"],
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "INFO",
    }

    async def start(self):
        random.seed(int(self.seed))
        yield scrapy.Request("data:,start")

    async def parse(self, response):
        level = response.meta.get("level", 0)
        yield {"url": response.url}
        await asyncio.sleep(random.random() * 0.2)
        if level < DEPTH:
            for number in range(WIDTH):
                meta = {"level": level + 1, "download_slot": f"slot{number}"}
                yield scrapy.Request(f"data:,{level}-{number}", meta=meta)
