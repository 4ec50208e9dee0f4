"""Finds rows that Milvus must not be given: it would refuse them, or take them and be wrong."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.fixed_width import fixed_bytes
from airlift.schema import Field


@cache
def _zeros_to(power: int) -> npt.NDArray[np.float32]:
    return np.zeros(1 << power, dtype=np.float32)


def _zeros(size: int) -> npt.NDArray[np.float32]:
    """Kept for the next batch, in powers of two: batches differ in length, by their dead rows."""
    return _zeros_to(size.bit_length())[:size]


def _not_finite(field: Field, column: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Marks the rows with NaN or an infinity; None when there is none."""
    values = fixed_bytes(column)
    assert values is not None  # noqa: S101 - float vectors are fixed-size lists
    flat: npt.NDArray[np.float32] = values.reshape(-1).view(np.float32)
    # 0 * x is 0 unless x is NaN or infinite: one pass at memory speed, no temporary array.
    with np.errstate(invalid="ignore"):
        if np.isfinite(np.dot(flat, _zeros(len(flat)))):
            return None
    finite = np.isfinite(flat).reshape(len(column), field.dim)
    bad: npt.NDArray[np.bool_] = np.logical_not(finite.all(axis=1))
    return bad


def _too_long(field: Field, column: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Marks VARCHAR values of more than max_length bytes; Milvus' import takes them silently."""
    long = pc.greater(pc.binary_length(column), field.max_length).fill_null(False)
    marks: npt.NDArray[np.bool_] = long.to_numpy(zero_copy_only=False)
    return marks if marks.any() else None


_CHECKS = {
    DataType.FLOAT_VECTOR: (_not_finite, "a vector holds NaN or an infinity"),
    DataType.VARCHAR: (_too_long, "the text is longer than max_length bytes"),
}


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
        if field.type not in _CHECKS:
            continue
        check, reason = _CHECKS[field.type]
        found = check(field, batch.column(field.name))
        if found is not None:
            marks |= found
            for row in np.flatnonzero(found):
                reasons.setdefault(int(row), f"field {field.name!r}: {reason}")
    if not reasons:
        return None
    return marks, [reasons[row] for row in sorted(reasons)]
