"""Arrow columns of fixed width as plain bytes.

`Array.to_numpy` and `pa.array` would do, but they import pandas, which costs every task a second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def fixed_bytes(column: pa.Array) -> npt.NDArray[np.uint8] | None:
    """A column's values as a (rows, bytes a value) array, not copied where Arrow holds them so.

    Args:
        column: booleans become one byte each; what stands for a null is undefined.

    Returns:
        The bytes, or None where values differ in length.
    """
    rows = len(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        column = column.values.slice(column.offset * size, rows * size)  # flatten() skips nulls
    elif not pa.types.is_primitive(column.type) and not pa.types.is_fixed_size_binary(column.type):
        return None
    width = column.type.bit_width // 8
    size = len(column) * width
    buffer = column.buffers()[1]
    if buffer is None or not size:
        return np.empty((rows, 0 if not rows else size // rows), dtype=np.uint8)
    raw = np.frombuffer(buffer, dtype=np.uint8, count=size, offset=column.offset * width)
    return raw.reshape(rows, -1)


def bool_array(column: pa.Array) -> npt.NDArray[np.bool_]:
    """A column of booleans as an array; what stands for a null is undefined."""
    values = fixed_bytes(column)
    assert values is not None  # noqa: S101 - a boolean has a fixed width
    return values.reshape(-1).view(np.bool_)


def int64_array(values: npt.NDArray[np.int64]) -> pa.Array:
    """Numbers as an Arrow array over the same memory."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
