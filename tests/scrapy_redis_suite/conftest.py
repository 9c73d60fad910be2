"""The tests of scrapy-redis itself are run by test_upstream.py, in a process of their own."""

collect_ignore = ["upstream"]
