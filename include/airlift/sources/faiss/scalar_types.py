"""What the columns of a scalars file become in Milvus: a table by Arrow type."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airlift.datatypes import TYPES, DataType
from airlift.errors import AirliftError
from airlift.json_exact import RepeatedKeys
from airlift.json_text import lossless_text
from airlift.schema import DYNAMIC_FIELD, Field

_SAME: dict[Any, DataType] = {
    pa.bool_(): DataType.BOOL,
    pa.int8(): DataType.INT8,
    pa.int16(): DataType.INT16,
    pa.int32(): DataType.INT32,
    pa.int64(): DataType.INT64,
    pa.uint8(): DataType.INT16,
    pa.uint16(): DataType.INT32,
    pa.uint32(): DataType.INT64,
    pa.uint64(): DataType.INT64,
    pa.float16(): DataType.FLOAT,
    pa.float32(): DataType.FLOAT,
    pa.float64(): DataType.DOUBLE,
    pa.string(): DataType.VARCHAR,
    pa.large_string(): DataType.VARCHAR,
    pa.string_view(): DataType.VARCHAR,
}


def field_of(column: pa.Field) -> Field:
    """The field that a column becomes. Raises AirliftError when nothing in Milvus is like it."""
    field = _field_of(column)
    if field.is_dynamic and field.type not in (DataType.JSON, DataType.VARCHAR):
        raise AirliftError(
            f"the column {DYNAMIC_FIELD!r} is of type {column.type}; expected JSON objects, as "
            "this is the name of Milvus' dynamic field; rename the column, or leave it out with "
            "mapping exclude"
        )
    return field


def _field_of(column: pa.Field) -> Field:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if kind in _SAME:
        return Field(name=column.name, type=_SAME[kind])
    for is_kind, field_type, what in _OTHERS:
        if is_kind(kind):
            return Field(name=column.name, type=field_type, description=what(kind))
    if _is_list(kind) and kind.value_type in _SAME:
        element = _SAME[kind.value_type]
        return Field(name=column.name, type=DataType.ARRAY, element_type=element)
    if _is_list(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        return Field(name=column.name, type=DataType.JSON)
    raise AirliftError(
        f"the column {column.name!r} is of type {kind}, which has no counterpart in Milvus; cast "
        "it, or leave it out with mapping exclude"
    )


def _since_1970(kind: pa.DataType) -> str:
    return "milliseconds since 1970" + (" (UTC)" if getattr(kind, "tz", None) else "")


def _is_whole(kind: pa.DataType) -> bool:
    """A decimal without a fraction that INT64 holds, whatever its value."""
    return bool(pa.types.is_decimal(kind)) and kind.scale == 0 and kind.precision <= _INT64_DIGITS


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


_INT64_DIGITS = 18
_OTHERS: tuple[
    tuple[Callable[[pa.DataType], bool], DataType, Callable[[pa.DataType], str]], ...
] = (
    (pa.types.is_date, DataType.INT64, _since_1970),
    (pa.types.is_timestamp, DataType.INT64, _since_1970),
    (pa.types.is_duration, DataType.INT64, lambda kind: f"a duration in {kind.unit}"),
    (pa.types.is_time, DataType.VARCHAR, lambda _: "a time of day"),
    (_is_whole, DataType.INT64, lambda _: ""),
    (pa.types.is_decimal, DataType.VARCHAR, lambda _: "a decimal"),
    (_is_binary, DataType.VARCHAR, lambda _: "base64"),
    # Like a key of JSON Lines that is null in every line.
    (pa.types.is_null, DataType.VARCHAR, lambda _: ""),
)
"""What else has a counterpart, and what is said of the field."""


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def converted(values: pa.Array, field: Field) -> pa.Array:
    """A column's values as the field has them.

    Raises:
        AirliftError: a value does not fit.
    """
    try:
        return _converted(values, field)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise AirliftError(
            f"the column {field.name!r}: {error}; change the values or their type in the file, or "
            "leave the column out with mapping exclude"
        ) from error


def _converted(values: pa.Array, field: Field) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if field.type is DataType.JSON:
        texts = [None if value is None else lossless_text(value) for value in _nested(values)]
        return pa.array(texts, pa.string())
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        zone = getattr(values.type, "tz", None)
        values = values.cast(pa.timestamp("ms", zone))
    if _is_binary(values.type):
        values = values.cast(pa.large_binary())
        encoded = [None if value is None else b64encode(value) for value in values.to_pylist()]
        return pa.array(encoded, pa.binary()).cast(pa.string())
    if field.element_type:
        if pc.list_flatten(values).null_count:
            raise ValueError("a list holds null, which an ARRAY of Milvus can't")
        return values.cast(pa.list_(TYPES[field.element_type].arrow(0)))
    return values.cast(TYPES[field.type].arrow(0))


def _nested(values: pa.Array) -> list[Any]:
    """Structs, lists and maps as Python values; maps as dicts, with nothing lost."""
    try:
        found: list[Any] = values.to_pylist(maps_as_pydicts="strict")
    except (KeyError, ValueError):
        # A map has a key twice, a struct a name, or a text is not UTF-8.
        return [_nested_value(value) for value in values]
    return found


def _nested_value(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    if isinstance(value, pa.MapScalar):
        keys, items = (map(_nested_value, value.values.field(at)) for at in range(2))
        return RepeatedKeys(zip(keys, items, strict=True))
    if isinstance(value, pa.StructScalar):
        return RepeatedKeys((name, _nested_value(value[at])) for at, name in enumerate(value))
    if isinstance(value, pa.ListScalar):
        return [_nested_value(item) for item in value.values]
    if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
        # What is not UTF-8 becomes halves of surrogate pairs, which JSON does not take either.
        return value.as_buffer().to_pybytes().decode(errors="surrogateescape")
    return value.as_py()
