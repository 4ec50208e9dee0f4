"""Finds rows that Milvus must not be given: it would refuse them, or take them and be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import DataType
from airlift.fixed_width import fixed_bytes
from airlift.schema import Field
from airlift.sparse_vectors import PAIR_BYTES, Pairs, pairs_of

# Milvus' limits; see https://milvus.io/docs/limitations.md
MAX_TEXT_BYTES = 65_535
MAX_JSON_BYTES = 65_536
MAX_CAPACITY = 4096
MAX_SPARSE_INDEX = (1 << 32) - 2

# Keys of a JSON object that a message names.
_SHOWN = 3

Marks = npt.NDArray[np.bool_]
Check = Callable[[Field, pa.Array], Marks | None]
Reason = str | Callable[[Field, pa.Scalar], str]
"""Why a marked row is bad: what was expected, and what was found in the row's value."""


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


def _null_inside(field: Field, column: pa.Array) -> Marks | None:
    """Marks the vectors with a null among their numbers, in whose place would stand anything."""
    size = column.type.list_size
    items = column.values.slice(column.offset * size, len(column) * size)
    if not items.null_count:
        return None
    valid = np.array(items.is_valid().to_pylist(), np.bool_)
    bad: Marks = np.logical_not(valid.reshape(len(column), size).all(axis=1))
    return bad


def _marks(column: pa.Array) -> Marks | None:
    """A column of booleans as an array; None when none is true."""
    if not pc.any(column).as_py():
        return None
    marks: Marks = column.fill_null(False).to_numpy(zero_copy_only=False)
    return marks


def _not_a_number(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.invert(pc.is_finite(column)))


def text_limit(field: Field) -> int:
    """Bytes that a text of the field may have."""
    return field.max_length or MAX_TEXT_BYTES


def _max_capacity(field: Field) -> int:
    return field.max_capacity or MAX_CAPACITY


def _too_long(field: Field, column: pa.Array) -> Marks | None:
    """Marks VARCHAR values of more than max_length bytes; Milvus' import takes them silently."""
    return _marks(pc.greater(pc.binary_length(column), text_limit(field)))


def _why_too_long(field: Field, value: pa.Scalar) -> str:
    found = len(value.as_buffer())
    return f"the text has {found:,} bytes, more than max_length ({text_limit(field):,})"


def _json_too_long(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.greater(pc.binary_length(column), MAX_JSON_BYTES))


def _why_json_too_long(field: Field, value: pa.Scalar) -> str:
    """Names the largest keys: in the dynamic field they are fields of the source."""
    text = value.as_buffer().to_pybytes()
    reason = f"the JSON has {len(text):,} bytes, more than {MAX_JSON_BYTES:,}"
    if sizes := _bytes_of_keys(text):
        largest = sorted(sizes, key=lambda key: -sizes[key])[:_SHOWN]
        reason += f"; its longest keys: {', '.join(f'{key!r} ({sizes[key]:,})' for key in largest)}"
    return f"{reason}; leave keys out, or make fields of them (mapping)"


def _bytes_of_keys(text: bytes) -> dict[str, int]:
    """The bytes of each key's value in a JSON object; empty for what is none."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return (
        {key: len(orjson.dumps(part)) for key, part in value.items()}
        if isinstance(value, dict)
        else {}
    )


def _too_many(field: Field, column: pa.Array) -> Marks | None:
    return _marks(pc.greater(pc.list_value_length(column), _max_capacity(field)))


def _why_too_many(field: Field, value: pa.Scalar) -> str:
    reason = f"the array has {len(value):,} items, more than max_capacity"
    return f"{reason} ({_max_capacity(field):,}); as JSON (type in mapping) it may have more"


def _items_that(are_bad: Callable[[Field, pa.Array], pa.Array]) -> Check:
    """The check that marks the arrays with such items; `are_bad` marks the items."""

    def check(field: Field, column: pa.Array) -> Marks | None:
        bad = are_bad(field, column.flatten())
        if not pc.any(bad).as_py():
            return None
        rows = pc.list_parent_indices(column).filter(bad)
        marks = np.zeros(len(column), dtype=np.bool_)
        marks[rows.to_numpy()] = True
        return marks

    return check


def _long_items(field: Field, items: pa.Array) -> pa.Array:
    return pc.greater(pc.binary_length(items), text_limit(field))


def _longest_item(items: pa.Scalar) -> int:
    longest: int = pc.max(pc.binary_length(items.values)).as_py()
    return longest


def _items_not_finite(field: Field, items: pa.Array) -> pa.Array:
    return pc.invert(pc.is_finite(items))


def _broken_pairs(field: Field, column: pa.Array) -> Marks | None:
    rest = pc.bit_wise_and(pc.binary_length(column), PAIR_BYTES - 1)
    return _marks(pc.not_equal(rest, 0))


def _pairs_that(are_bad: Callable[[Pairs], Marks]) -> Check:
    """The check that marks the sparse vectors with such pairs; `are_bad` marks the pairs."""

    def check(field: Field, column: pa.Array) -> Marks | None:
        broken = _broken_pairs(field, column)
        if broken is not None:  # that is another check's business
            column = pc.if_else(pa.array(broken), b"", column)
        pairs = pairs_of(column)
        bad = are_bad(pairs)
        if not bad.any():
            return None
        marks = np.zeros(len(column), dtype=np.bool_)
        marks[np.repeat(np.arange(len(column)), pairs.counts)[bad]] = True
        return marks

    return check


def _not_rising(pairs: Pairs) -> Marks:
    """Marks the pairs whose index is not larger than that of the pair before, in the same row."""
    bad = np.zeros(len(pairs.indices), dtype=np.bool_)
    bad[1:] = pairs.indices[1:] <= pairs.indices[:-1]
    firsts = (np.cumsum(pairs.counts) - pairs.counts)[pairs.counts > 0]
    bad[firsts] = False
    return bad


_too_long_items = _items_that(_long_items)
_LONG_TEXTS = (_too_long, _too_long_items)
_FINITE = (_not_finite, "a vector holds NaN or an infinity")
_WHOLE = (_null_inside, "a vector holds a null")
_NUMBER: tuple[Check, Reason] = (
    _not_a_number,
    lambda field, _: f"the number is NaN or infinite (or too large for {field.type})",
)
_TEXT: tuple[Check, Reason] = (_too_long, _why_too_long)
_JSON: tuple[Check, Reason] = (_json_too_long, _why_json_too_long)
_CHECKS: dict[DataType, tuple[tuple[Check, Reason], ...]] = {
    DataType.FLOAT_VECTOR: (_WHOLE, _FINITE),
    DataType.FLOAT16_VECTOR: (_FINITE,),
    DataType.BFLOAT16_VECTOR: (_FINITE,),
    DataType.INT8_VECTOR: (_WHOLE,),
    DataType.SPARSE_FLOAT_VECTOR: (
        (_broken_pairs, "a sparse vector is expected to be pairs of index and value, 8 bytes each"),
        (
            _pairs_that(lambda pairs: ~np.isfinite(pairs.values)),
            "a sparse vector holds NaN or an infinity",
        ),
        (
            _pairs_that(lambda pairs: pairs.values < 0),
            "a sparse vector holds a negative value, which Milvus does not take",
        ),
        (
            _pairs_that(lambda pairs: pairs.indices > MAX_SPARSE_INDEX),
            f"a sparse vector's index is above {MAX_SPARSE_INDEX:,}, the largest that Milvus takes",
        ),
        (
            _pairs_that(_not_rising),
            "a sparse vector's indices are expected to rise; they are unsorted, or one comes twice",
        ),
    ),
    DataType.FLOAT: (_NUMBER,),
    DataType.DOUBLE: (_NUMBER,),
    DataType.VARCHAR: (_TEXT,),
    DataType.JSON: (_JSON,),
    DataType.ARRAY: (
        (_too_many, _why_too_many),
        (_items_that(lambda field, items: items.is_null()), "an item of the array is null"),
    ),
}
_ITEM_CHECKS: dict[DataType, tuple[Check, Reason]] = {
    **dict.fromkeys(
        (DataType.FLOAT, DataType.DOUBLE),
        (_items_that(_items_not_finite), "an item of the array is NaN or infinite"),
    ),
    DataType.VARCHAR: (
        _too_long_items,
        lambda field, items: (
            f"an item of the array has {_longest_item(items):,} bytes, more than max_length "
            f"({text_limit(field):,})"
        ),
    ),
}
"""By the type of an array's items."""


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


def _findings(
    field: Field, column: pa.Array, with_long_texts: bool
) -> Iterator[tuple[Marks, Reason]]:
    """The marks of each thing that is wrong with a column, and its name."""
    if column.null_count and not field.nullable:
        yield column.is_null().to_numpy(zero_copy_only=False), "there is no value"
    elif column.null_count and field.default is not None:
        reason = "there is no value, and Milvus would put the field's default in its place"
        yield column.is_null().to_numpy(zero_copy_only=False), reason
    checks = list(_CHECKS.get(field.type, ()))
    if field.element_type in _ITEM_CHECKS:
        checks.append(_ITEM_CHECKS[field.element_type])
    for check, why in checks:
        if check in _LONG_TEXTS and not with_long_texts:
            continue
        found = _checked(field, check, column)
        if found is not None:
            yield found, why


def find_bad_rows(
    batch: pa.RecordBatch, fields: tuple[Field, ...], with_long_texts: bool = True
) -> tuple[npt.NDArray[np.bool_], list[str]] | None:
    """Marks a batch's bad rows.

    Args:
        batch: rows with the columns that `fields` describe.
        fields: the target's fields.
        with_long_texts: whether a text that is longer than its field makes a row bad.

    Returns:
        None when all rows are good; else a mask over the rows, and the reason of each bad row.
    """
    if batch.num_rows == 0:
        return None
    marks = np.zeros(batch.num_rows, dtype=np.bool_)
    reasons: dict[int, str] = {}
    for field in fields:
        column = batch.column(field.name)
        for found, why in _findings(field, column, with_long_texts):
            marks |= found
            for row in map(int, np.flatnonzero(found)):
                if row not in reasons:
                    reason = why if isinstance(why, str) else why(field, column[row])
                    reasons[row] = f"field {field.name!r}: {reason}"
    if not reasons:
        return None
    return marks, [reasons[row] for row in sorted(reasons)]
