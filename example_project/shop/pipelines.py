import json
import os

from itemadapter import ItemAdapter


class AppendPipeline:
    """Append each item to ITEMS_FILE, one JSON object a line.

    A line is written by one call to a file opened for appending, and before
    `process_item` returns: a worker that is killed later has not lost it.

    `spider` is for Scrapy before 2.14, which always passes it.
    """

    def __init__(self, path):
        self.path = path

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.settings["ITEMS_FILE"].format(pid=os.getpid()))

    def open_spider(self, spider=None):
        self.file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def process_item(self, item, spider=None):
        line = json.dumps(ItemAdapter(item).asdict(), ensure_ascii=False) + "\n"
        os.write(self.file, line.encode())
        return item

    def close_spider(self, spider=None):
        os.close(self.file)
