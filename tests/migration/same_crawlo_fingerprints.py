"""Settings of a project that keeps the fingerprints of Crawlo 1.7."""

REQUEST_FINGERPRINTER_CLASS = "crawlo_scrapy.fingerprints.CrawloFingerprinter"
