"""Turns stored vectors into the column of the collection's vector field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.schema import Field
from airlift.sources.faiss.kinds import FLOAT32
from airlift.sources.faiss.layout import Layout
from airlift.sources.faiss.transforms import undo_all

_CARRIED = {
    "bits": DataType.BINARY_VECTOR,
    "float16": DataType.FLOAT16_VECTOR,
    "bfloat16": DataType.BFLOAT16_VECTOR,
}
_UNIT_LENGTH = 1e-4
_UNIT_LENGTH_OF_HALVES = 4e-3


def vector_type(layout: Layout) -> DataType:
    """The type of the vector field. What is transformed back is float32."""
    if layout.codec is None or layout.transforms:
        return DataType.FLOAT_VECTOR
    return _CARRIED.get(layout.codec.name, DataType.FLOAT_VECTOR)


def vector_column(stored: NDArray[Any], layout: Layout, field: Field) -> pa.Array:
    """The column of some stored rows, over their own memory where they can stay as they are."""
    rows = len(stored)
    if field.type is not DataType.FLOAT_VECTOR:
        return pa.Array.from_buffers(field.arrow.type, rows, [None, pa.py_buffer(stored)])
    numbers = _added(stored, layout)
    data = pa.py_buffer(np.ascontiguousarray(numbers))
    values = pa.Array.from_buffers(pa.float32(), numbers.size, [None, data])
    return pa.Array.from_buffers(field.arrow.type, rows, [None], children=[values])


def floats(stored: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    """The stored numbers as float32; every kind of number fits exactly."""
    codec = layout.codec or FLOAT32
    if codec.name == "bfloat16":
        return (stored.view("<u2").astype(np.uint32) << 16).view(np.float32)
    numbers: NDArray[np.float32] = stored.view(codec.element).astype(np.float32, copy=False)
    return numbers - np.float32(128) if codec.name == "int8" else numbers


def _added(stored: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    """The vectors as they were added to the index."""
    numbers = floats(stored, layout)
    return undo_all(layout.transforms, numbers) if layout.transforms else numbers


def must_be_unit_length(stored: NDArray[Any], layout: Layout, ids: NDArray[Any], of: str) -> None:
    """Raises AirliftError when a vector's length is not 1: then cosine orders otherwise."""
    numbers = _added(stored, layout)
    lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers, dtype=np.float64))
    narrow = layout.codec is not None and layout.codec is not FLOAT32
    allowed = _UNIT_LENGTH_OF_HALVES if narrow else _UNIT_LENGTH
    # Written so that NaN is found too.
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= allowed))
    if len(wrong):
        raise AirliftError(
            f"{of}: metric_type COSINE orders results as the index does only when all vectors have "
            f"length 1; the one with the id {ids[wrong[0]]} has {lengths[wrong[0]]:.6g}; use the "
            "index's own metric"
        )
