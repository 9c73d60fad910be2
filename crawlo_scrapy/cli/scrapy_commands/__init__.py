"""Commands that stand in for Scrapy's own while `crawlo-scrapy` runs them."""
