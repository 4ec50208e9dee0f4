"""Checks that all file formats share: one column of a collection, as Arrow, made fit for Lite's
engine.

The words of the refusals are those of milvus ``importutilv2`` (numpy, parquet, json, common).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from milvus_lite.analyzer.sparse import sparse_to_bytes
from milvus_lite.schema.arrow_builder import _arrow_type
from milvus_lite.schema.timestamptz import parse_timestamptz
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema

from .contract import ImportFailed

META = "$meta"
GO_NAMES = {
    DataType.BOOL: "Bool",
    DataType.INT8: "Int8",
    DataType.INT16: "Int16",
    DataType.INT32: "Int32",
    DataType.INT64: "Int64",
    DataType.FLOAT: "Float",
    DataType.DOUBLE: "Double",
    DataType.VARCHAR: "VarChar",
    DataType.JSON: "JSON",
    DataType.ARRAY: "Array",
    DataType.GEOMETRY: "Geometry",
    DataType.TIMESTAMPTZ: "Timestamptz",
    DataType.FLOAT_VECTOR: "FloatVector",
    DataType.SPARSE_FLOAT_VECTOR: "SparseFloatVector",
}
NAN_RULES = ("vectors", "all", "npy-vectors")
"""Where NaN and Inf are refused: in float vectors (milvus 2.6's readers), in scalars too, or in
float vectors of .npy files only (what milvus#50459 reports of Parquet)."""


def expected_fields(schema: CollectionSchema) -> dict[str, FieldSchema]:
    """The fields that a file may carry, by name."""
    return {f.name: f for f in schema.fields if not f.is_function_output}


def check_given(schema: CollectionSchema, name: str) -> FieldSchema | None:
    """The field called `name`, None if the file carries something else, which is ignored."""
    for f in schema.fields:
        if f.name == name:
            if f.is_primary and f.auto_id:
                raise ImportFailed(
                    f"the primary key '{name}' is auto-generated, no need to provide"
                )
            if f.is_function_output:
                raise ImportFailed(f"the field '{name}' is output by function, no need to provide")
            return f
    return None


def may_be_absent(field: FieldSchema) -> bool:
    return (
        (field.is_primary and field.auto_id)
        or field.is_function_output
        or field.nullable
        or field.default_value is not None
    )


def refuse_nan(values: np.ndarray, rule: str, vector: bool, fmt: str) -> None:
    wanted = rule == "all" or (vector and (rule == "vectors" or fmt == "npy"))
    if wanted and not np.isfinite(values).all():
        bad = values[~np.isfinite(values)].ravel()[0]
        raise ImportFailed(f"value '{bad}' is not a number or infinity")


def check_strings(values: pa.Array, field: FieldSchema) -> None:
    """VARCHAR: max_length counts bytes."""
    if field.dtype != DataType.VARCHAR or field.max_length is None or len(values) == 0:
        return
    longest = pc.max(pc.binary_length(values)).as_py()
    if longest is not None and longest > field.max_length:
        raise ImportFailed(
            f"value length({longest}) for field {field.name} exceeds max_length({field.max_length})"
        )


def check_json(values: pa.Array, name: str) -> None:
    for text in values.to_pylist():
        if text is None:
            continue
        try:
            parsed = json.loads(text)
        except ValueError as err:
            raise ImportFailed(
                f"failed to parse value '{text}' for JSON field '{name}', error: {err}"
            ) from None
        if name == META and not isinstance(parsed, dict):
            raise ImportFailed(
                f"failed to parse value '{text}' for dynamic JSON field '{name}', "
                "error: not an object"
            )


def vectors_array(flat: np.ndarray, dim: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(flat, dtype=np.float32).ravel()), dim
    )


def sparse_array(values: list[Any], field: FieldSchema) -> pa.Array:
    """Sparse vectors from JSON or dicts: ``{"1": 0.5}`` or ``{"indices": [], "values": []}``."""
    out: list[bytes | None] = []
    for value in values:
        if value is None:
            if not field.nullable:
                raise ImportFailed(
                    f"the field '{field.name}' is not nullable but the file contains null value"
                )
            out.append(None)
            continue
        try:
            pairs = json.loads(value) if isinstance(value, str) else value
            if "indices" in pairs and "values" in pairs:
                pairs = dict(zip(pairs["indices"], pairs["values"], strict=True))
            out.append(sparse_to_bytes({int(k): float(v) for k, v in pairs.items()}))
        except (ValueError, TypeError, AttributeError) as err:
            raise ImportFailed(f"invalid sparse vector for field '{field.name}': {err}") from None
    return pa.array(out, pa.binary())


def times_array(values: list[str | None]) -> pa.Array:
    try:
        return pa.array(
            [None if v is None else parse_timestamptz(v) for v in values], pa.int64()
        ).cast(pa.timestamp("us", tz="UTC"))
    except Exception as err:
        raise ImportFailed(f"invalid timestamptz: {err}") from None


def fill(column: pa.Array, field: FieldSchema) -> pa.Array:
    """Default values into nulls, zeros into null vectors; nulls elsewhere only where allowed."""
    if column.null_count:
        if field.default_value is not None:
            column = column.fill_null(pa.scalar(field.default_value, column.type))
        elif not field.nullable:
            raise ImportFailed(
                f"the field '{field.name}' is not nullable but the file contains null value"
            )
        elif field.dtype == DataType.FLOAT_VECTOR:  # Lite keeps zeros in the place of a null vector
            rows = np.zeros((len(column), field.dim), np.float32)
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            rows[valid] = (
                column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, field.dim)
            )
            column = vectors_array(rows, field.dim)
    return column


def complete(schema: CollectionSchema, given: dict[str, pa.Array], rows: int) -> pa.Table:
    """All columns that Lite's engine needs but the auto-id, nulls and defaults filled in."""
    names: list[str] = []
    arrays: list[pa.Array] = []
    for field in schema.fields:
        if field.is_function_output or (field.is_primary and field.auto_id):
            continue
        kind = _arrow_type(field)
        column = given.get(field.name)
        if column is None:
            column = pa.nulls(rows, kind)
        column = fill(column, field)
        if column.type != kind:
            column = column.cast(kind)
        names.append(field.name)
        arrays.append(column)
    if schema.enable_dynamic_field:
        names.append(META)
        arrays.append(given.get(META, pa.nulls(rows, pa.string())))
    return pa.table(arrays, names=names)
