"""What is told, in the words of each channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from crawlo_scrapy.store.inspect import CrawlState
from crawlo_scrapy.store.stats import Sample


@dataclass(frozen=True)
class Notice:
    """One message about a crawl. `status` is ``raised`` or ``recovered``; `node` tells it.

    `time` is in seconds since 1970, by Redis's clock.
    """

    crawl: str
    run: int
    alert: str
    rule: str
    status: str
    text: str
    node: str
    time: float
    figures: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The message in one line."""
        over = "over: " if self.status == "recovered" else ""
        # A name that somebody gave to a worker may hold anything.
        return " ".join(f"{self.crawl}: {over}{self.alert}: {self.text}".split())

    def as_dict(self) -> dict[str, Any]:
        """Return what a webhook is sent."""
        moment = datetime.fromtimestamp(self.time, timezone.utc)
        return {
            "crawl": self.crawl, "run": self.run, "alert": self.alert, "rule": self.rule,
            "status": self.status, "text": self.text, "node": self.node,
            "time": moment.isoformat(timespec="seconds"), "figures": dict(self.figures),
        }  # fmt: skip

    def as_slack(self) -> dict[str, str]:
        """Return what a Slack-compatible webhook is sent."""
        text = self.title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        finished = self.alert == "finished"
        sign = "white_check_mark" if finished or self.status == "recovered" else "rotating_light"
        return {"text": f":{sign}: {text}"}

    def as_mail(self) -> str:
        """Return the body of a mail."""
        rows = [f"{name.replace('_', ' ')}: {count:,}" for name, count in self.figures.items()]
        facts = [f"rule: {self.rule}", f"run: {self.run}", f"told by: {self.node}"]
        return "\n".join([self.title, "", *rows, "", *facts, ""])


def figures_of(state: CrawlState, sample: Sample, timeout: float) -> dict[str, int]:
    """Return what a notice says of the crawl besides its text."""
    return {
        "pages": sample.pages, "items": sample.items, "errors": sample.errors,
        "done": state.acked, "queued": state.queued, "in_flight": state.leased,
        "seen": state.seen, "dead_letters": state.dead, "workers": len(state.living(timeout)),
    }  # fmt: skip


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def span_of(milliseconds: float) -> str:
    """Say how long, in the unit that tells enough."""
    minutes = milliseconds / 60_000
    if minutes < 2:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
