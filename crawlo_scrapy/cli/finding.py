"""What `crawlo-scrapy doctor` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `level`: ok, warning, or error: no crawl can start."""

    level: str
    subject: str
    text: str
    advice: str = ""
