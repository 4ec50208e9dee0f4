"""One column of an `.npy` file, read in pieces."""

from __future__ import annotations

import io
import tokenize
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.storage import Storage

_HEADER = 64 << 10
# What numpy's own reader of a header may raise: it takes it for Python.
_NO_HEADER = (
    *(ValueError, TypeError, SyntaxError, OverflowError, RecursionError, MemoryError),
    tokenize.TokenError,
)
_LAST_CHARACTER = 0x10FFFF


class NpyFile:
    """A one-dimensional array in a file.

    Args:
        folder, path: the file.

    Raises:
        AirliftError: it is no such array.
    """

    def __init__(self, folder: Storage, path: str) -> None:
        self._folder = folder
        self._path = path
        self.address = folder.address(path)
        with folder.open_input(path) as stream, folder.explained("read", path):
            size = stream.size()
            head = io.BytesIO(stream.read_at(min(_HEADER, size), 0))
        try:
            version = np.lib.format.read_magic(head)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, self.dtype = read_header(head)
        except _NO_HEADER as error:
            raise AirliftError(f"{self.address} is no .npy file: {error}") from error
        self._at = head.tell()
        if len(shape) != 1 or self.dtype.hasobject:
            raise AirliftError(
                f"{self.address} holds {self.dtype} of shape {shape}; expected one value for each "
                "row, and no Python objects; write it with numpy.save of such an array"
            )
        self.rows = int(shape[0])
        expected = self._end = self._at + self.rows * self.dtype.itemsize
        if size != expected:
            raise AirliftError(
                f"{self.address} was truncated or damaged: its header says {self.rows:,} values, "
                f"which make {expected:,} bytes; found {size:,}; copy it again"
            )
        self._all: NDArray[Any] | None = None

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The values [start, stop)."""
        width = self.dtype.itemsize
        with (
            self._folder.open_input(self._path) as stream,
            self._folder.explained("read", self._path),
        ):
            data = stream.read_at((stop - start) * width, self._at + start * width)
        if len(data) != (stop - start) * width:
            raise AirliftError(f"{self.address} became shorter while it was read")
        return np.frombuffer(data, self.dtype)

    def take(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The values at any places; the first time, all are read or mapped."""
        if self._all is None:
            if self._folder.is_local and self.rows:
                path = self._folder.path(self._path)
                self._all = np.memmap(path, self.dtype, "r", self._at, (self.rows,))
            else:
                self._all = self.read(0, self.rows)
        # To look at what is mapped and was cut off since would end this process.
        if self._folder.is_local and (self._folder.sizes([self._path])[0] or 0) < self._end:
            raise AirliftError(f"{self.address} became shorter while it was read")
        return np.asarray(self._all[places])


def ids_file(file: NpyFile) -> NpyFile:
    """The file, if it holds ids. Raises AirliftError."""
    if file.dtype.kind not in "iuUS":
        raise AirliftError(
            f"{file.address} holds {file.dtype}; ids are whole numbers (int64), or texts (`U`, `S`)"
        )
    return file


def texts(values: NDArray[Any], address: str) -> pa.Array:
    """Texts of a fixed width as Arrow has them. Raises AirliftError for what is no UTF-8."""
    if values.dtype.kind == "U":
        numbers = np.ascontiguousarray(values).view(values.dtype.byteorder + "u4")
        is_half = (numbers >= 0xD800) & (numbers <= 0xDFFF)
        if (is_half | (numbers > _LAST_CHARACTER)).any():
            raise AirliftError(f"{address} holds texts with characters that Unicode does not have")
        return pa.array(values.tolist(), pa.string())
    try:
        return pa.array([value.decode() for value in values.tolist()], pa.string())
    except UnicodeDecodeError as error:
        raise AirliftError(f"{address} holds texts that are not UTF-8: {error}") from error


def as_int64(values: NDArray[Any], address: str) -> NDArray[np.int64]:
    """Whole numbers as int64. Raises AirliftError for those that don't fit."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 8 and len(values):
        largest = int(values.max())
        if largest > np.iinfo(np.int64).max:
            raise AirliftError(
                f"{address} holds the number {largest}; Milvus' INT64 ends at 2^63 - 1"
            )
    return values.astype(np.int64)
