"""What can go wrong between an item and its storage. Each class asks for another reaction."""

from __future__ import annotations

from collections.abc import Mapping


class StorageError(Exception):
    """The storage cannot be used as it is configured. Raised at start-up; a person must act."""


class StorageUnavailable(Exception):
    """The storage did not take a batch, and no item is to blame: wait and try again.

    The batch may or may not be stored: the connection may have gone before the answer came.
    """


class ItemRefused(Exception):
    """One item can never be stored, for the reason that the message gives."""


class RowsRefused(Exception):
    """Some rows of a batch were refused; **all others are stored**.

    `reasons` maps a row's place in the batch to why it was refused.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} rows refused")
        self.reasons = dict(reasons)
