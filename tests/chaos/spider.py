"""The spider of the chaos tests: follows every link, yields an item a page."""

import json
import os

import scrapy


class DiskPipeline:
    """Has an item on disk before it returns: one O_APPEND write, which no other can tear."""

    @classmethod
    def from_crawler(cls, crawler):
        pipeline = cls()
        pipeline.path = crawler.settings["ITEMS_FILE"]
        return pipeline

    def process_item(self, item):
        line = json.dumps(dict(item)).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)
        return item


class ChaosSpider(scrapy.Spider):
    name = "chaos"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "ITEM_PIPELINES": {DiskPipeline: 1},
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_TIMES": 10,
        "LOG_LEVEL": "INFO",
    }

    async def start(self):
        yield scrapy.Request(self.url)

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(css="li a")
