"""Feed exports that N workers can share a configuration of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crawlo_scrapy.pipelines.names import default_node
from crawlo_scrapy.settings import get

if TYPE_CHECKING:
    from scrapy import Spider


def uri_params(params: dict[str, Any], spider: Spider) -> dict[str, Any]:
    """Let ``%(node)s`` stand in a feed's URI, so that no two workers write to one file.

    For Scrapy's setting: ``FEED_URI_PARAMS = "crawlo_scrapy.pipelines.feeds.uri_params"``.
    """
    return {**params, "node": get(spider.settings, "CRAWLO_NODE_ID") or default_node()}
