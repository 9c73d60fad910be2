"""A spider of scrapy-redis as its users write them; nothing of ours but the add-on."""

from scrapy_redis.spiders import RedisSpider

from tests.chaos.spider import ChaosSpider, DiskPipeline


class ForeignSpider(RedisSpider):
    """As the example project's myspider_redis: reads URLs, follows nothing."""

    name = "foreign"
    custom_settings = {**ChaosSpider.custom_settings, "ITEM_PIPELINES": {DiskPipeline: 1}}

    def __init__(self, *args, **kwargs):
        # Dynamically define the allowed domains list.
        domain = kwargs.pop("domain", "")
        self.allowed_domains = filter(None, domain.split(","))
        super().__init__(*args, **kwargs)

    def parse(self, response):
        return {"url": response.url}
