"""What came of a crawl, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.crawler import Crawler


def as_dict(crawler: Crawler) -> dict[str, Any]:
    """Return what this worker did."""
    stats: Any = crawler.stats
    values = stats.get_stats() if stats is not None else {}
    return {
        "spider": crawler.spidercls.name,
        "finish_reason": values.get("finish_reason"),
        "pages": values.get("response_received_count", 0),
        "items": values.get("item_scraped_count", 0),
        "stats": dict(sorted(values.items())),
    }
