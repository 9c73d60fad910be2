"""All spiders of a project in one process, some at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crawlo_scrapy import settings as ours
from crawlo_scrapy.cli.project import checked_settings, spider_loader
from crawlo_scrapy.cli.report import as_dict

if TYPE_CHECKING:
    from scrapy.settings import Settings


def run_all(
    settings: Settings, arguments: dict[str, str], as_json: bool, stopped_status: int
) -> int:
    """Run every spider; return 1 if one of them could not take part, else 0.

    *stopped_status* if they were told to stop before the end.
    """
    from scrapy.crawler import CrawlerProcess

    names = sorted(spider_loader(settings).list())
    if not names:
        raise click.ClickException("this project has no spiders.")
    for name in names:
        checked_settings(settings, name)
    process = CrawlerProcess(settings)
    most = ours.get(settings, "MAX_RUNNING_SPIDERS")
    waiting = [process.create_crawler(name) for name in names]
    crawlers = list(waiting)

    stopping = False

    def start_next(_: Any = None) -> None:
        # Called again whenever a crawl ends, so that as many run as before.
        if waiting and not stopping:
            process.crawl(waiting.pop(0), **arguments).addBoth(start_next)

    def stop() -> Any:
        nonlocal stopping
        stopping = True
        return original_stop()

    # Ctrl-C ends those that wait, too.
    original_stop = process.stop
    process.stop = stop  # type: ignore[method-assign]
    for _ in range(min(most, len(waiting))):
        start_next()
    process.start()
    if as_json:
        from crawlo_scrapy.cli.output import print_json

        print_json([as_dict(crawler) for crawler in crawlers if crawler.stats])
    if stopping and not process.bootstrap_failed:
        return stopped_status
    return int(process.bootstrap_failed)
