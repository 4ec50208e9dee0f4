"""Reads files of rows: .json, a bare list or ``{"rows": [...]}``, and .csv with a header."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa

from . import fields as F
from .contract import ImportFailed
from .schema import META, TEXT, Field, Schema
from .versions import Behaviour

Row = dict[str, Any]

_INTS = {"Int8": 8, "Int16": 16, "Int32": 32, "Int64": 64}
_ELEMENTS = {
    "Float16Vector": np.float16,
    "BFloat16Vector": ml_dtypes.bfloat16,
    "BinaryVector": np.uint8,
    "Int8Vector": np.int8,
}


def read_json(data: pa.Buffer, schema: Schema, behaviour: Behaviour) -> pa.Table:
    try:
        rows = F.parse_json(data.to_pybytes())
    except ValueError as err:
        raise behaviour.fail("json_file", parser=err) from None
    if isinstance(rows, dict):
        if "rows" not in rows:
            raise behaviour.fail("json_root", found=next(iter(rows), ""))
        rows = rows["rows"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ImportFailed("invalid JSON format, each row should be a key-value map")
    return _table(rows, schema, behaviour)


def read_csv(data: pa.Buffer, schema: Schema, behaviour: Behaviour) -> pa.Table:
    """Cells are texts, or JSON for what is no text; an empty one is null."""
    rows: list[Row] = []
    for cells in csv.DictReader(io.StringIO(data.to_pybytes().decode())):
        row: Row = {}
        for name, cell in cells.items():
            field = schema.field(name)
            is_text = field is None or field.type in TEXT
            row[name] = None if cell == "" else cell if is_text else F.parse_json(cell)
        rows.append(row)
    return _table(rows, schema, behaviour)


def _table(rows: list[Row], schema: Schema, behaviour: Behaviour) -> pa.Table:
    fields = [f for f in schema.given if not (f.primary and f.auto_id)]
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    metas: list[str | None] = []
    for row in rows:
        try:
            metas.append(_meta(row, schema, behaviour))
            for field in fields:
                columns[field.name].append(_value(row, field, behaviour))
        except ImportFailed as err:
            raise behaviour.fail_row(err) from None
    given: dict[str, pa.Array] = {META: pa.array(metas, pa.string())}
    for field in fields:
        times = field.type == "Timestamptz"
        values = columns[field.name]
        given[field.name] = F.times_array(values) if times else pa.array(values, field.arrow)
    return F.complete(schema, given, len(rows), behaviour)


def _meta(row: Row, schema: Schema, behaviour: Behaviour) -> str | None:
    """What the dynamic field holds: ``$meta``, and the keys that are no fields."""
    meta = (row.get(META) if schema.dynamic else None) or {}
    meta = dict(F.parse_json(meta) if isinstance(meta, str) else meta)
    for name, value in row.items():
        if F.check_given(schema, name, behaviour) is not None:
            continue
        if schema.dynamic:
            if name != META:
                meta[name] = value
        elif not behaviour.extra_columns:
            raise behaviour.fail("row_extra", field=name)
    return json.dumps(meta) if meta else None


def _value(row: Row, field: Field, behaviour: Behaviour) -> Any:
    if field.name not in row:
        if not field.optional:
            raise behaviour.fail("row_missing", field=field.name)
        return None
    value = row[field.name]
    if value is None and (field.nullable or field.default is not None):
        return None
    convert = _CONVERSIONS.get(field.type, _text)
    try:
        return convert(value, field, behaviour)
    except (TypeError, ValueError, OverflowError):
        raise behaviour.fail(
            "row_type",
            type=field.type,
            field=field.name,
            found=_go_type(value),
            value="<nil>" if value is None else value,
        ) from None


def _go_type(value: Any) -> str:
    for kind, name in (
        (bool, "bool"),
        (str, "string"),
        (list, "[]interface {}"),
        (dict, "map[string]interface {}"),
        (type(None), "<nil>"),
    ):
        if isinstance(value, kind):
            return name
    return "json.Number"


def _int(value: Any, field: Field, behaviour: Behaviour) -> int:
    bits = _INTS[field.type]
    if type(value) is not int or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise TypeError
    return value


def _float(value: Any, field: Field, behaviour: Behaviour) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _bool(value: Any, field: Field, behaviour: Behaviour) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _text(value: Any, field: Field, behaviour: Behaviour) -> str:
    if not isinstance(value, str):
        raise TypeError
    if field.type == "VarChar":
        F.check_length(pa.array([value]), field, behaviour)
    return value


def _json(value: Any, field: Field, behaviour: Behaviour) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    F.check_json(pa.array([value]), field.name, behaviour)
    return value


def _vector(value: Any, field: Field, behaviour: Behaviour) -> Any:
    if not isinstance(value, list):
        raise TypeError
    wanted = field.width if field.type == "BinaryVector" else field.dim
    if len(value) != wanted:
        raise behaviour.fail(
            "row_dim", dim=field.dim, field=field.name, type=field.type, found=len(value)
        )
    if field.type == "FloatVector":
        return [_float(item, field, behaviour) for item in value]
    return np.array(value, _ELEMENTS[field.type]).tobytes()


def _sparse(value: Any, field: Field, behaviour: Behaviour) -> bytes:
    try:
        return F.sparse_bytes(F.parse_json(value) if isinstance(value, str) else value, behaviour)
    except AttributeError:
        raise TypeError from None


def _array(value: Any, field: Field, behaviour: Behaviour) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    column = pa.array([value], field.arrow)
    F.check_array(column, field, behaviour)
    return value


_CONVERSIONS: dict[str, Callable[[Any, Field, Behaviour], Any]] = {
    **dict.fromkeys(_INTS, _int),
    "Bool": _bool,
    "Float": _float,
    "Double": _float,
    "JSON": _json,
    "Array": _array,
    "SparseFloatVector": _sparse,
    **dict.fromkeys(("FloatVector", *_ELEMENTS), _vector),
}
