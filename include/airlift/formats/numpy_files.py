"""Chunks as NumPy files: one `<field>.npy` per field, as Milvus' bulk insert takes them.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0, always
C order (Milvus 2.3 reads a Fortran-order file as if it were C order, silently).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

import numpy as np
import pyarrow as pa

from airlift.chunk import ChunkFile
from airlift.damaged_files import reading_chunk_file
from airlift.datatypes import TYPES
from airlift.errors import AirliftError
from airlift.fixed_width import fixed_bytes
from airlift.formats.base import MAX_FILE_BYTES
from airlift.formats.write_behind import WriteBehind
from airlift.schema import CollectionSchema, Field
from airlift.storage import Storage
from airlift.stores.disk import MAX_NAME_BYTES

_MAX_FIELD_NAME = MAX_NAME_BYTES - len(".npy")


def _file(field: Field) -> str:
    return f"{field.name}.npy"


def _header(field: Field, rows: int) -> bytes:
    """The `.npy` header of a field's file."""
    dtype = np.dtype(TYPES[field.type].numpy)
    shape: tuple[int, ...] = (rows,)
    if field.is_vector:
        shape = (rows, (field.width or 0) // dtype.itemsize)
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": dtype.str, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


class NumpyWriter:
    """Writes the `.npy` files of one chunk."""

    def __init__(self, folder: Storage, schema: CollectionSchema, rows: int) -> None:
        self._folder = folder
        self._expected = rows
        self._rows = 0
        self._fields = schema.written
        self._writers = WriteBehind([folder.open_output(_file(field)) for field in self._fields])
        for index, field in enumerate(self._fields):
            self._writers.write(index, memoryview(_header(field, rows)))

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        self._rows += batch.num_rows
        for index, field in enumerate(self._fields):
            values = fixed_bytes(batch.column(field.name))
            if values is not None:  # `unfit` has refused other fields
                self._writers.write(index, values.reshape(-1).data)

    def close(self) -> list[ChunkFile]:
        """Publishes the files. Raises AirliftError when the rows are not as many as announced."""
        if self._rows != self._expected:
            raise AirliftError(
                f"{self._folder.url}: {self._rows:,} rows came, the plan counted "
                f"{self._expected:,}: the source changed since it was planned; run again with a "
                "new migration_id"
            )
        sizes = self._writers.commit()
        return [
            ChunkFile(name=_file(field), size=size)
            for field, size in zip(self._fields, sizes, strict=True)
        ]

    def abandon(self) -> None:
        """Removes what was written so far, after a failure."""
        self._writers.abandon()


class NumpyFormat:
    """See the module."""

    name: ClassVar[str] = "numpy"
    needs_row_count: ClassVar[bool] = True

    @staticmethod
    def unfit(schema: CollectionSchema) -> str | None:
        """Why the format can't hold such rows; None when it can."""
        unfit = [
            field.name
            for field in schema.written
            if field.width is None or TYPES[field.type].numpy is None
        ]
        if unfit:
            return f"numpy files hold numbers and plain vectors in every row, {unfit} are not"
        long = [
            field.name for field in schema.written if len(field.name.encode()) > _MAX_FIELD_NAME
        ]
        if long:
            return (
                "numpy files are called as their fields, whose names must not be longer than "
                f"{_MAX_FIELD_NAME} bytes; found {long}"
            )
        return None

    @staticmethod
    def empty_becomes_null(schema: CollectionSchema) -> list[str]:
        """None: it holds no lists."""
        return []

    @staticmethod
    def max_chunk_bytes(schema: CollectionSchema) -> int:
        """A file holds less than the rows do."""
        return MAX_FILE_BYTES

    @staticmethod
    def files(schema: CollectionSchema) -> list[str]:
        """One for each field."""
        return [_file(field) for field in schema.written]

    @staticmethod
    def size(schema: CollectionSchema, rows: int) -> int:
        """Exact: headers, and values of fixed width."""
        return sum(len(_header(one, rows)) + rows * (one.width or 0) for one in schema.written)

    @staticmethod
    def writer(folder: Storage, schema: CollectionSchema, rows: int) -> NumpyWriter:
        """Starts a chunk of exactly `rows` rows."""
        return NumpyWriter(folder, schema, rows)

    @staticmethod
    def read(
        folder: Storage, schema: CollectionSchema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Reads a written chunk back."""
        with ExitStack() as stack:
            streams = []
            rows: int | None = None
            for field in schema.written:
                with reading_chunk_file(folder, _file(field)):
                    stream = stack.enter_context(folder.open_input(_file(field)))
                    streams.append(stream)
                    rows = _rows_of(stream, field, rows)
            for start in range(0, rows or 0, batch_rows):
                count = min(batch_rows, (rows or 0) - start)
                columns = []
                for field, stream in zip(schema.written, streams, strict=True):
                    with reading_chunk_file(folder, _file(field)):
                        columns.append(_column(field, _exactly(stream, field, count), count))
                yield pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


def _rows_of(stream: pa.NativeFile, field: Field, expected: int | None) -> int:
    """Rows of a field's file, whose header is read.

    Args:
        expected: rows of the files of the fields before it; None for the first.

    Raises:
        ValueError: it is not as it was written.
    """
    rows: int = (stream.size() - len(_header(field, 0))) // (field.width or 1)
    if expected is not None and rows != expected:
        raise ValueError(f"it has {rows:,} rows, the other fields {expected:,}")
    header = _header(field, max(rows, 0))
    # A header has one length whatever it says, so the file's length tells its rows.
    if stream.read(len(header)) != header:
        raise ValueError(f"it does not begin with the header of {rows:,} rows")
    if stream.size() != len(header) + rows * (field.width or 0):
        raise ValueError("it ends within a row")
    return rows


def _exactly(stream: pa.NativeFile, field: Field, count: int) -> pa.Buffer:
    """The bytes of so many rows. Raises ValueError when there are fewer."""
    wanted = count * (field.width or 0)
    data = stream.read_buffer(wanted)
    if data.size != wanted:
        raise ValueError(f"{wanted:,} bytes were expected, {data.size:,} came")
    return data


def _column(field: Field, data: pa.Buffer, count: int) -> pa.Array:
    """An Arrow array over a field's raw bytes."""
    kind = field.arrow.type
    if pa.types.is_fixed_size_list(kind):
        flat = pa.Array.from_buffers(kind.value_type, count * kind.list_size, [None, data])
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(pa.uint8(), count, [None, data]).cast(kind)
    return pa.Array.from_buffers(kind, count, [None, data])
