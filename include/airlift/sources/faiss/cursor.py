"""Reads a file that nobody vouches for, field by field, and never beyond its end."""

from __future__ import annotations

import struct
from typing import NoReturn

from airlift.errors import AirliftError
from airlift.storage import Storage

_BLOCK = 64 << 10  # bytes asked for at once: in a bucket each request costs


class Damaged(AirliftError):
    """The file is not what it says it is."""


class Cursor:
    """A place in a file. What is skipped is not read.

    Use it as a context manager; it closes the file.

    Args:
        folder, path: the file.
        size: its bytes.
    """

    def __init__(self, folder: Storage, path: str, size: int) -> None:
        self.at = 0
        self.size = size
        self.address = folder.address(path)
        self._folder = folder
        self._path = path
        self._stream = folder.open_input(path)
        self._block = b""
        self._block_at = 0

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def damaged(self, what: str) -> NoReturn:
        """Raises Damaged with the place."""
        raise Damaged(
            f"{self.address} is damaged, truncated or no Faiss index: at byte {self.at:,} of "
            f"{self.size:,}: {what}; copy it again, or write it again with faiss.write_index"
        )

    def left(self, end: int | None = None) -> int:
        """Bytes from here to the end (of the file, unless another is given)."""
        return (self.size if end is None else end) - self.at

    def skip(self, count: int) -> int:
        """Goes on by `count` bytes; returns where they began."""
        if not 0 <= count <= self.left():
            self.damaged(f"expected {count:,} more bytes, found {max(self.left(), 0):,}")
        start, self.at = self.at, self.at + count
        return start

    def read(self, count: int) -> bytes:
        """Reads `count` bytes."""
        start = self.skip(count)
        inside = start - self._block_at
        if not 0 <= inside <= len(self._block) - count:
            with self._folder.explained("read", self._path):
                self._block = self._stream.read_at(
                    max(count, min(_BLOCK, self.size - start)), start
                )
            self._block_at, inside = start, 0
        data = self._block[inside : inside + count]
        if len(data) != count:
            self.damaged(f"expected {count:,} bytes, found {len(data):,}: it changed meanwhile")
        return data

    def fourcc(self) -> str:
        """A code of four characters."""
        return self.read(4).decode("latin-1")

    def number(self, kind: str) -> int:
        """An integer of the kind that `struct` calls so."""
        value: int = struct.unpack(f"<{kind}", self.read(struct.calcsize(f"<{kind}")))[0]
        return value

    def i32(self) -> int:
        """A C++ int."""
        return self.number("i")

    def i64(self) -> int:
        """An idx_t."""
        return self.number("q")

    def u64(self) -> int:
        """A size_t."""
        return self.number("Q")

    def vector(self, width: int) -> tuple[int, int]:
        """Skips a std::vector; returns how many values of `width` bytes it holds, and where."""
        count = self.u64()
        if count > self.left() // width:
            self.damaged(
                f"it says that {count:,} values of {width} bytes follow; there are "
                f"{self.left():,} bytes"
            )
        return count, self.skip(count * width)

    def vector_bytes(self, width: int, most: int) -> bytes:
        """Reads a std::vector of at most `most` values."""
        count, start = self.vector(width)
        if count > most:
            self.damaged(f"expected at most {most:,} values, found {count:,}")
        self.at = start
        return self.read(count * width)
