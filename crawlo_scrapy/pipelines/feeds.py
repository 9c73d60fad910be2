"""Feed exports that N workers can share a configuration of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlo_scrapy.connection import node_id

if TYPE_CHECKING:
    from scrapy import Spider


def uri_params(params: dict[str, Any], spider: Spider) -> dict[str, Any]:
    """Let ``%(node)s`` stand in a feed's URI, so that no two workers write to one file.

    For Scrapy's setting: ``FEED_URI_PARAMS = "crawlo_scrapy.pipelines.feeds.uri_params"``.
    """
    return {**params, "node": node_id(spider.settings)}
