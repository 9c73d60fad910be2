"""Settings of a project that keeps the fingerprints of scrapy-redis."""

REQUEST_FINGERPRINTER_CLASS = "crawlo_scrapy.fingerprints.ScrapyRedisFingerprinter"
