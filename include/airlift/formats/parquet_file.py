"""Chunks as one Parquet file, for fields of any type.

Vectors are written as Milvus' import reads them: a float vector as a list of floats, a binary or
half-precision one as a list of uint8, a sparse one as JSON (`{"3": 0.5}`). Neither compressed nor
dictionary-coded: vectors don't shrink.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from airlift.chunk import ChunkFile
from airlift.damaged_files import reading_chunk_file
from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.formats.base import MAX_FILE_BYTES, OneFileFormat
from airlift.schema import CollectionSchema, Field
from airlift.sparse_vectors import from_json, to_json
from airlift.storage import Storage

_NAME = "data.parquet"
_ROW_GROUP_BYTES = 32 << 20


def _file_type(field: Field) -> pa.DataType:
    kind = field.arrow.type
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type)
    if pa.types.is_fixed_size_binary(kind):
        return pa.list_(pa.uint8())
    return kind


def _to_file(field: Field, column: pa.Array) -> pa.Array:
    kind = column.type
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return to_json(column)
    if pa.types.is_fixed_size_list(kind):
        return column.cast(_file_type(field))
    if pa.types.is_fixed_size_binary(kind):
        width = kind.byte_width
        values = pa.Array.from_buffers(
            pa.uint8(),
            len(column) * width,
            [None, column.buffers()[1]],
            offset=column.offset * width,
        )
        offsets = np.arange(0, (len(column) + 1) * width, width, dtype=np.int32)
        mask = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)
    return column


def _from_file(field: Field, column: pa.Array) -> pa.Array:
    kind = field.arrow.type
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return from_json(column)
    if pa.types.is_fixed_size_binary(kind) and not column.null_count:
        values = column.flatten()
        start = values.offset
        data = values.buffers()[1].slice(start, len(values))
        return pa.Array.from_buffers(kind, len(column), [None, data])
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([item and bytes(item) for item in column.to_pylist()], kind)
    return column.cast(kind)


class ParquetWriter:
    """Writes the Parquet file of one chunk."""

    def __init__(self, folder: Storage, schema: CollectionSchema) -> None:
        self._fields = schema.written
        self._output = folder.open_output(_NAME)
        self._schema = pa.schema(
            [pa.field(f.name, _file_type(f), nullable=f.nullable) for f in self._fields]
        )
        self._writer = pq.ParquetWriter(
            self._output,
            self._schema,
            compression="NONE",
            use_dictionary=False,
            write_statistics=False,
        )
        self._waiting: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows; they are written as row groups of about 32 MiB."""
        if batch.num_rows == 0:
            return
        columns = [_to_file(field, batch.column(field.name)) for field in self._fields]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(waiting.nbytes for waiting in self._waiting) >= _ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=table.num_rows)
            self._waiting = []

    def close(self) -> list[ChunkFile]:
        """Ends and publishes the file."""
        self._flush()
        self._writer.close()
        self._output.commit()
        return [ChunkFile(name=_NAME, size=self._output.size)]

    def abandon(self) -> None:
        """Removes what was written so far, after a failure."""
        with suppress(AirliftError, OSError, ValueError, pa.ArrowException):
            self._writer.close()  # else it would try to when it is garbage
        self._writer.is_open = False
        self._output.abandon()


class ParquetFormat(OneFileFormat):
    """See the module."""

    name: ClassVar[str] = "parquet"
    file_name: ClassVar[str] = _NAME

    @staticmethod
    def empty_becomes_null(schema: CollectionSchema) -> list[str]:
        """Nullable ARRAY fields: Milvus 2.5.27 and 2.6.20 do so, by what they were recorded to."""
        return [
            field.name
            for field in schema.written
            if field.type is DataType.ARRAY and field.nullable
        ]

    @staticmethod
    def max_chunk_bytes(schema: CollectionSchema) -> int:
        """A file is about as large as its rows."""
        return MAX_FILE_BYTES

    @staticmethod
    def writer(folder: Storage, schema: CollectionSchema, rows: int) -> ParquetWriter:
        """Starts a chunk of any number of rows."""
        return ParquetWriter(folder, schema)

    @staticmethod
    def read(
        folder: Storage, schema: CollectionSchema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Reads a written chunk back."""
        with reading_chunk_file(folder, _NAME), folder.open_input(_NAME) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_rows):
                columns = [_from_file(field, batch.column(field.name)) for field in schema.written]
                yield pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
