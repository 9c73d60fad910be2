"""Logs many lines, once all workers of the crawl are there."""

import asyncio
import os
from pathlib import Path

import scrapy

PAGES, LINES = 150, 5


class NoisySpider(scrapy.Spider):
    name = "noisy"
    custom_settings = {"TELNETCONSOLE_ENABLED": False, "CONCURRENT_REQUESTS": 4}

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        Path(f"here-{os.getpid()}").touch()
        return super().from_crawler(crawler, *args, **kwargs)

    async def start(self):
        while len(list(Path().glob("here-*"))) < int(self.workers):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)
        for page in range(PAGES):
            yield scrapy.Request(f"data:,{page}", cb_kwargs={"page": page})

    async def parse(self, response, page):
        await asyncio.sleep(0.01)
        for line in range(LINES):
            self.logger.info("page %d line %d %s end", page, line, "x" * (page * 7 % 300))
