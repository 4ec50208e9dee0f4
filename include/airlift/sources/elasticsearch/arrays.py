"""Columns of a page of documents as Arrow arrays: all at once where they are clean."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from airlift.datatypes import DataType
from airlift.sources.elasticsearch.columns import VECTOR_KINDS, Column
from airlift.sources.elasticsearch.lists import arrow_list, with_nulls
from airlift.sources.elasticsearch.values import BadValue, reader, vector_of
from airlift.sources.elasticsearch.vectors import VectorCutter

Reasons = dict[int, str]

# What Python types a column may hold to be taken as a whole.
_CLEAN: dict[DataType, set[type]] = {
    DataType.VARCHAR: {str, type(None)},
    DataType.INT8: {int, type(None)},
    DataType.INT16: {int, type(None)},
    DataType.INT32: {int, type(None)},
    DataType.INT64: {int, type(None)},
    DataType.FLOAT: {float, type(None)},
    DataType.DOUBLE: {float, type(None)},
    DataType.BOOL: {bool, type(None)},
}
_NUMBERS = {float, int}


def array_of(column: Column, raw: Sequence[Any]) -> tuple[pa.Array, Reasons]:
    """A column of the page's rows.

    Args:
        raw: the values in the documents; None where there is none.

    Returns:
        The array, null where a value is missing or bad; and why, by row, for the bad ones (a
        missing one is bad too, unless the column is nullable).
    """
    if column.is_vector and column.type is not DataType.SPARSE_FLOAT_VECTOR:
        return _vectors(column, raw)
    kind = column.field.arrow.type
    clean = _CLEAN.get(column.type)
    if clean and not column.formats and clean.issuperset(map(type, raw)):
        try:
            found = arrow_list(raw, kind)
        except (OverflowError, UnicodeEncodeError):
            pass  # one of them is out of range, or no text: which, the slow way tells
        else:
            if column.type is not DataType.FLOAT or np.isfinite(_floats(found)).all():
                return found, {} if column.nullable else missing(raw)
    read, reasons = reader(column), {}
    values: list[Any] = []
    for row, value in enumerate(raw):
        try:
            values.append(read(value))
        except BadValue as bad:
            reasons[row] = str(bad)
            values.append(None)
    if not column.nullable:
        reasons = missing(values) | reasons
    return arrow_list(values, kind), reasons


def _floats(column: pa.Array) -> Any:
    return np.frombuffer(column.buffers()[1], np.float32, len(column)) if len(column) else []


def missing(values: Sequence[Any]) -> Reasons:
    """Says of every row without a value that it is missing."""
    if None not in values:
        return {}
    return {row: "is missing" for row, value in enumerate(values) if value is None}


def cut_array(cutter: VectorCutter, raw: Sequence[Any], texts: Sequence[bytes]) -> pa.Array | None:
    """A column of vectors that were cut out; None when that was in vain."""
    found = cutter.floats(raw, texts)
    if found is None:
        return None
    present = np.ones(len(raw), np.bool_)
    if len(found) < len(raw):
        present = np.fromiter((value is not None for value in raw), np.bool_, len(raw))
        whole = np.zeros((len(raw), cutter.column.dim), np.float32)
        whole[present] = found
        found = whole
    return with_nulls(cutter.column.field.arrow.type, found, present)


def _vectors(column: Column, raw: Sequence[Any]) -> tuple[pa.Array, Reasons]:
    width = column.field.arrow.type
    floats = column.type is DataType.FLOAT_VECTOR
    size = 4 * column.dim if floats else column.dim
    if column.type is DataType.BINARY_VECTOR:
        size = column.dim // 8
    data = _packed(column, raw) if floats else None
    reasons: Reasons = {}
    present = np.ones(len(raw), np.bool_)
    if data is None:
        parts = []
        empty = bytes(size)
        for row, value in enumerate(raw):
            try:
                one = vector_of(column, value)
            except BadValue as bad:
                one, reasons[row] = None, str(bad)
            else:
                if one is None and not column.nullable:
                    reasons[row] = "is missing"
            present[row] = one is not None
            parts.append(empty if one is None else one)
        data = b"".join(parts)
    return with_nulls(width, data, present), reasons


def _packed(column: Column, raw: Sequence[Any]) -> bytes | None:
    """All float vectors at once; None when one of them is not plain and of the right length."""
    # Elasticsearch lets nothing but numbers into a vector field; a field of floats may hold more.
    checked = column.kind in VECTOR_KINDS
    pack = struct.Struct(f"{column.dim}f").pack
    try:
        if not checked and not all(_NUMBERS.issuperset(map(type, one)) for one in raw):
            return None
        data = b"".join([pack(*one) for one in raw])
    except (struct.error, TypeError, OverflowError):
        return None
    return data if np.isfinite(np.frombuffer(data, np.float32)).all() else None
