"""What a storage must offer so that batches can be written to it.

Writers know nothing of Scrapy: the pipelines use them inside a crawl, and
``crawlo-scrapy items drain`` outside of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """An item in the form in which its storage takes it. `size` is about its bytes on the wire."""

    payload: Any
    size: int


class Writer(ABC):
    """One storage: a database's table, a file."""

    #: Short name, used in stats and log lines.
    name: str

    @abstractmethod
    async def open(self) -> None:
        """Connect and check everything that can be checked before the first item.

        Raises `StorageError` with a message that says what to do.
        """

    @abstractmethod
    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        """Return *fields* as a row.

        Raises `ItemRefused` for what cannot be stored, `StorageUnavailable` when the storage
        had to be asked and did not answer.
        """

    @abstractmethod
    async def write(self, rows: Sequence[Row]) -> None:
        """Store *rows*: when this returns, all of them survive the death of this process.

        Raises `StorageUnavailable`: try again, with the same list object. `RowsRefused`: these
        rows never, the others are stored. Anything else: nothing was stored, and some row is
        to blame.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections and files. Also called when `open` failed."""
