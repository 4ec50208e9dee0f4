"""A file that appears under its name only once it is whole."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from airlift.storage_errors import explained


class OutputFile(io.RawIOBase):
    """A file being written; it appears under its name only when `commit` returns.

    On a local disk it is written beside its place and renamed; in a bucket an object only exists
    once its upload is complete.
    """

    def __init__(
        self, filesystem: pafs.FileSystem, path: str, publish_as: str, address: str
    ) -> None:
        super().__init__()
        self._filesystem = filesystem
        self._path = path
        self._publish_as = publish_as
        self._stream = filesystem.open_output_stream(path)
        self.address = address
        self.size = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Appends bytes (anything with a buffer); returns how many."""
        with explained("write", self.address):
            written: int = self._stream.write(data)
        self.size += written
        return written

    def commit(self) -> None:
        """Ends the file and gives it its name."""
        with explained("write", self.address):
            self._stream.close()
            if self._path != self._publish_as:
                self._filesystem.move(self._path, self._publish_as)

    def abandon(self) -> None:
        """Removes what was written so far; for use after a failure, so it raises nothing."""
        with suppress(OSError, pa.ArrowException):
            self._stream.close()
        with suppress(OSError, pa.ArrowException):
            self._filesystem.delete_file(self._path)
