"""Rows of the tables that are made from stats, nodes and error lines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from crawlo_scrapy.store.nodes import Node
from crawlo_scrapy.store.stats import ErrorLine

#: Stats that one page shows at most.
MOST_STATS = 1000
_CODES, _FAILURES = "downloader/response_status_count/", "downloader/exception_type_count/"
#: What is wrong stands first.
_STATES = ("silent", "lost", "seeding", "running", "left")
#: What nodes can be ordered by: column, its heading, whether it is a number.
ORDERS = {
    "state": "State",
    "pages_per_minute": "Pages/min",
    "pages": "Pages",
    "items": "Items",
    "errors": "Errors",
    "leased": "In flight",
    "memory": "Memory",
    "beat_age": "Last beat",
}


def nodes_in_order(nodes: Sequence[Node], order: str) -> tuple[list[Node], list[Node]]:
    """Return the nodes that are, or should be, there, and those that have left.

    By state what is wrong comes first, by a figure the largest.
    """
    if order == "state":
        found = sorted(nodes, key=lambda node: (_STATES.index(node.state), node.worker_id))
    else:
        found = sorted(nodes, key=lambda node: -(getattr(node, order) or 0))
    here = [node for node in found if node.state != "left"]
    return here, [node for node in found if node.state == "left"]


def node_name(worker_id: str) -> str:
    """Return the node that a worker is of: after it was struck off it has a number besides."""
    return re.sub(r"~\d+$", "", worker_id)


def response_codes(stats: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return HTTP status and number of responses, in order of the status."""
    return _counts(stats, _CODES)


def failed_downloads(stats: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return exception and number of downloads that ended so, the most frequent first."""
    return sorted(_counts(stats, _FAILURES), key=lambda row: -row[1])


def _counts(stats: Mapping[str, Any], prefix: str) -> list[tuple[str, int]]:
    return [
        (key.removeprefix(prefix), count)
        for key, count in stats.items()
        if key.startswith(prefix) and isinstance(count, int)
    ]


def stat_rows(stats: Mapping[str, Any], words: str) -> tuple[list[tuple[str, Any]], int]:
    """Return at most `MOST_STATS` stats whose keys hold *words*, and how many there are."""
    words = words.casefold()
    found = [(key, stat) for key, stat in stats.items() if words in key.casefold()]
    return found[:MOST_STATS], len(found)


def lines_of(node: Node, lines: Sequence[ErrorLine]) -> list[ErrorLine]:
    """Return the lines of *node*, which stand there under its name as it was given."""
    names = {node.id.rpartition("+")[0], node.worker_id.split("~")[0]}
    return [line for line in lines if line.node in names]
