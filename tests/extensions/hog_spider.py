"""The spider of the chaos tests; where HOG is set, it holds much memory after some pages."""

import os

from tests.chaos.spider import ChaosSpider

HOARD_MB, AFTER = 400, 20


class HogSpider(ChaosSpider):
    name = "hog"
    pages = 0
    hoard = b""

    def parse(self, response):
        yield from super().parse(response)
        self.pages += 1
        if self.pages == AFTER and "HOG" in os.environ:
            self.hoard = b"x" * (HOARD_MB << 20)
