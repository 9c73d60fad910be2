"""Redis data structures of a crawl. Knows nothing of Scrapy; could serve another crawler."""
