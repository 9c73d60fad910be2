"""Scrapy's `crawl`, and what came of it: as JSON on standard output, and as exit status."""

from __future__ import annotations

from typing import Any

from scrapy.commands import crawl

from crawlo_scrapy.cli.output import print_json
from crawlo_scrapy.cli.report import as_dict


class Command(crawl.Command):
    as_json = False
    stopped_status = 0

    def run(self, args: list[str], opts: Any) -> None:
        process: Any = self.crawler_process
        made: list[Any] = []
        create = process.create_crawler

        def create_crawler(spidercls: Any) -> Any:
            crawler = create(spidercls)
            if crawler not in made:  # `crawl` passes the one it made through here again
                made.append(crawler)
            return crawler

        process.create_crawler = create_crawler
        super().run(args, opts)
        for crawler in made:
            if crawler.stats:
                report = as_dict(crawler)
                if self.as_json:
                    print_json(report)
                if report["finish_reason"] == "shutdown" and not self.exitcode:
                    self.exitcode = self.stopped_status
