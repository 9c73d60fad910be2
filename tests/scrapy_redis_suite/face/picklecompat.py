"""What scrapy-redis pickles, as `crawlo-scrapy migrate` reads it."""

from scrapy_redis.picklecompat import dumps

from crawlo_scrapy.migration.plainpickle import loads

__all__ = ["dumps", "loads"]
