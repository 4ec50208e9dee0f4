"""A collection as a backup describes it, in the words of `airlift.schema`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.milvus.descriptions import (
    DEFAULT_PARTITION,
    consistency_name,
    is_consistency_level,
    own_properties,
    partitions_by_key,
    property_notes,
)
from airlift.milvus.scalar_slots import SCALAR_SLOTS
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field, Function
from airlift.sources.backup.meta import CollectionMeta, FieldMeta, IndexMeta
from airlift.sources.backup.unknown_keys import in_collection
from airlift.sources.backup.validation import refuse_collection

_NOT_LOADED = "NotLoad"
_LIMITS = ("dim", "max_length", "max_capacity")
# The numbers of Milvus' schema.proto.
_TYPES = {
    1: DataType.BOOL,
    2: DataType.INT8,
    3: DataType.INT16,
    4: DataType.INT32,
    5: DataType.INT64,
    10: DataType.FLOAT,
    11: DataType.DOUBLE,
    21: DataType.VARCHAR,
    22: DataType.ARRAY,
    23: DataType.JSON,
    100: DataType.BINARY_VECTOR,
    101: DataType.FLOAT_VECTOR,
    102: DataType.FLOAT16_VECTOR,
    103: DataType.BFLOAT16_VECTOR,
    104: DataType.SPARSE_FLOAT_VECTOR,
    105: DataType.INT8_VECTOR,
}
# Names as pymilvus spells them.
_FUNCTIONS = {1: "BM25", 2: "TEXTEMBEDDING", 3: "RERANK", 4: "MINHASH"}
_UNKNOWN_TYPES = {
    20: "String",
    24: "Geometry",
    25: "Text",
    26: "Timestamptz",
    106: "ArrayOfVector",
    200: "ArrayOfStruct",
    201: "Struct",
}


class Description:
    """What becomes of a collection's metadata.

    Args:
        name: as the collection is called among all of the backup.
        database: that the name begins with; "" where the backup has only one.

    Attributes:
        schema: the collection, as far as it is understood.
        ids: field name -> id.
        notes, reasons: what the user should know, and why it can't be moved.
    """

    def __init__(self, meta: CollectionMeta, name: str, database: str) -> None:
        self.notes: list[str] = []
        self.reasons: list[str] = []
        self._meta = meta
        self._name = name
        self._database = database
        told = meta.schema_meta
        self._indexes = {one.field_name: one for one in meta.index_infos}
        for reason in refuse_collection(meta):
            self._refuse(reason)
        self.reasons += in_collection(meta, name)
        if structs := [one.name for one in told.struct_array_fields]:
            self._refuse(f"the fields {structs} are arrays of structs, not known here")
        fields, self.ids = [], {}
        for one in told.fields:
            if one.is_dynamic:
                self.ids[DYNAMIC_FIELD] = one.field_id
            elif field := self._field(one):
                fields.append(field)
                self.ids[field.name] = one.field_id
        if sum(field.primary_key for field in fields) != 1 and not self.reasons:
            self._refuse("its schema has not exactly one primary key")
        if told.enable_dynamic_field:
            fields.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
        self.schema = self._collection(tuple(fields))

    @property
    def partitions(self) -> dict[int, tuple[str, str]]:
        """Partition id -> its name, and that of the one its rows go to ("" the default one)."""
        return {
            one.partition_id: (
                one.partition_name,
                one.partition_name if one.partition_name in self.schema.partitions else "",
            )
            for one in self._meta.partition_backups
        }

    def _refuse(self, reason: str) -> None:
        self.reasons.append(f"collection {self._name!r}: {reason}")

    def _collection(self, fields: tuple[Field, ...]) -> CollectionSchema:
        meta = self._meta
        told = {one.key: one.value for one in (*meta.schema_meta.properties, *meta.properties)}
        self.notes += property_notes(told)
        if not is_consistency_level(meta.consistency_level):
            self.notes.append(
                f"no collection can be created with the consistency level "
                f"{meta.consistency_level}: the target gets Bounded, or what consistency_level in "
                "mapping says"
            )
        if meta.load_state == _NOT_LOADED:
            self.notes.append("not loaded at the source; the target is loaded unless load is off")
        by_key = any(field.partition_key for field in fields)
        names = {one.partition_name for one in meta.partition_backups} - {DEFAULT_PARTITION}
        return CollectionSchema(
            name=self._name,
            database=self._database,
            fields=fields,
            functions=tuple(self._functions()),
            partitions=() if by_key else tuple(sorted(names)),
            num_partitions=partitions_by_key(names) if by_key else 0,
            makes_keys=meta.schema_meta.auto_id
            or any(one.auto_id for one in meta.schema_meta.fields),
            dynamic_field=meta.schema_meta.enable_dynamic_field,
            shards=max(meta.shards_num, 1),
            consistency_level=consistency_name(meta.consistency_level),
            description=meta.schema_meta.description,
            properties=own_properties(told),
            aliases=tuple(sorted(meta.aliases)),
        )

    def _functions(self) -> Iterator[Function]:
        for one in self._meta.schema_meta.functions:
            if one.type not in _FUNCTIONS:
                self._refuse(f"the function {one.name!r} is of the type {one.type}, not known here")
                continue
            yield Function(
                name=one.name,
                type=_FUNCTIONS[one.type],
                inputs=one.input_field_names,
                outputs=one.output_field_names,
                params={pair.key: pair.value for pair in one.params},
                description=one.description,
            )

    def _field(self, one: FieldMeta) -> Field | None:
        kind = _TYPES.get(one.data_type)
        element = _TYPES.get(one.element_type)
        if kind is None or (kind is DataType.ARRAY and element not in SCALAR_SLOTS):
            number = one.data_type if kind is None else one.element_type
            self._refuse(
                f"the field {one.name!r} is of the type {_UNKNOWN_TYPES.get(number, number)}, "
                "not known here"
            )
            return None
        if one.state:
            self._refuse(f"the field {one.name!r} was being made or dropped: back it up again")
            return None
        params: dict[str, Any] = {pair.key: pair.value for pair in one.type_params}
        if "mmap.enabled" in params:  # as pymilvus has it
            params["mmap_enabled"] = params.pop("mmap.enabled").lower() != "false"
        try:
            sizes = {key: int(params.pop(key, 0) or 0) for key in _LIMITS}
        except ValueError as error:
            self._refuse(f"the field {one.name!r}: {error}")
            return None
        if TYPES[kind].width and TYPES[kind].is_vector and not 0 < sizes["dim"] <= 1 << 18:
            self._refuse(f"the field {one.name!r} has {sizes['dim']} dimensions")
            return None
        index = self._indexes.get(one.name)
        if index and "mmap.enabled" in index.params:
            self.notes.append(
                f"the field {one.name!r}: mmap of its index is not carried over; set it on the "
                "target with alter_index_properties"
            )
        return Field(
            name=one.name,
            type=kind,
            dim=sizes["dim"],
            max_length=sizes["max_length"],
            element_type=element if kind is DataType.ARRAY else None,
            max_capacity=sizes["max_capacity"],
            nullable=one.nullable,
            default=self._default(one, kind),
            primary_key=one.is_primary_key,
            partition_key=one.is_partition_key,
            is_function_output=one.is_function_output,
            metric_type=self._metric(one, kind),
            index=_definition(index),
            params=params,
            description=one.description,
        )

    def _metric(self, one: FieldMeta, kind: DataType) -> str | None:
        index = self._indexes.get(one.name)
        if not TYPES[kind].is_vector:
            return None
        if index is None:
            made = one.is_function_output and kind is DataType.SPARSE_FLOAT_VECTOR
            return "BM25" if made else None
        told = index.params.get("metric_type") or _index_params(index).get("metric_type")
        return str(told) if told else None

    def _default(self, one: FieldMeta, kind: DataType) -> Any:
        """The value for rows without one: a ValueField message."""
        if not one.default_value_base64 and not one.default_value_proto:
            return None
        from google.protobuf.message import DecodeError
        from pymilvus.grpc_gen.schema_pb2 import ValueField

        try:
            data = base64.b64decode(one.default_value_base64, validate=True)
            value = ValueField.FromString(data or one.default_value_proto.encode())
            slot = value.WhichOneof("data")
            if slot != SCALAR_SLOTS.get(kind):
                raise ValueError(f"it is of {slot}")
            return getattr(value, slot)
        except (DecodeError, binascii.Error, ValueError) as error:
            self._refuse(f"the default value of the field {one.name!r} can't be read: {error}")
            return None


def _index_params(index: IndexMeta) -> dict[str, Any]:
    """An index's own params: beside its type, or as JSON in one of them."""
    told: dict[str, Any] = {
        key: value
        for key, value in index.params.items()
        if key not in ("index_type", "metric_type", "params", "mmap.enabled")
    }
    try:
        inner = json.loads(index.params.get("params") or "{}")
    except ValueError:
        inner = {}
    return told | (inner if isinstance(inner, dict) else {})


def _definition(index: IndexMeta | None) -> dict[str, Any] | None:
    """The index as `airlift.params.IndexParams` has it."""
    if index is None:
        return None
    params = _index_params(index)
    kind = index.index_type or index.params.get("index_type") or params.pop("index_type", "")
    params.pop("metric_type", None)
    return {"index_type": kind, "params": params} if kind else None
