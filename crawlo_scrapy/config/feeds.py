"""Crawlo's CSV and JSON files as Scrapy's feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crawlo_scrapy.config.adapter import Translation
    from crawlo_scrapy.config.option import Option

#: Crawlo's pipelines that become feeds: the option that names the file, and the format.
PIPELINE_FILES = {
    "CsvPipeline": ("CSV_FILE", "csv"),
    "CsvDictPipeline": ("CSV_DICT_FILE", "csv"),
    "CsvBatchPipeline": ("CSV_BATCH_FILE", "csv"),
    "JsonPipeline": ("JSON_FILE", "jsonlines"),
    "JsonLinesPipeline": ("JSONLINES_FILE", "jsonlines"),
    "JsonArrayPipeline": ("JSON_ARRAY_FILE", "json"),
}
#: Pipelines of ours that read these options themselves.
_OWN_PIPELINES = {
    "CSV_FILE": "CsvPipeline",
    "JSON_FILE": "JsonPipeline",
    "JSONLINES_FILE": "JsonLinesPipeline",
}
_SUFFIX = {"csv": "csv", "json": "json", "jsonlines": "jsonl"}


def feed_for(translation: Translation, option: Option, path: str) -> dict[str, Any]:
    """Return the entry of FEEDS for a file, or nothing where a pipeline of ours writes it."""
    own = _OWN_PIPELINES.get(option.name)
    listed = translation.settings.getdict("ITEM_PIPELINES")
    if own and any(_name(key) == own and listed[key] is not None for key in listed):
        return {}
    format_ = option.how.split()[1]
    if format_ == "json" and translation.joining:
        translation.note(
            f"{option.name} is one JSON array, which has one writer: other workers on the host "
            "write files of their own. Use JSON_FILE, one object a line, for a shared crawl"
        )
    return {path: feed(translation, format_)}


def feed(translation: Translation, format_: str) -> dict[str, Any]:
    """Return the options of a feed of this format."""
    result: dict[str, Any] = {"format": format_, "encoding": "utf-8"}
    if format_ == "json":
        # Appending to an array makes no valid JSON.
        result["overwrite"] = True
    if format_ == "csv":
        arguments = {
            "delimiter": translation.parsed("CSV_DELIMITER"),
            "quotechar": translation.parsed("CSV_QUOTECHAR"),
            "include_headers_line": translation.parsed("CSV_INCLUDE_HEADERS"),
        }
        given = {name: value for name, value in arguments.items() if value is not None}
        if given:
            result["item_export_kwargs"] = given
        if fields := translation.parsed("CSV_FIELDNAMES"):
            result["fields"] = fields
    return result


def pipeline_feeds(translation: Translation) -> dict[str, Any]:
    """Return feeds for Crawlo's pipelines that were listed without naming their file."""
    feeds = {}
    for name in translation.feed_pipelines:
        option, format_ = PIPELINE_FILES[name]
        if not translation.settings.get(option):
            path = f"output/%(name)s_%(time)s.{_SUFFIX[format_]}"
            feeds[path] = feed(translation, format_)
    return feeds


def _name(component: Any) -> str:
    if isinstance(component, str):
        return component.rpartition(".")[2] if component.startswith("crawlo_scrapy.") else ""
    return component.__name__ if component.__module__.startswith("crawlo_scrapy.") else ""
