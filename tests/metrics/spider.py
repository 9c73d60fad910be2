"""A crawl in which everything goes wrong now and then, so that every metric shows something."""

import random

import scrapy
from scrapy.exceptions import DropItem

from crawlo_scrapy.pipelines.jsonlines import JsonLinesPipeline


class Dropping:
    def process_item(self, item):
        if random.random() < 0.3:
            raise DropItem("no")
        return item


class MeasuredSpider(scrapy.Spider):
    name = "measured"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "ITEM_PIPELINES": {Dropping: 1, JsonLinesPipeline: 2},
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "TELNETCONSOLE_ENABLED": False,
        "CRAWLO_DEAD_LETTER_FAILED": True,
        "CRAWLO_STATS_INTERVAL": 0.5,
        "HEALTH_CHECK_INTERVAL": 0.5,
        "RETRY_TIMES": 1,
        "CLOSED_PORT": 1,
        "LOG_LEVEL": "INFO",
    }

    async def start(self):
        yield scrapy.Request(self.url)

    def parse(self, response):
        self.crawler.stats.inc_value("shop/pages seen")
        yield {"url": response.url}
        yield from response.follow_all(css="li a")
        chance = random.random()
        if chance < 0.1:
            yield response.follow(f"/missing/{response.url[-3:]}{chance}")
        elif chance < 0.2:
            yield scrapy.Request(f"http://127.0.0.1:1/{chance}", priority=5)
        elif chance < 0.3:
            raise ValueError("this page is not as it should be")
