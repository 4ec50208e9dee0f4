"""A file that appears under its name only once it is whole."""

from __future__ import annotations

import io
from typing import Any

from airlift.storage_errors import explained
from airlift.stores.base import Writing


class OutputFile(io.RawIOBase):
    """A file being written; it appears under its name only when `commit` returns.

    Args:
        writing: the store's side of it.
        address: its URL, for messages.
    """

    def __init__(self, writing: Writing, address: str) -> None:
        super().__init__()
        self._writing = writing
        self.address = address
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Appends bytes (anything with a buffer); returns how many."""
        with explained("write", self.address):
            written = self._writing.write(data)
        self.size += written
        return written

    def commit(self) -> None:
        """Ends the file and gives it its name."""
        with explained("write", self.address):
            self._writing.commit()

    def abandon(self, whole: bool = False) -> None:
        """Removes what was written so far; for use after a failure, so it raises nothing.

        Args:
            whole: see `Writing.abandon`.
        """
        self._writing.abandon(whole)
