"""Reads a group of .npy files, one for each field."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from . import fields as F
from .contract import ImportFailed, go_list
from .schema import META, TEXT, Field, Schema
from .versions import Behaviour

# The element types that .npy files are known to hold, by numpy's name.
_ELEMENTS = {
    "b1": "Bool",
    "u1": "BinaryVector",
    "i1": "Int8",
    "i2": "Int16",
    "i4": "Int32",
    "i8": "Int64",
    "f4": "Float",
    "f8": "Double",
}
# Elements in which the values of a field may be written, where it is not the field's own type.
_FITTING = {
    "FloatVector": ("Float", "Double"),
    "Float16Vector": ("BinaryVector",),
    "BFloat16Vector": ("BinaryVector",),
    "Int8Vector": ("Int8",),
    **dict.fromkeys(TEXT, ("VarChar",)),
}
_UNSUPPORTED = ("Array", "SparseFloatVector")


class _NoRows(Exception):
    """The files are read as if they had no rows."""


def read_npy(
    read: Callable[[str], pa.Buffer], paths: list[str], schema: Schema, behaviour: Behaviour
) -> pa.Table:
    for field in schema.fields:
        if field.nullable and not behaviour.nullable_numpy:
            raise behaviour.fail("npy_nullable", field=field.name)
        if field.type in _UNSUPPORTED and not field.optional:
            raise behaviour.fail(f"npy_unsupported_{field.type}", field=field.name)
    columns: dict[str, pa.Array] = {}
    files = {os.path.splitext(os.path.basename(path))[0]: path for path in paths}
    fields = {name: _field(schema, name, behaviour) for name in files}
    for field in schema.given:
        if field.name not in files and not field.optional:
            raise behaviour.fail("npy_missing", field=field.name, files=go_list(paths))
    try:
        for name, field in fields.items():
            if field is not None:
                columns[name] = _column(read(files[name]), field, behaviour)
    except _NoRows:
        columns = {name: pa.array([], field.arrow) for name, field in fields.items() if field}
    rows = _row_count(columns, behaviour)
    return F.complete(schema, columns, rows, behaviour)


def _field(schema: Schema, name: str, behaviour: Behaviour) -> Field | None:
    if name == META and schema.dynamic:
        return Field(META, "JSON")
    return F.check_given(schema, name, behaviour)


def _row_count(columns: dict[str, pa.Array], behaviour: Behaviour) -> int:
    if not columns:
        return 0
    first, *others = columns
    rows = len(columns[first])
    for name in others:
        found = len(columns[name])
        if found != rows:
            raise behaviour.fail("npy_rows", first=first, rows=rows, field=name, found=found)
    return rows


def _header(data: pa.Buffer, field: Field, behaviour: Behaviour) -> tuple[Any, np.dtype, int]:
    """Shape and element type, and where the values begin."""
    stream = io.BytesIO(data)
    if not len(data):
        raise behaviour.fail("npy_empty")
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _fortran_order_is_ignored, dtype = read(stream)
    except ValueError:
        raise behaviour.fail("npy") from None
    if dtype.kind not in "US" and dtype.str[1:] not in _ELEMENTS:
        raise behaviour.fail("npy_dtype", field=field.name, dtype=dtype.str)
    return shape, dtype, stream.tell()


def _check_shape(
    shape: tuple[int, ...], dtype: np.dtype, field: Field, behaviour: Behaviour
) -> None:
    element = "VarChar" if dtype.kind in "US" else _ELEMENTS[dtype.str[1:]]
    if element not in _FITTING.get(field.type, (field.type,)):
        raise behaviour.fail("npy_type", type=field.type, field=field.name, found=element)
    if len(shape) != (2 if field.is_vector else 1):
        raise ImportFailed(
            f"expected shape '{2 if field.is_vector else 1}' for {field.type} field "
            f"'{field.name}', got shape '{len(shape)}'"
        )
    wanted = field.width or field.dim
    if field.is_vector and shape[1] != wanted:
        raise behaviour.fail(
            "npy_dim", dim=wanted, type=field.type, field=field.name, found=shape[1]
        )


def _column(data: pa.Buffer, field: Field, behaviour: Behaviour) -> pa.Array:
    shape, dtype, start = _header(data, field, behaviour)
    if not shape or shape[0] or behaviour.empty_npy:
        _check_shape(shape, dtype, field, behaviour)
    else:
        return pa.array([], field.arrow)
    count = int(np.prod(shape))
    raw = memoryview(data)[start:]
    if len(raw) < count * dtype.itemsize:
        raise ImportFailed(f"failed to read numpy data for field '{field.name}': unexpected EOF")
    values = np.frombuffer(raw, dtype, count).reshape(shape)
    if field.type == "FloatVector":
        if not behaviour.not_finite_npy and not np.isfinite(values).all():
            raise _NoRows
        F.check_finite(values, behaviour)
        return F.vectors_array(values, field.dim)
    if field.width:
        return pa.array([row.tobytes() for row in values], field.arrow)
    if dtype.kind in "US":
        return _texts(values, field, behaviour)
    return pa.array(values.astype(dtype.newbyteorder("=")))


def _texts(values: np.ndarray, field: Field, behaviour: Behaviour) -> pa.Array:
    try:
        decoded = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
        texts = pa.array(decoded.tolist(), pa.string())
    except UnicodeDecodeError:
        raise ImportFailed(f"value of field '{field.name}' contains invalid UTF-8 data") from None
    if values.dtype.kind == "U" and field.type == "VarChar":
        F.check_length(texts, field, behaviour)
    if field.type == "JSON":
        F.check_json(texts, field.name, behaviour)
    return F.times_array(texts.to_pylist()) if field.type == "Timestamptz" else texts
