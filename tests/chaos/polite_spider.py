"""Asks three hosts of one site for their pages, many times each."""

import scrapy


class PoliteSpider(scrapy.Spider):
    name = "polite"
    custom_settings = {
        "ADDONS": {"crawlo_scrapy.Addon": 500},
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_TIMES": 10,
        "LOG_LEVEL": "INFO",
        "CRAWLO_SLOTS": {"127.0.0.1": {"delay": 0.5}, "127.0.0.2": {"delay": 0.1}},
    }

    async def start(self):
        counts = [int(count) for count in self.counts.split(",")]
        for host, count in enumerate(counts, 1):
            for page in range(count):
                yield scrapy.Request(f"http://127.0.0.{host}:{self.port}/page/{page}")

    def parse(self, response):
        pass
