"""Python lists as Arrow arrays, without `pa.array`: that imports pandas, a second in every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def arrow_list(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values, None for null, as an array.

    Raises:
        OverflowError: a number is out of the type's range.
        UnicodeEncodeError: a text is no valid Unicode.
        TypeError: a value is of another type.
    """
    if pa.types.is_string(kind):
        builder = pa.lib.StringBuilder()
        builder.append_values(values)
        return builder.finish()
    present = np.ones(len(values), np.bool_)
    if None in values:
        present = np.fromiter((value is not None for value in values), np.bool_, len(values))
    if pa.types.is_list(kind) or pa.types.is_binary(kind):
        return _nested(values, present, kind)
    filled = values if present.all() else [0 if value is None else value for value in values]
    if pa.types.is_boolean(kind):
        bits = np.array(filled, np.bool_)
        return with_nulls(kind, np.packbits(bits, bitorder="little").tobytes(), present)
    dtype = np.dtype({"float": "f4", "double": "f8"}.get(str(kind), str(kind)))
    with np.errstate(over="ignore"):  # the caller looks for infinities
        return with_nulls(kind, np.array(filled, dtype).tobytes(), present)


def with_nulls(
    kind: pa.DataType, data: bytes | npt.NDArray[Any], present: npt.NDArray[np.bool_]
) -> pa.Array:
    """An array of values of fixed width over their bytes, null where not present."""
    rows = len(present)
    validity = None if present.all() else mask_buffer(present)
    buffer = pa.py_buffer(data)
    if pa.types.is_fixed_size_list(kind):
        items = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, [None, buffer])
        return pa.Array.from_buffers(kind, rows, [validity], children=[items])
    return pa.Array.from_buffers(kind, rows, [validity, buffer])


def mask_buffer(mask: npt.NDArray[np.bool_]) -> pa.Buffer:
    """A mask as Arrow's bits."""
    return pa.py_buffer(np.packbits(mask, bitorder="little").tobytes())


def mask_array(mask: npt.NDArray[np.bool_]) -> pa.Array:
    """A mask as an Arrow array, to filter by."""
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, mask_buffer(mask)])


def _nested(values: Sequence[Any], present: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Lists of items, or bytes: what they hold in one piece, and where each begins."""
    filled = [() if value is None else value for value in values]
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in filled], out=ends[1:])
    validity = None if present.all() else mask_buffer(present)
    buffers = [validity, pa.py_buffer(ends.tobytes())]
    if pa.types.is_binary(kind):
        data = b"".join(map(bytes, filled))
        return pa.Array.from_buffers(kind, len(values), [*buffers, pa.py_buffer(data)])
    items = arrow_list([item for value in filled for item in value], kind.value_type)
    return pa.Array.from_buffers(kind, len(values), buffers, children=[items])
