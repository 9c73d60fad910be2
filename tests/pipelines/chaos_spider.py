"""The spider of the storage chaos test: follows every link, yields an item a page."""

import scrapy


class StoringSpider(scrapy.Spider):
    name = "storing"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_TIMES": 10,
        "LOG_LEVEL": "INFO",
        "CRAWLO_ITEM_RETRY_MAX_DELAY": 1,
    }

    async def start(self):
        yield scrapy.Request(self.url)

    def parse(self, response):
        yield {"url": response.url, "size": len(response.body)}
        yield from response.follow_all(css="li a")
