"""A collection's fields, as REST names them, and how Milvus Lite keeps them.

Milvus Lite has no binary, half-precision and int8 vectors: it keeps them as base64 in a VARCHAR
here, beside a hidden sparse vector where it would lack one. Such collections are made by REST only;
by gRPC they are refused, as Lite does.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from milvus_lite.schema import types as lite
from milvus_lite.schema.arrow_builder import _arrow_type
from pymilvus.grpc_gen import schema_pb2

META = "$meta"
HIDDEN = "emulator_vector"

_LITE_TYPES = {
    "Bool": lite.DataType.BOOL,
    "Int8": lite.DataType.INT8,
    "Int16": lite.DataType.INT16,
    "Int32": lite.DataType.INT32,
    "Int64": lite.DataType.INT64,
    "Float": lite.DataType.FLOAT,
    "Double": lite.DataType.DOUBLE,
    "VarChar": lite.DataType.VARCHAR,
    "JSON": lite.DataType.JSON,
    "Array": lite.DataType.ARRAY,
    "Geometry": lite.DataType.GEOMETRY,
    "Timestamptz": lite.DataType.TIMESTAMPTZ,
    "FloatVector": lite.DataType.FLOAT_VECTOR,
    "SparseFloatVector": lite.DataType.SPARSE_FLOAT_VECTOR,
}
_NAMES = {kind: name for name, kind in _LITE_TYPES.items()}
# Bytes of one vector by its dimension, of the types that Lite lacks.
_BYTES = {
    "BinaryVector": lambda dim: dim // 8,
    "Float16Vector": lambda dim: 2 * dim,
    "BFloat16Vector": lambda dim: 2 * dim,
    "Int8Vector": lambda dim: dim,
}
TYPES = frozenset(_LITE_TYPES) | frozenset(_BYTES)
TEXT = frozenset({"VarChar", "JSON", "Geometry", "Timestamptz"})


@dataclass(frozen=True)
class Field:
    """One field. `type` and `element` are names of REST: ``Int64``, ``FloatVector``."""

    name: str
    type: str
    primary: bool = False
    auto_id: bool = False
    partition_key: bool = False
    nullable: bool = False
    default: Any = None
    dim: int | None = None
    max_length: int | None = None
    max_capacity: int | None = None
    element: str | None = None
    function_output: bool = False

    @property
    def is_vector(self) -> bool:
        return self.type.endswith("Vector")

    @property
    def width(self) -> int | None:
        """The bytes of a vector of a type that Lite lacks; None for any other field."""
        bytes_of = _BYTES.get(self.type)
        return bytes_of(self.dim) if bytes_of else None

    @property
    def optional(self) -> bool:
        """Whether a file may be without it."""
        generated = self.function_output or (self.primary and self.auto_id)
        return generated or self.nullable or self.default is not None

    @property
    def arrow(self) -> pa.DataType:
        """The column that readers make of it; `stored` makes Lite's of that."""
        return pa.binary(self.width) if self.width else _arrow_type(self.to_lite())

    def stored(self, column: pa.Array) -> pa.Array:
        """A column as Lite keeps it."""
        if not self.width:
            return column
        texts = [v if v is None else base64.b64encode(v).decode() for v in column.to_pylist()]
        return pa.array(texts, pa.string())

    def to_lite(self) -> lite.FieldSchema:
        return lite.FieldSchema(
            name=self.name,
            dtype=_LITE_TYPES.get(self.type, lite.DataType.VARCHAR),
            is_primary=self.primary,
            auto_id=self.auto_id,
            dim=self.dim if self.type == "FloatVector" else None,
            max_length=self.max_length,
            element_type=_LITE_TYPES[self.element] if self.element else None,
            max_capacity=self.max_capacity,
            nullable=self.nullable,
            default_value=self.default,
            is_partition_key=self.partition_key,
        )


@dataclass(frozen=True)
class Schema:
    """The fields of a collection, in order."""

    fields: tuple[Field, ...]
    dynamic: bool = False

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    @property
    def given(self) -> tuple[Field, ...]:
        """What a file may carry."""
        return tuple(field for field in self.fields if not field.function_output)

    def to_lite(self) -> lite.CollectionSchema:
        fields = [field.to_lite() for field in self.fields]
        if not any(field.type in ("FloatVector", "SparseFloatVector") for field in self.fields):
            hidden = lite.DataType.SPARSE_FLOAT_VECTOR
            fields.append(lite.FieldSchema(name=HIDDEN, dtype=hidden, nullable=True))
        return lite.CollectionSchema(fields=fields, enable_dynamic_field=self.dynamic)


def of_lite(schema: lite.CollectionSchema, declared: dict[str, Field]) -> Schema:
    """The schema of a collection of Lite.

    Args:
        declared: fields as they were asked for, by name, where that is known: Lite forgets some.
    """
    fields = [
        declared.get(field.name) or _of_lite(field)
        for field in schema.fields
        if field.name != HIDDEN
    ]
    return Schema(tuple(fields), schema.enable_dynamic_field)


def _of_lite(field: lite.FieldSchema) -> Field:
    return Field(
        name=field.name,
        type=_NAMES[field.dtype],
        primary=field.is_primary,
        auto_id=field.auto_id,
        partition_key=field.is_partition_key,
        nullable=field.nullable,
        default=field.default_value,
        dim=field.dim,
        max_length=field.max_length,
        max_capacity=field.max_capacity,
        element=_NAMES[field.element_type] if field.element_type else None,
        function_output=field.is_function_output,
    )


def of_request(schema: dict[str, Any]) -> Schema:
    """The schema that a request of ``/v2/vectordb/collections/create`` asks for."""
    fields = []
    for field in schema["fields"]:
        params = field.get("elementTypeParams") or {}
        primary = bool(field.get("isPrimary"))
        fields.append(
            Field(
                name=field["fieldName"],
                type=field["dataType"],
                primary=primary,
                auto_id=primary and bool(schema.get("autoID") or schema.get("autoId")),
                partition_key=bool(field.get("isPartitionKey")),
                nullable=bool(field.get("nullable")),
                default=field.get("defaultValue"),
                element=field.get("elementDataType"),
                **{
                    name: int(params[name])
                    for name in ("dim", "max_length", "max_capacity")
                    if name in params
                },
            )
        )
    return Schema(tuple(fields), bool(schema.get("enableDynamicField")))


def of_message(field: Any) -> Field:
    """A field of a gRPC request to create a collection; without its default."""
    params = {pair.key: pair.value for pair in field.type_params}
    return Field(
        name=field.name,
        type=_name(field.data_type),
        primary=field.is_primary_key,
        nullable=field.nullable,
        element=_name(field.element_type) if field.element_type else None,
        **{
            name: int(params[name])
            for name in ("dim", "max_length", "max_capacity")
            if name in params
        },
    )


def _name(number: int) -> str:
    return schema_pb2.DataType.Name(number)
