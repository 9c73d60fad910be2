"""A crawl of four worker processes that something happens to."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

WORKERS = 4
#: Generous, for machines that others use too.
PATIENCE = 180
PAGES = 800


class Crawl:
    """The crawl under way: what its workers have logged, and how far it is."""

    def __init__(self, fleet: Fleet, site: ChaosSite) -> None:
        self.fleet = fleet
        self.site = site

    def count(self, pattern: str) -> int:
        """Return in how many of the workers' logs *pattern* stands."""
        return sum(bool(re.search(pattern, log.read_text())) for log in self.fleet.logs)

    def wait_for_words(self, pattern: str, workers: int = WORKERS) -> None:
        """Return once *pattern* stands in the logs of so many workers."""
        wait_until(lambda: self.count(pattern) >= workers, f"{pattern} is logged", PATIENCE)

    def wait_for_pages(self, more: int = 40) -> None:
        """Return once *more* pages were answered, or all are."""
        goal = min(self.site.answered + more, self.site.pages)
        wait_until(lambda: self.site.answered >= goal, "the crawl goes on", PATIENCE)

    def key(self) -> str:
        return f"crawlo:{{{self.fleet.project}:chaos:run}}:meta"

    def finish(self) -> None:
        """Wait for the end; no page may be missing, and no worker may have failed.

        Prints what docs/guarantees.rst tells of it: see it with ``pytest -s``.
        """

        def complete() -> bool:
            time.sleep(0.1)  # reading the items over and over would slow the workers down
            return len(self.fleet.items()) == self.site.pages

        wait_until(complete, "every page has its item", PATIENCE)
        assert self.fleet.wait(60) == [0] * WORKERS
        assert self.fleet.reasons() == {"finished": WORKERS}
        assert self.fleet.errors() == []
        logs = "".join(log.read_text() for log in self.fleet.logs)
        pauses = [float(seconds) for seconds in re.findall(r"Redis is back after ([\d.]+)", logs)]
        forgot = logs.count("Redis has forgotten")
        print(
            f"\n{self.site.fetched_twice} pages fetched twice; longest outage "
            f"{max(pauses, default=0):.1f} s; rollbacks noticed by {forgot} workers"
        )


@contextmanager
def crawl(folder: Path, redis_url: str, **settings: object) -> Iterator[Crawl]:
    """Start the crawl and return once it runs. What is cut off is noticed after 2 seconds."""
    settings = {"CRAWLO_REDIS_TIMEOUT": 2, **settings}
    with (
        ChaosSite(pages=PAGES, delay=0.15) as site,
        Fleet(folder, redis_url, "-a", f"url={site.url}", **settings) as fleet,
    ):
        fleet.start(WORKERS)
        found = Crawl(fleet, site)
        found.wait_for_words("Joined the crawl")
        found.wait_for_pages()
        yield found
