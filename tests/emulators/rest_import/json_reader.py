"""Reads a .json file of rows, a bare list or ``{"rows": [...]}``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from milvus_lite.schema.arrow_builder import _arrow_type
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema

from . import fields as F
from .contract import ImportFailed


def read_json(data: pa.Buffer, path: str, schema: CollectionSchema) -> pa.Table:
    try:
        rows = json.loads(data.to_pybytes())
    except ValueError as err:
        raise ImportFailed(f"failed to decode the JSON file '{path}', error: {err}") from None
    if isinstance(rows, dict):
        rows = rows.get("rows")
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise ImportFailed("invalid JSON format, each row should be a key-value map")
    known = F.expected_fields(schema)
    metas: list[str | None] = []
    for row in rows:
        meta = row.get(F.META) or {}
        meta = dict(json.loads(meta) if isinstance(meta, str) else meta)
        for name in set(row) - {F.META}:
            if F.check_given(schema, name) is None:
                if not schema.enable_dynamic_field:
                    raise ImportFailed(f"the field '{name}' is not defined in schema")
                meta[name] = row[name]
        for name, field in known.items():
            if name not in row and not F.may_be_absent(field):
                raise ImportFailed(f"value of field '{name}' is missed")
        metas.append(json.dumps(meta) if meta else None)
    given = {
        n: _json_column([r.get(n) for r in rows], f)
        for n, f in known.items()
        if not (f.is_primary and f.auto_id)
    }
    given[F.META] = pa.array(metas, pa.string())
    return F.complete(schema, given, len(rows))


def _json_column(values: list[Any], field: FieldSchema) -> pa.Array:
    convert: Callable[[Any], Any] | None = None
    if field.dtype == DataType.SPARSE_FLOAT_VECTOR:
        return F.sparse_array(values, field)
    if field.dtype == DataType.TIMESTAMPTZ:
        return F.times_array(values)
    if field.dtype == DataType.JSON:
        convert = lambda v: v if isinstance(v, str) else json.dumps(v)  # noqa: E731
    if field.dtype == DataType.FLOAT_VECTOR:
        for v in values:
            if v is not None and len(v) != field.dim:
                raise ImportFailed(
                    f"expected dim '{field.dim}' for FloatVector field '{field.name}', "
                    f"got dim '{len(v)}'"
                )
    try:
        column = pa.array(
            [v if v is None or convert is None else convert(v) for v in values], _arrow_type(field)
        )
    except (pa.ArrowException, TypeError, ValueError) as err:
        raise ImportFailed(
            f"expected type '{F.GO_NAMES[field.dtype]}' for field '{field.name}', {err}"
        ) from None
    if pa.types.is_string(column.type):
        F.check_strings(column, field)
        if field.dtype == DataType.JSON:
            F.check_json(column, field.name)
    return column
