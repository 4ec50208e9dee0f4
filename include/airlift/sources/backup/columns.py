"""Columns of a log file's Parquet as columns of a collection's fields.

How Milvus stores each type: `internal/storage/serde.go`. Vectors of fixed width, nulls or not, come
without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.json_text import stored_texts
from airlift.milvus.scalar_slots import SCALAR_SLOTS
from airlift.schema import Field

_NO_VALUES = "{}"
_FINITE = np.uint32(0x7F800000)


def to_column(field: Field, stored: pa.Array) -> pa.Array:
    """The values of a field.

    Raises:
        ValueError: they are not stored as that type is.
        pa.ArrowException: they can't be read.
    """
    return _READERS.get(field.type, _as_it_is)(field, stored)


def absent(field: Field, rows: int) -> pa.Array:
    """What a field is that was added after the rows were written: its default value, or null."""
    if field.is_dynamic:
        return pa.repeat(pa.scalar(_NO_VALUES, field.arrow.type), rows)
    return with_default(field, pa.nulls(rows, field.arrow.type))


def with_default(field: Field, column: pa.Array) -> pa.Array:
    """The column with the field's default value for null, as Milvus itself reads it."""
    if field.default is None or not column.null_count:
        return column
    return pc.fill_null(column, pa.scalar(field.default, column.type))


def _as_it_is(field: Field, stored: pa.Array) -> pa.Array:
    if stored.type != field.arrow.type:
        raise _unlike(field, stored)
    return with_default(field, stored)


def _unlike(field: Field, stored: pa.Array) -> ValueError:
    return ValueError(f"values of a {field.type} field are stored as {stored.type}")


def _text(field: Field, stored: pa.Array) -> pa.Array:
    if not (pa.types.is_string(stored.type) or pa.types.is_large_string(stored.type)):
        raise _unlike(field, stored)
    # A Parquet file may say that bytes are text; nobody has looked.
    stored.validate(full=True)
    return with_default(field, stored.cast(pa.string()))


def _json(field: Field, stored: pa.Array) -> pa.Array:
    if not (pa.types.is_binary(stored.type) or pa.types.is_string(stored.type)):
        raise _unlike(field, stored)
    column = stored_texts(stored)
    return column.fill_null(_NO_VALUES) if field.is_dynamic else column


def _array(field: Field, stored: pa.Array) -> pa.Array:
    if not pa.types.is_binary(stored.type) or not field.element_type:
        raise _unlike(field, stored)
    from google.protobuf.message import DecodeError
    from pymilvus.grpc_gen.schema_pb2 import ScalarField

    slot = SCALAR_SLOTS[field.element_type]
    items: list[list[Any] | None] = []
    for row, data in enumerate(stored.to_pylist()):
        if data is None:
            items.append(None)
            continue
        try:
            value = ScalarField.FromString(data)
        except DecodeError as error:
            raise ValueError(f"row {row} of them is no array: {error}") from error
        kind = value.WhichOneof("data")
        if kind not in (slot, None):
            raise ValueError(f"row {row} of them is an array of {kind}, expected {slot}")
        items.append(list(getattr(value, slot).data))
    return pa.array(items, field.arrow.type)


def _vector(field: Field, stored: pa.Array) -> pa.Array:
    """Vectors of fixed width; those that may be null come as bytes of any length."""
    width = field.model_copy(update={"nullable": False}).width or 0
    fixed = pa.binary(width)
    if pa.types.is_binary(stored.type) or pa.types.is_large_binary(stored.type):
        lengths = pc.unique(pc.binary_length(stored.drop_null())).to_pylist()
        if lengths not in ([], [width]):
            raise ValueError(f"vectors have {lengths[:5]} bytes, expected {width}")
        stored = stored.cast(fixed)
    if stored.type != fixed:
        raise ValueError(f"{field.type} of {field.dim} dimensions is stored as {stored.type}")
    kind = field.arrow.type
    if pa.types.is_fixed_size_binary(kind):
        return stored
    data = stored.buffers()[1]
    if data is None:
        return pa.nulls(len(stored), kind)
    size = kind.list_size
    values = pa.Array.from_buffers(
        kind.value_type,
        len(stored) * size,
        [None, data.slice(stored.offset * width, len(stored) * width)],
    )
    mask = stored.is_null() if stored.null_count else None
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)


def _sparse(field: Field, stored: pa.Array) -> pa.Array:
    if not pa.types.is_binary(stored.type):
        raise _unlike(field, stored)
    for row, data in enumerate(stored.to_pylist()):
        if data is None:
            continue
        if len(data) % 8:
            raise ValueError(f"row {row} of them is a sparse vector of {len(data)} bytes")
        pairs = np.frombuffer(data, "<u4").reshape(-1, 2)
        if (pairs[1:, 0] <= pairs[:-1, 0]).any():
            raise ValueError(f"row {row} of them is a sparse vector whose indices don't rise")
        if (pairs[:, 1] & _FINITE == _FINITE).any():
            raise ValueError(f"row {row} of them is a sparse vector with NaN or an infinity")
    return stored


_READERS: dict[DataType, Callable[[Field, Any], pa.Array]] = {
    DataType.VARCHAR: _text,
    DataType.JSON: _json,
    DataType.ARRAY: _array,
    DataType.FLOAT_VECTOR: _vector,
    DataType.FLOAT16_VECTOR: _vector,
    DataType.BFLOAT16_VECTOR: _vector,
    DataType.INT8_VECTOR: _vector,
    DataType.BINARY_VECTOR: _vector,
    DataType.SPARSE_FLOAT_VECTOR: _sparse,
}
