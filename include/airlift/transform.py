"""Turns a source's record batches into the target's: choose, rename, cast, make `$meta`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.fixed_width import fixed_bytes
from airlift.json_text import canonical, canonical_column
from airlift.mapping import MappedCollection
from airlift.schema import DYNAMIC_FIELD, Field


class Transform:
    """Applies a collection's mapping to record batches.

    Args:
        mapped: which source field becomes which target field.
    """

    def __init__(self, mapped: MappedCollection) -> None:
        self._mapped = mapped
        self._source_of = {target: source for source, target in mapped.fields.items()}
        self._own_names = {field.name for field in mapped.target.fields}
        self._columns = [(field, self._maker(field)) for field in mapped.target.written]
        self.schema = mapped.target.arrow

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the target's columns, in the target's order and types.

        Raises:
            AirliftError: a value does not fit the target's type.
        """
        columns = [make(batch) for _, make in self._columns]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _maker(self, field: Field) -> Callable[[pa.RecordBatch], pa.Array]:
        if field.is_dynamic:
            return self._dynamic
        name = self._source_of[field.name]
        source_type = self._mapped.types[name]
        if field.type is DataType.JSON:
            return lambda batch: self._told(name, "JSON", canonical_column, batch.column(name))
        if source_type in _WIDENED and field.type is DataType.FLOAT_VECTOR:
            widen = _WIDENED[source_type]
            return lambda batch: widen(batch.column(name), field)
        kind = field.arrow.type
        return lambda batch: self._cast(name, batch.column(name), kind)

    def _cast(self, name: str, column: pa.Array, kind: pa.DataType) -> pa.Array:
        if column.type == kind:
            return column
        return self._told(name, str(kind), lambda values: values.cast(kind), column)

    def _told(
        self, name: str, kind: str, change: Callable[[pa.Array], pa.Array], column: pa.Array
    ) -> pa.Array:
        """Changes a column; a failure names the field."""
        try:
            return change(column)
        except (pa.ArrowInvalid, ValueError) as error:
            raise AirliftError(
                f"collection {self._mapped.source!r}: a value of the field {name!r} does not fit "
                f"{kind}: {error}"
            ) from error

    def _dynamic(self, batch: pa.RecordBatch) -> pa.Array:
        """The dynamic field: what the source has in its own, and the fields that go into it."""
        if DYNAMIC_FIELD in self._source_of:
            texts = batch.column(DYNAMIC_FIELD).to_pylist()
            rows = [orjson.loads(text) if text else {} for text in texts]
        else:
            rows = [{} for _ in range(batch.num_rows)]
        taken = {key for row in rows for key in row} & (
            self._own_names | set(self._mapped.into_dynamic.values())
        )
        if taken:
            raise AirliftError(
                f"collection {self._mapped.source!r}: rows have values named {sorted(taken)} "
                "without a field, and a field has that name; give the field another target name "
                "in mapping"
            )
        for name, key in self._mapped.into_dynamic.items():
            is_json = self._mapped.types[name] is DataType.JSON
            for row, value in zip(rows, batch.column(name).to_pylist(), strict=True):
                if isinstance(value, float) and not math.isfinite(value):
                    raise AirliftError(
                        f"collection {self._mapped.source!r}: the field {name!r} goes into the "
                        f"dynamic field, which is JSON and can't hold {value}; exclude the field"
                    )
                if value is not None:
                    row[key] = orjson.loads(value) if is_json else value
        return pa.array([canonical(row) for row in rows], pa.string())


def _as_floats(flat: Any, column: pa.Array, field: Field) -> pa.Array:
    values = pa.Array.from_buffers(pa.float32(), flat.size, [None, pa.py_buffer(flat)])
    mask = column.is_null() if column.null_count else None
    return pa.FixedSizeListArray.from_arrays(values, field.dim, mask=mask)


def _bytes_of(column: pa.Array) -> Any:
    values = fixed_bytes(column)
    assert values is not None  # noqa: S101 - vectors of these types have a fixed width
    return values.reshape(-1)


def _widen_int8(column: pa.Array, field: Field) -> pa.Array:
    return _as_floats(_bytes_of(column).view(np.int8).astype(np.float32), column, field)


def _widen_float16(column: pa.Array, field: Field) -> pa.Array:
    return _as_floats(_bytes_of(column).view(np.float16).astype(np.float32), column, field)


def _widen_bfloat16(column: pa.Array, field: Field) -> pa.Array:
    wide = _bytes_of(column).view(np.uint16).astype(np.uint32) << 16
    return _as_floats(wide.view(np.float32), column, field)


_WIDENED = {
    DataType.INT8_VECTOR: _widen_int8,
    DataType.FLOAT16_VECTOR: _widen_float16,
    DataType.BFLOAT16_VECTOR: _widen_bfloat16,
}
"""Vector types whose values a float vector holds exactly."""
