"""From other queues into a crawl: scrapy-redis, Crawlo, Scrapy's JOBDIR."""
