"""Items on the terminal: for looking at a spider's work, not for keeping it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from crawlo_scrapy.pipelines.dead_items import shown_json
from crawlo_scrapy.pipelines.fields import fields_of

if TYPE_CHECKING:
    from scrapy import Spider


class ConsolePipeline:
    """Prints each item to standard output as a line of JSON. Stores nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def process_item(self, item: Any, spider: Spider | None = None) -> Any:
        print(shown_json(fields_of(item)), file=self._stream or sys.stdout)
        return item
