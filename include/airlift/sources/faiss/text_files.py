"""Text files as they come: plain or packed by gzip, with or without a byte order mark."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from airlift.errors import AirliftError
from airlift.storage import Storage

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_MAX_LINE = 16 << 20


class TextFile:
    """A file that is read from its beginning, as often as needed.

    Args:
        folder, path: the file.
    """

    def __init__(self, folder: Storage, path: str) -> None:
        self._folder = folder
        self._path = path
        self.address = folder.address(path)
        self.name = path.split("/")[-1].lower().removesuffix(".gz")

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked, without a byte order mark."""
        with self._folder.open_input(self._path) as stream:
            reader: Any = io.BufferedReader(stream, 1 << 20)
            if reader.peek(2)[:2] == _GZIP:
                reader = io.BufferedReader(gzip.GzipFile(fileobj=reader), 1 << 20)
            try:
                if reader.peek(3)[:3] == _BOM:
                    reader.read(3)
                yield cast(IO[bytes], reader)
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise AirliftError(
                    f"{self.address} is damaged: gzip can't unpack it: {error}; copy it again"
                ) from error

    def lines(self) -> Iterator[bytes]:
        """Its lines, with their line breaks. Raises AirliftError for one that is far too long."""
        with self.open() as reader:
            number = 0
            while line := reader.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise AirliftError(
                        f"{self.address}:{number}: the line is longer than {_MAX_LINE >> 20} MB; "
                        "expected one object a line (JSON Lines)"
                    )
                yield line

    def whole(self, most: int, instead: str) -> bytes:
        """All of it. Raises AirliftError where it is larger than `most` bytes.

        Args:
            instead: what to do then.
        """
        with self.open() as reader:
            data = reader.read(most + 1)
        if len(data) > most:
            raise AirliftError(
                f"{self.address} is larger than {most >> 20} MB and not one object a line, so it "
                f"would have to be held in memory; {instead}"
            )
        return data
