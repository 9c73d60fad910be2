"""Reads its pages from a list in Redis; yields an item a page."""

from crawlo_scrapy.spiders import RedisSpider
from tests.chaos.spider import ChaosSpider, DiskPipeline


class SourceSpider(RedisSpider):
    name = "source"
    max_idle_time = 6
    redis_batch_size = 20
    custom_settings = {**ChaosSpider.custom_settings, "ITEM_PIPELINES": {DiskPipeline: 1}}

    def __init__(self, *args, key, **kwargs):
        super().__init__(*args, **kwargs)
        self.redis_key = key

    def parse(self, response):
        yield {"url": response.url}
