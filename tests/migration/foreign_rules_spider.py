"""A spider of scrapy-redis with rules."""

from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import Rule
from scrapy_redis.spiders import RedisCrawlSpider

from tests.chaos.spider import ChaosSpider, DiskPipeline


class ForeignRulesSpider(RedisCrawlSpider):
    """As the example project's mycrawler_redis: reads URLs, follows all links."""

    name = "foreign_rules"
    custom_settings = {**ChaosSpider.custom_settings, "ITEM_PIPELINES": {DiskPipeline: 1}}
    rules = (Rule(LinkExtractor(), callback="parse_page", follow=True),)

    def parse_page(self, response):
        return {"url": response.url}
