"""Changes of a field's type, value by value.

Every change keeps the value exactly, or gives null for a value that does not fit, which
`airlift.transform` tells. Those that round are marked as lossy. The table `RETYPES` is the only
place that knows which changes there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.fixed_width import fixed_bytes
from airlift.json_exact import is_json
from airlift.json_text import canonical_column, lossless_text
from airlift.schema import Field

Convert = Callable[[pa.Array, Field], pa.Array]

WHOLE_NUMBERS: dict[DataType, tuple[int, int]] = {
    DataType.BOOL: (0, 1),
    DataType.INT8: (-(1 << 7), (1 << 7) - 1),
    DataType.INT16: (-(1 << 15), (1 << 15) - 1),
    DataType.INT32: (-(1 << 31), (1 << 31) - 1),
    DataType.INT64: (-(1 << 63), (1 << 63) - 1),
    DataType.FLOAT: (-(1 << 24), 1 << 24),
    DataType.DOUBLE: (-(1 << 53), 1 << 53),
}
"""Between these, a type holds every whole number exactly."""

TEXT_BYTES = {
    DataType.BOOL: 5,
    DataType.INT8: 4,
    DataType.INT16: 6,
    DataType.INT32: 11,
    DataType.INT64: 20,
    DataType.FLOAT: 32,
    DataType.DOUBLE: 32,
}
"""Bytes of a type's longest value as text; of other types the rows must tell."""


@dataclass(frozen=True)
class Retype:
    """A change of type.

    Attributes:
        convert: makes the target field's column of the source's; null where a value does not fit.
        lossy: whether values are rounded.
    """

    convert: Convert
    lossy: bool = False


def _only(fits: pa.Array, column: pa.Array) -> pa.Array:
    """The column with null where a value does not fit."""
    if pc.all(fits).as_py() is not False:
        return column
    return pc.if_else(fits, column, pa.scalar(None, column.type))


def _cast(column: pa.Array, field: Field) -> pa.Array:
    return column.cast(field.arrow.type)


def _within(column: pa.Array, field: Field) -> pa.Array:
    low, high = WHOLE_NUMBERS[field.type]
    fits = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
    return _only(fits, column).cast(field.arrow.type)


def _without_fraction(column: pa.Array, field: Field) -> pa.Array:
    low, high = WHOLE_NUMBERS[field.type]
    wide = column.cast(pa.float64())
    in_range = pc.and_(pc.greater_equal(wide, float(low)), pc.less(wide, float(high + 1)))
    fits = pc.and_(in_range, pc.equal(pc.floor(wide), wide))
    return _only(fits, wide).cast(field.arrow.type)


def _digits(column: pa.Array, field: Field) -> pa.Array:
    """Only texts that the number would become again: no leading zeros, plus signs, or spaces."""
    low, high = WHOLE_NUMBERS[field.type]
    texts = _only(pc.match_substring_regex(column, r"^(0|-?[1-9][0-9]{0,18})$"), column)
    numbers = texts.cast(pa.decimal128(19, 0))
    limits = [pa.scalar(Decimal(limit), numbers.type) for limit in (low, high)]
    fits = pc.and_(pc.greater_equal(numbers, limits[0]), pc.less_equal(numbers, limits[1]))
    return _only(fits, numbers).cast(field.arrow.type)


def _truth(column: pa.Array, field: Field) -> pa.Array:
    known = _only(pc.is_in(column, pa.array(["true", "false"])), column)
    return pc.equal(known, "true")


def _json_text(column: pa.Array, field: Field) -> pa.Array:
    """Canonical texts; JSON that has no such form stays as it was written."""
    texts, reasons = canonical_column(column)
    lost = [row for row in reasons if not is_json(texts[row].as_py())]
    if not lost:
        return texts
    fits = np.ones(len(texts), np.bool_)
    fits[lost] = False
    return _only(pa.array(fits.tolist(), pa.bool_()), texts)


def _json_list(column: pa.Array, field: Field) -> pa.Array:
    """Lists as JSON; null for one with NaN or an infinity, which JSON does not have."""
    texts = [None if items is None else lossless_text(items) for items in column.to_pylist()]
    made = pa.array(texts, field.arrow.type)
    if not pa.types.is_floating(column.type.value_type):
        return made
    odd = pc.invert(pc.is_finite(column.flatten())).fill_null(False)
    fits = np.ones(len(column), np.bool_)
    fits[pc.list_parent_indices(column).filter(odd).to_numpy()] = False
    return _only(pa.array(fits.tolist(), pa.bool_()), made)


def _flat(column: pa.Array, kind: Any) -> npt.NDArray[Any]:
    values = fixed_bytes(column)
    assert values is not None  # noqa: S101 - vectors of these types have a fixed width
    return values.reshape(-1).view(kind)


def _as_floats(flat: npt.NDArray[Any], column: pa.Array, field: Field) -> pa.Array:
    values = pa.Array.from_buffers(pa.float32(), flat.size, [None, pa.py_buffer(flat)])
    mask = column.is_null() if column.null_count else None
    return pa.FixedSizeListArray.from_arrays(values, field.dim, mask=mask)


def _from_int8(column: pa.Array, field: Field) -> pa.Array:
    return _as_floats(_flat(column, np.int8).astype(np.float32), column, field)


def _from_float16(column: pa.Array, field: Field) -> pa.Array:
    return _as_floats(_flat(column, np.float16).astype(np.float32), column, field)


def _from_bfloat16(column: pa.Array, field: Field) -> pa.Array:
    wide = _flat(column, np.uint16).astype(np.uint32) << 16
    return _as_floats(wide.view(np.float32), column, field)


def _as_halves(flat: npt.NDArray[Any], column: pa.Array, field: Field) -> pa.Array:
    kind = field.arrow.type
    made = pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(flat)])
    if not column.null_count:
        return made
    return pc.if_else(column.is_valid(), made, pa.scalar(None, kind))


def _to_float16(column: pa.Array, field: Field) -> pa.Array:
    with np.errstate(over="ignore"):  # an infinity is found as such: see `airlift.bad_rows`
        return _as_halves(_flat(column, np.float32).astype(np.float16), column, field)


def _to_bfloat16(column: pa.Array, field: Field) -> pa.Array:
    """The upper halves of the floats, rounded to the nearest, to an even one where two are near."""
    bits = _flat(column, np.uint32)
    is_nan = np.isnan(bits.view(np.float32))
    with np.errstate(over="ignore"):
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    halves = np.where(is_nan, np.uint32(0x7FC0), rounded).astype(np.uint16)
    return _as_halves(halves, column, field)


_WHOLE = (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)
_FRACTIONS = (DataType.FLOAT, DataType.DOUBLE)
_VECTORS: dict[tuple[DataType, DataType], Retype] = {
    (DataType.INT8_VECTOR, DataType.FLOAT_VECTOR): Retype(_from_int8),
    (DataType.FLOAT16_VECTOR, DataType.FLOAT_VECTOR): Retype(_from_float16),
    (DataType.BFLOAT16_VECTOR, DataType.FLOAT_VECTOR): Retype(_from_bfloat16),
    (DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR): Retype(_to_float16, lossy=True),
    (DataType.FLOAT_VECTOR, DataType.BFLOAT16_VECTOR): Retype(_to_bfloat16, lossy=True),
}

RETYPES: dict[tuple[DataType, DataType], Retype] = {
    **{pair: Retype(_within) for pair in itertools.permutations(_WHOLE, 2)},
    **{pair: Retype(_within) for pair in itertools.product(_WHOLE, _FRACTIONS)},
    **{(kind, DataType.BOOL): Retype(_within) for kind in _WHOLE},
    **{(DataType.BOOL, kind): Retype(_cast) for kind in _WHOLE},
    **{pair: Retype(_without_fraction) for pair in itertools.product(_FRACTIONS, _WHOLE)},
    **{(kind, DataType.VARCHAR): Retype(_cast) for kind in TEXT_BYTES},
    **{(DataType.VARCHAR, kind): Retype(_digits) for kind in _WHOLE},
    (DataType.VARCHAR, DataType.BOOL): Retype(_truth),
    (DataType.JSON, DataType.VARCHAR): Retype(_json_text),
    (DataType.ARRAY, DataType.JSON): Retype(_json_list),
    (DataType.FLOAT, DataType.DOUBLE): Retype(_cast),
    (DataType.DOUBLE, DataType.FLOAT): Retype(_cast, lossy=True),
    **_VECTORS,
}
"""By the type at the source and the type on the target."""
