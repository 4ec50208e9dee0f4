"""Checks that all file formats share: one column of a collection, as Arrow, made fit for Lite's
engine.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from milvus_lite.analyzer.sparse import sparse_to_bytes
from milvus_lite.schema.timestamptz import parse_timestamptz

from .contract import ImportFailed
from .schema import HIDDEN, META, Field, Schema
from .versions import Behaviour

_NO_INDEX = 2**32 - 1
"""The first index that a sparse vector can't have."""


def check_given(schema: Schema, name: str, behaviour: Behaviour) -> Field | None:
    """The field called `name`, None if the file carries something that is no field."""
    field = schema.field(name)
    if field and field.primary and field.auto_id:
        raise behaviour.fail("auto_id", field=name)
    if field and field.function_output:
        raise behaviour.fail("function_output", field=name)
    return field


def check_finite(values: np.ndarray, behaviour: Behaviour) -> None:
    """Floating-point numbers; the first that is NaN or infinite is named as Go prints it."""
    finite = np.isfinite(values)
    if not finite.all():
        bad = float(values[~finite].ravel()[0])
        name = "NaN" if np.isnan(bad) else "+Inf" if bad > 0 else "-Inf"
        raise behaviour.fail("not_finite", value=name)


def check_length(values: pa.Array, field: Field, behaviour: Behaviour) -> None:
    """The max_length of a VARCHAR, or of the items of an array, which counts bytes."""
    if field.max_length is None or not len(values):
        return
    longest = pc.max(pc.binary_length(values)).as_py()
    if longest is not None and longest > field.max_length:
        raise behaviour.fail("too_long", found=longest, field=field.name, limit=field.max_length)


def check_array(column: pa.Array, field: Field, behaviour: Behaviour) -> None:
    """The max_capacity of an array, and what its items are."""
    if field.max_capacity and len(column):
        longest = pc.max(pc.list_value_length(column)).as_py()
        if longest is not None and longest > field.max_capacity:
            raise behaviour.fail(
                "too_many", found=longest, field=field.name, limit=field.max_capacity
            )
    items = column.flatten()
    if items.null_count and not behaviour.null_items:
        raise behaviour.fail("null_item", field=field.name)
    if field.element == "VarChar":
        check_length(items, field, behaviour)


def check_json(values: pa.Array, name: str, behaviour: Behaviour) -> None:
    """The texts of a JSON field, or of ``$meta``, whose values are objects."""
    for text in values.to_pylist():
        if text is None:
            continue
        if not text:
            raise behaviour.fail("json_empty")
        try:
            value = parse_json(text)
        except ValueError as err:
            raise behaviour.fail("json", parser=err) from None
        if name == META and not isinstance(value, dict):
            kind = "array" if isinstance(value, list) else "value"
            raise behaviour.fail("meta", kind=kind, parser="mismatched type")


def parse_json(text: str | bytes) -> Any:
    """Strictly: NaN and Infinity are no JSON."""

    def refuse(name: str) -> None:
        raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")

    return json.loads(text, parse_constant=refuse)


def vectors_array(flat: np.ndarray, dim: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(flat, dtype=np.float32).ravel()), dim
    )


def sparse_bytes(pairs: Any, behaviour: Behaviour) -> bytes:
    """A sparse vector: ``{"1": 0.5}`` or ``{"indices": [1], "values": [0.5]}``.

    Raises:
        ImportFailed: it has a negative value, or an index of 2^32-1 or more.
        ValueError, TypeError, AttributeError: it is none.
    """
    if "indices" in pairs and "values" in pairs:
        pairs = dict(zip(pairs["indices"], pairs["values"], strict=True))
    vector = {int(index): float(value) for index, value in pairs.items()}
    if any(value < 0 for value in vector.values()):
        raise ImportFailed(behaviour.texts["sparse_negative"], exact=True)
    if any(not 0 <= index < _NO_INDEX for index in vector):
        raise ImportFailed(behaviour.texts["sparse_index"], exact=True)
    return sparse_to_bytes(vector)


def times_array(values: list[str | None]) -> pa.Array:
    try:
        return pa.array(
            [None if v is None else parse_timestamptz(v) for v in values], pa.int64()
        ).cast(pa.timestamp("us", tz="UTC"))
    except Exception as err:
        raise ImportFailed(f"invalid timestamptz: {err}") from None


def complete(
    schema: Schema, given: dict[str, pa.Array], rows: int, behaviour: Behaviour
) -> pa.Table:
    """All columns that Lite's engine needs but the auto-id, nulls and defaults filled in."""
    columns: dict[str, pa.Array] = {}
    for field in schema.given:
        if field.primary and field.auto_id:
            continue
        column = given.get(field.name)
        if column is None:
            column = pa.nulls(rows, field.arrow)
        column = _filled(column, field, behaviour)
        if column.type != field.arrow:
            column = column.cast(field.arrow)
        columns[field.name] = field.stored(column)
    if schema.dynamic:
        columns[META] = given.get(META, pa.nulls(rows, pa.string()))
    if any(field.name == HIDDEN for field in schema.to_lite().fields):
        columns[HIDDEN] = pa.nulls(rows, pa.binary())
    return pa.table(columns)


def _filled(column: pa.Array, field: Field, behaviour: Behaviour) -> pa.Array:
    """Default values into nulls, zeros into null vectors; nulls elsewhere only where allowed."""
    if not column.null_count:
        return column
    if field.default is not None:
        return column.fill_null(pa.scalar(field.default, column.type))
    if not field.nullable:
        dense = field.is_vector and field.type != "SparseFloatVector"
        what = "null_vector" if dense else "null"
        raise behaviour.fail(what, field=field.name, dim=field.dim, type=field.type)
    if field.type == "FloatVector":  # Lite keeps zeros in the place of a null vector
        rows = np.zeros((len(column), field.dim), np.float32)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().flatten().to_numpy(zero_copy_only=False)
        rows[valid] = values.reshape(-1, field.dim)
        return vectors_array(rows, field.dim)
    return column
