"""What must be turned round where Crawlo's values enter Scrapy's settings.

A few names mean one thing to Crawlo and another to Scrapy. Once such a value is among Scrapy's
settings nobody can tell which is meant; so it is converted at the border: in
`CrawloConfig.to_dict`, for a ``--config`` file, and for ``CRAWLO_*`` variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crawlo_scrapy.config.components import priority_dict


def from_crawlo(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* as they go into Scrapy's settings."""
    result = dict(values)
    if isinstance(depth := result.get("DEPTH_PRIORITY"), int):
        # Crawlo subtracts depth × priority and serves the lowest number first.
        result["DEPTH_PRIORITY"] = -depth
    if isinstance(result.get("EXTENSIONS"), (list, tuple)):
        # Scrapy's settings refuse a list under this name.
        result["EXTENSIONS"] = priority_dict("EXTENSIONS", result["EXTENSIONS"])
    return result
