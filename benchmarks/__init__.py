"""What the figures in the README come from. Run a file with ``python -m benchmarks.crawl``."""
