"""Chunks as one JSON file of rows, `{"rows": [{...}, ...]}`, for fields of any type.

It is the one format whose import keeps an empty list in a nullable ARRAY; the price is a file of
two to four times the size, and a slower import. See https://milvus.io/docs/v2.3.x/bulk_insert.md.

What Milvus' readers make of a value (2.3, 2.5 and 2.6 alike) decides how it is written:

- A float vector's and a FLOAT's text is parsed as a float32: the shortest text of the float32 will
  do. A sparse vector's values are parsed as float64 and then rounded, so theirs is the text of the
  float64 that has the same value.
- A JSON field is a string that holds the text: the server keeps its bytes. As a JSON object it
  would be parsed and written again, and a value that is no object would be refused.
- `$meta` is a JSON object: a string would be parsed with every number as a float64.
- A binary vector is a list of bytes, a half-precision one a list of numbers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from airlift.chunk import ChunkFile
from airlift.damaged_files import reading_chunk_file
from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.fixed_width import bool_array, fixed_bytes
from airlift.formats.base import MAX_FILE_BYTES, OneFileFormat
from airlift.formats.write_behind import WriteBehind
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field
from airlift.sparse_vectors import Pairs, column_of, pairs_of
from airlift.storage import Storage

_NAME = "data.json"
_HEAD, _BETWEEN, _TAIL = b'{"rows":[\n', b",\n", b"\n]}\n"
_META_KEY = f',"{DYNAMIC_FIELD}":'.encode()
"""Only a key reads so: within a text the quotation marks would be escaped."""

_PIECE_BYTES = 512 << 10
"""Bytes of rows that become text at a time."""

_BLOCK_BYTES = 4 << 20
"""Bytes of text that are read at a time."""

_GROWTH = 8
"""Bytes of text that a byte of a value becomes at most: two bytes of half precision are such as
`-0.00012207031,`."""

Numbers = npt.NDArray[Any]


def _same(numbers: Numbers) -> Numbers:
    return numbers


@dataclass(frozen=True)
class _Elements:
    """A vector's elements.

    Attributes:
        kind: the dtype of its bytes.
        in_file: the dtype of the numbers in the file.
        to_file, from_file: turn the one into the other, without rounding.
    """

    kind: str
    in_file: str
    to_file: Callable[[Numbers], Numbers] = _same
    from_file: Callable[[Numbers], Numbers] = _same


_ELEMENTS = {
    DataType.FLOAT_VECTOR: _Elements("<f4", "<f4"),
    DataType.FLOAT16_VECTOR: _Elements(
        "<f2",
        "<f4",
        lambda halves: halves.astype(np.float32),
        lambda floats: floats.astype(np.float16),
    ),
    DataType.BFLOAT16_VECTOR: _Elements(
        "<u2",
        "<f4",
        lambda halves: (halves.astype(np.uint32) << 16).view(np.float32),
        lambda floats: (floats.view(np.uint32) >> 16).astype(np.uint16),
    ),
    DataType.INT8_VECTOR: _Elements("|i1", "|i1"),
    DataType.BINARY_VECTOR: _Elements("|u1", "|u1"),
}


def _numbers(column: pa.Array, kind: Any) -> Numbers:
    """All numbers of a column of fixed width, one after the other."""
    flat = fixed_bytes(column)
    assert flat is not None  # noqa: S101 - it has a fixed width
    return flat.reshape(-1).view(kind)


def _vectors(field: Field, column: pa.Array) -> list[Any]:
    elements = _ELEMENTS[field.type]
    # `orjson` takes arrays as they lie in memory, so they must be aligned.
    numbers = np.require(elements.to_file(_numbers(column, elements.kind)), requirements=["C", "A"])
    vectors = list(numbers.reshape(len(column), -1))
    if column.null_count:
        there = column.is_valid().to_pylist()
        return [one if valid else None for one, valid in zip(vectors, there, strict=True)]
    return vectors


def _sparse(field: Field, column: pa.Array) -> list[Any]:
    pairs = pairs_of(column)
    ends = np.cumsum(pairs.counts).tolist()
    values = pairs.values.astype(np.float64)
    rows: list[Any] = []
    for start, end in zip([0, *ends], ends, strict=False):
        two = {"indices": pairs.indices[start:end], "values": values[start:end]}
        rows.append(two if end > start else {})
    if column.null_count:
        there = column.is_valid().to_pylist()
        return [row if valid else None for row, valid in zip(rows, there, strict=True)]
    return rows


def _values(field: Field, column: pa.Array) -> list[Any]:
    """A column's values as `orjson` takes them."""
    if field.type in _ELEMENTS:
        return _vectors(field, column)
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return _sparse(field, column)
    values: list[Any] = column.to_pylist()
    if field.is_dynamic:
        # A line is a row: a line break, which can only stand between two tokens, becomes a blank.
        return [orjson.Fragment(text.replace("\n", " ")) for text in values]
    return values


def _in_file_order(schema: CollectionSchema) -> list[Field]:
    """The written fields, the dynamic one last."""
    return sorted(schema.written, key=lambda field: field.is_dynamic)


class JsonWriter:
    """Writes the JSON file of one chunk, a row a line."""

    def __init__(self, folder: Storage, schema: CollectionSchema) -> None:
        self._fields = _in_file_order(schema)
        self._names = [field.name for field in self._fields]
        self._writer = WriteBehind([folder.open_output(_NAME)])
        self._separator = _HEAD

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        if batch.num_rows == 0:
            return
        step = max(1, batch.num_rows * _PIECE_BYTES // max(batch.nbytes, 1))
        for start in range(0, batch.num_rows, step):
            text = self._separator + self._text(batch.slice(start, step))
            self._writer.write(0, memoryview(text))
            self._separator = _BETWEEN

    def _text(self, rows: pa.RecordBatch) -> bytes:
        columns = [_values(field, rows.column(field.name)) for field in self._fields]
        return _BETWEEN.join(
            [
                orjson.dumps(
                    dict(zip(self._names, row, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY
                )
                for row in zip(*columns, strict=True)
            ]
        )

    def close(self) -> list[ChunkFile]:
        """Ends and publishes the file."""
        tail = _TAIL if self._separator == _BETWEEN else _HEAD + _TAIL.lstrip()
        self._writer.write(0, memoryview(tail))
        [size] = self._writer.commit()
        return [ChunkFile(name=_NAME, size=size)]

    def abandon(self) -> None:
        """Removes what was written so far, after a failure."""
        self._writer.abandon()


class JsonFormat(OneFileFormat):
    """See the module."""

    name: ClassVar[str] = "json"
    file_name: ClassVar[str] = _NAME

    @staticmethod
    def empty_becomes_null(schema: CollectionSchema) -> list[str]:
        """None: an empty list stays one."""
        return []

    @staticmethod
    def max_chunk_bytes(schema: CollectionSchema) -> int:
        """Bytes of rows, so that the text stays within a file's limit."""
        names = sum(len(field.name) + len('"":,') for field in schema.written)
        return MAX_FILE_BYTES * schema.row_bytes // (_GROWTH * schema.row_bytes + names)

    @staticmethod
    def writer(folder: Storage, schema: CollectionSchema, rows: int) -> JsonWriter:
        """Starts a chunk of any number of rows."""
        return JsonWriter(folder, schema)

    @staticmethod
    def read(
        folder: Storage, schema: CollectionSchema, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Reads a written chunk back."""
        with reading_chunk_file(folder, _NAME), folder.open_input(_NAME) as stream:
            waiting: list[pa.RecordBatch] = []
            for lines in _blocks(stream, f"{folder.url}/{_NAME}"):
                waiting.append(_rows(lines, schema))
                if sum(rows.num_rows for rows in waiting) >= batch_rows:
                    whole = pa.concat_batches(waiting)
                    last = whole.num_rows - whole.num_rows % batch_rows
                    for start in range(0, last, batch_rows):
                        yield whole.slice(start, batch_rows)
                    waiting = [whole.slice(last)] if last < whole.num_rows else []
            if waiting:
                yield pa.concat_batches(waiting)


def _blocks(stream: Any, address: str) -> Iterator[list[bytes]]:
    """The rows' lines, without what stands between them, some megabytes at a time.

    Raises:
        AirliftError: the file is not whole.
    """
    rest = stream.read(len(_HEAD))
    if rest != _HEAD:
        raise AirliftError(f"{address} does not begin as a chunk does")
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if lines and lines[-1] == b"]}":
            lines.pop()
            if lines:
                yield [line.removesuffix(b",") for line in lines]
            return
        if lines:
            yield [line.removesuffix(b",") for line in lines]
    raise AirliftError(f"{address} ends too early")


def _file_type(field: Field) -> pa.DataType:
    """The Arrow type that a field's values in the file are parsed as."""
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        indices, values = pa.list_(pa.uint32()), pa.list_(pa.float64())
        return pa.struct([("indices", indices), ("values", values)])
    if field.type in _ELEMENTS:
        return pa.list_(pa.from_numpy_dtype(_ELEMENTS[field.type].in_file))
    return field.arrow.type


def _rows(lines: list[bytes], schema: CollectionSchema) -> pa.RecordBatch:
    """Lines as a record batch. `$meta` stays the text that it is."""
    fields = _in_file_order(schema)
    metas: list[str] = []
    if fields[-1].is_dynamic:
        parts = [line.partition(_META_KEY) for line in lines]
        lines = [before + b"}" for before, _, _ in parts]
        metas = [meta[:-1].decode() for _, _, meta in parts]
    text = b"\n".join(lines)
    kinds = [(field.name, _file_type(field)) for field in fields if not field.is_dynamic]
    table = pyarrow.json.read_json(
        io.BytesIO(text),
        pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        pyarrow.json.ParseOptions(
            explicit_schema=pa.schema(kinds), unexpected_field_behavior="error"
        ),
    ).combine_chunks()
    columns = [
        pa.array(metas, pa.string())
        if field.is_dynamic
        else _from_file(field, table.column(field.name).chunk(0))
        for field in schema.written
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


def _from_file(field: Field, column: pa.Array) -> pa.Array:
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return _sparse_from_file(column)
    if field.type not in _ELEMENTS:
        return column
    kind = field.arrow.type
    elements = _ELEMENTS[field.type]
    numbers = _numbers(column.flatten(), elements.in_file)  # without the nulls
    data = pa.py_buffer(elements.from_file(numbers).tobytes())
    rows = len(column) - column.null_count
    if pa.types.is_fixed_size_list(kind):
        values = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, [None, data])
        vectors = pa.FixedSizeListArray.from_arrays(values, kind.list_size)
    else:
        vectors = pa.Array.from_buffers(kind, rows, [None, data])
    if not column.null_count:
        return vectors
    valid = bool_array(column.is_valid())
    return vectors.take(pa.array(np.cumsum(valid) - 1, mask=~valid))


def _sparse_from_file(column: pa.Array) -> pa.Array:
    indices, values = column.field("indices"), column.field("values")
    counts = pc.fill_null(pc.list_value_length(indices), 0)
    pairs = Pairs(
        _numbers(indices.flatten(), np.uint32),
        _numbers(values.flatten(), np.float64).astype(np.float32),
        _numbers(counts, np.int32).astype(np.int64),
    )
    valid = bool_array(column.is_valid()) if column.null_count else None
    return column_of(pairs, valid)
