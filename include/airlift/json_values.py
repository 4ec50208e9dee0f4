"""Values that come as JSON (of the dynamic field, or of the params) as values of a field's type.

Types are taken strictly: a number is no text, 1.0 is no INT64, true is no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from airlift.bad_rows import MAX_TEXT_BYTES
from airlift.datatypes import DataType
from airlift.json_text import canonical
from airlift.retyping import WHOLE_NUMBERS
from airlift.schema import Field


def _is_whole(value: Any, kind: DataType) -> bool:
    low, high = WHOLE_NUMBERS[kind]
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


_FITS: dict[DataType, Callable[[Any], bool]] = {
    DataType.BOOL: lambda value: isinstance(value, bool),
    DataType.INT8: lambda value: _is_whole(value, DataType.INT8),
    DataType.INT16: lambda value: _is_whole(value, DataType.INT16),
    DataType.INT32: lambda value: _is_whole(value, DataType.INT32),
    DataType.INT64: lambda value: _is_whole(value, DataType.INT64),
    DataType.FLOAT: lambda value: (
        _is_whole(value, DataType.FLOAT)
        or (isinstance(value, float) and _float32(value) == value and math.isfinite(value))
    ),
    DataType.DOUBLE: lambda value: (
        _is_whole(value, DataType.DOUBLE) or (isinstance(value, float) and math.isfinite(value))
    ),
    DataType.VARCHAR: lambda value: isinstance(value, str),
    DataType.JSON: lambda value: True,
}
"""Whether a JSON value is exactly a value of the type."""

SCALARS = frozenset(_FITS)
"""The types that a JSON value can be of by itself; an ARRAY is a list of such."""


def _fits(field: Field, value: Any) -> bool:
    if field.element_type:
        item = _FITS[field.element_type]
        return isinstance(value, list) and all(item(one) for one in value)
    return _FITS[field.type](value)


def column_of(values: list[Any], field: Field) -> pa.Array:
    """A field's column of JSON values; null where a value does not fit, and for null."""
    made = [None if value is None or not _fits(field, value) else value for value in values]
    if field.type is DataType.JSON:
        made = [None if value is None else canonical(value) for value in made]
    return pa.array(made, field.arrow.type)


def literal(field: Field, value: Any) -> Any:
    """A value that the user has written down for a field, as the field holds it.

    A number for a FLOAT is the nearest that it holds.

    Raises:
        ValueError: it is not of the field's type, out of its range, or no value that JSON holds.
    """
    if field.type is DataType.JSON:
        try:
            return canonical(value)
        except ValueError as error:
            raise ValueError(f"{value!r:.40} is no JSON value: {error}") from error
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if field.type is DataType.FLOAT and is_number:
        value = _float32(value)
    if not _fits(field, value):
        raise ValueError(f"{value!r} is no {field.type} value")
    most = field.max_length or MAX_TEXT_BYTES
    if isinstance(value, str) and len(value.encode()) > most:
        raise ValueError(f"{value[:40]!r} has {len(value.encode()):,} bytes, allowed are {most:,}")
    return float(value) if field.type is DataType.DOUBLE else value
