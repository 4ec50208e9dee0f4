"""Finds rows that Milvus must not be given: it would refuse them, or take them and be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.fixed_width import fixed_bytes
from airlift.schema import Field

# Milvus' limits; see https://milvus.io/docs/limitations.md
MAX_TEXT_BYTES = 65_535
MAX_JSON_BYTES = 65_536
MAX_CAPACITY = 4096

Marks = npt.NDArray[np.bool_]
Check = Callable[[Field, pa.Array], Marks | None]


@cache
def _zeros_to(power: int) -> npt.NDArray[np.float32]:
    return np.zeros(1 << power, dtype=np.float32)


def _zeros(size: int) -> npt.NDArray[np.float32]:
    """Kept for the next batch, in powers of two: batches differ in length, by their dead rows."""
    return _zeros_to(size.bit_length())[:size]


def _not_finite(field: Field, column: pa.Array) -> Marks | None:
    """Marks the vectors with NaN or an infinity; None when there is none."""
    values = fixed_bytes(column)
    assert values is not None  # noqa: S101 - these vectors have a fixed width
    flat: npt.NDArray[Any] = values.reshape(-1).view(_FLOATS[field.type])
    # 0 * x is 0 unless x is NaN or infinite: one pass at memory speed, no temporary array.
    with np.errstate(invalid="ignore"):
        if flat.dtype == np.float32 and np.isfinite(np.dot(flat, _zeros(len(flat)))):
            return None
    is_bfloat16 = field.type is DataType.BFLOAT16_VECTOR
    finite = flat & 0x7F80 != 0x7F80 if is_bfloat16 else np.isfinite(flat)
    bad: Marks = np.logical_not(finite.reshape(len(column), field.dim).all(axis=1))
    return bad


_FLOATS = {
    DataType.FLOAT_VECTOR: np.float32,
    DataType.FLOAT16_VECTOR: np.float16,
    DataType.BFLOAT16_VECTOR: np.uint16,
}


def _marks(column: pa.Array) -> Marks | None:
    """A column of booleans as an array; None when none is true."""
    if not pc.any(column).as_py():
        return None
    marks: Marks = column.fill_null(False).to_numpy(zero_copy_only=False)
    return marks


def _not_a_number(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.invert(pc.is_finite(column)))


def _too_long(field: Field, column: pa.Array) -> Marks | None:
    """Marks VARCHAR values of more than max_length bytes; Milvus' import takes them silently."""
    return _marks(pc.greater(pc.binary_length(column), field.max_length or MAX_TEXT_BYTES))


def _json_too_long(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.greater(pc.binary_length(column), MAX_JSON_BYTES))


def _too_many(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.greater(pc.list_value_length(column), field.max_capacity or MAX_CAPACITY))


def _bad_item(field: Field, column: pa.Array) -> Marks | None:
    """Marks arrays with an item that is null, not finite, or too long a text."""
    items = column.flatten()
    bad = items.is_null()
    if field.element_type is DataType.VARCHAR:
        long = pc.greater(pc.binary_length(items), field.max_length or MAX_TEXT_BYTES)
        bad = pc.or_kleene(bad, long)
    if field.element_type in (DataType.FLOAT, DataType.DOUBLE):
        bad = pc.or_kleene(bad, pc.invert(pc.is_finite(items)))
    if not pc.any(bad).as_py():
        return None
    rows = pc.list_parent_indices(column).filter(bad)
    marks = np.zeros(len(column), dtype=np.bool_)
    marks[rows.to_numpy()] = True
    return marks


_FINITE = (_not_finite, "a vector holds NaN or an infinity")
_NUMBER = (_not_a_number, "the number is NaN or infinite")
_CHECKS: dict[DataType, tuple[tuple[Check, str], ...]] = {
    DataType.FLOAT_VECTOR: (_FINITE,),
    DataType.FLOAT16_VECTOR: (_FINITE,),
    DataType.BFLOAT16_VECTOR: (_FINITE,),
    DataType.FLOAT: (_NUMBER,),
    DataType.DOUBLE: (_NUMBER,),
    DataType.VARCHAR: ((_too_long, "the text is longer than max_length bytes"),),
    DataType.JSON: ((_json_too_long, f"the JSON is longer than {MAX_JSON_BYTES:,} bytes"),),
    DataType.ARRAY: (
        (_too_many, "the array has more than max_capacity items"),
        (_bad_item, "an item of the array is null, not finite, or longer than max_length bytes"),
    ),
}


def _checked(field: Field, check: Check, column: pa.Array) -> Marks | None:
    """Applies a check to the rows that have a value."""
    if not column.null_count:
        return check(field, column)
    found = check(field, column.drop_null())
    if found is None:
        return None
    marks = np.zeros(len(column), dtype=np.bool_)
    marks[column.is_valid().to_numpy(zero_copy_only=False)] = found
    return marks


def _findings(field: Field, column: pa.Array) -> Iterator[tuple[Marks, str]]:
    """The marks of each thing that is wrong with a column, and its name."""
    if column.null_count and not field.nullable:
        yield column.is_null().to_numpy(zero_copy_only=False), "there is no value"
    for check, reason in _CHECKS.get(field.type, ()):
        found = _checked(field, check, column)
        if found is not None:
            yield found, reason


def find_bad_rows(
    batch: pa.RecordBatch, fields: tuple[Field, ...]
) -> tuple[npt.NDArray[np.bool_], list[str]] | None:
    """Marks a batch's bad rows.

    Args:
        batch: rows with the columns that `fields` describe.
        fields: the target's fields.

    Returns:
        None when all rows are good; else a mask over the rows, and the reason of each bad row.
    """
    if batch.num_rows == 0:
        return None
    marks = np.zeros(batch.num_rows, dtype=np.bool_)
    reasons: dict[int, str] = {}
    for field in fields:
        for found, reason in _findings(field, batch.column(field.name)):
            marks |= found
            for row in np.flatnonzero(found):
                reasons.setdefault(int(row), f"field {field.name!r}: {reason}")
    if not reasons:
        return None
    return marks, [reasons[row] for row in sorted(reasons)]
