"""The metrics, as data: collectors and the documentation's page are made from these tables."""
# The rows are longer than a line of code on purpose: one metric, one line.
# ruff: noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: What stands before the names of a worker's metrics, and of a crawl's.
WORKER, CRAWL = "crawlo_worker_", "crawlo_crawl_"

# name | counter or gauge | the stat; {label} stands for any text without a slash | what it is
_WORKER = """
pages | counter | response_received_count | Responses, whatever their status.
items | counter | item_scraped_count | Items that passed all pipelines.
dropped_items | counter | item_dropped_count | Items that a pipeline dropped.
log_lines | counter | log_count/{level} | Lines of the log, by level.
requests | counter | downloader/request_method_count/{method} | Requests sent, by method.
responses | counter | downloader/response_status_count/{status} | Responses, by HTTP status.
request_bytes | counter | downloader/request_bytes | Bytes sent.
response_bytes | counter | downloader/response_bytes | Bytes received.
download_exceptions | counter | downloader/exception_type_count/{exception} | Downloads that failed without a response.
spider_exceptions | counter | spider_exceptions/{exception} | Exceptions that a callback raised.
retries | counter | retry/reason_count/{reason} | Downloads that are tried again.
retries_exhausted | counter | retry/max_reached | Downloads that were given up.
duplicates | counter | dupefilter/filtered | Requests that were seen before.
enqueued_requests | counter | scheduler/enqueued | Requests that the scheduler took in.
dequeued_requests | counter | scheduler/dequeued | Requests that the scheduler handed to the engine.
exchanges | counter | crawlo/exchanges | Round trips to Redis.
pushed_requests | counter | crawlo/pushed | Requests queued in Redis.
reclaimed_requests | counter | crawlo/reclaimed | Requests taken back from dead workers.
dead_letters | counter | crawlo/dead_letters/{reason} | Requests that this worker made dead letters, by reason.
rejoins | counter | crawlo/rejoined | Times that this worker was given up and came back.
outages | counter | crawlo/outages | Times that Redis was away.
stored_items | counter | items/{storage}/stored | Items stored by a pipeline of ours.
refused_items | counter | items/{storage}/refused | Items that their storage can never take.
storage_writes | counter | items/{storage}/batches | Writes that went well.
storage_retries | counter | items/{storage}/retries | Writes tried again because the storage was away.
memory_bytes | gauge | crawlo/memory | Memory that the process has.
max_depth | gauge | request_depth_max | The longest way from a start request.
start_time_seconds | gauge | start_time | When the spider opened, in seconds since 1970.
max_event_loop_lag_seconds | gauge | crawlo/health/lag | The longest time that the event loop was held up.
healthy | gauge | crawlo/health/state | 1 while the health check finds nothing wrong, else 0.
info | gauge | - | Always 1; its labels host, pid, version, scrapy and python tell about the worker.
stat | gauge | (any other number) | Stats of yours and of other extensions, each under its name in the label key.
"""

#: Stats that are the sum of others, or tell nothing while a worker runs.
OTHERWISE_TOLD = {
    "downloader/request_count", "downloader/response_count", "downloader/exception_count",
    "retry/count", "spider_exceptions/count", "scheduler/enqueued/redis",
    "scheduler/dequeued/redis", "elapsed_time_seconds", "finish_time",
}  # fmt: skip

# name | counter or gauge | labels | what it is
_CRAWL = """
state | gauge | state | 1 for the state that the crawl is in, 0 for the others.
run | gauge | | Number of the crawl's run.
created_timestamp_seconds | gauge | | When the run began, in seconds since 1970.
finished_timestamp_seconds | gauge | | When the crawl was finished; not there before.
queued_requests | gauge | | Requests that wait, delayed ones included.
delayed_requests | gauge | | Requests that may not be fetched yet.
leased_requests | gauge | | Requests in flight: workers have them.
started_requests | gauge | | Those of them that workers have started.
dead_letters | gauge | | Requests that were given up and wait for a person.
seen_urls | gauge | | URLs in the seen set.
workers | gauge | state | Workers in the registry: alive, or silent for CRAWLO_WORKER_TIMEOUT.
memory_bytes | gauge | | Memory of the living workers together.
pushed_requests | counter | | Requests that were ever queued.
done_requests | counter | | Requests that were ever done.
pages | counter | | Responses in this run.
items | counter | | Items in this run.
errors | counter | | Lines logged as errors in this run.
response_bytes | counter | | Bytes received in this run.
"""


@dataclass(frozen=True)
class Metric:
    """One metric. `name` is without ``_total``, which counters get; `stat` is Scrapy's name."""

    name: str
    kind: str
    stat: str
    labels: tuple[str, ...]
    doc: str

    @property
    def shown_name(self) -> str:
        """The name as Prometheus has it."""
        return self.name + ("_total" if self.kind == "counter" else "")

    def pattern(self) -> re.Pattern[str]:
        """Match the stats that it shows; groups are its labels."""
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(self.stat)))


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.strip().splitlines():
        yield [part.strip() for part in line.split("|")]


WORKER_METRICS = [
    Metric(WORKER + name, kind, stat, tuple(re.findall(r"\{(\w+)\}", stat)), doc)
    for name, kind, stat, doc in _rows(_WORKER)
]
CRAWL_METRICS = [
    Metric(CRAWL + name, kind, "", tuple(labels.split()), doc)
    for name, kind, labels, doc in _rows(_CRAWL)
]


def metrics_rst() -> str:
    """Return the documentation's tables."""
    worker = [(m.shown_name, " ".join(m.labels), f"``{m.stat}``", m.doc) for m in WORKER_METRICS]
    crawl = [(m.shown_name, " ".join(m.labels), m.doc) for m in CRAWL_METRICS]
    return "\n".join(
        [
            "Of a worker", "~~~~~~~~~~~", "",
            *_table(("Metric", "Labels", "Stat", "Meaning"), worker),
            "Of a crawl", "~~~~~~~~~~", "", *_table(("Metric", "Labels", "Meaning"), crawl),
        ]
    )  # fmt: skip


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for name, *cells in [heads, *rows]:
        yield f"   * - {name}" if name == heads[0] else f"   * - ``{name}``"
        yield from (f"     - {cell}" for cell in cells)
    yield ""
