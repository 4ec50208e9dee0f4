"""A collection as its server describes it, in the words of `airlift.schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.descriptions import consistency_name, own_properties
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field


def described(database: MilvusDatabase, name: str) -> tuple[CollectionSchema, list[str], list[str]]:
    """Describes a collection.

    Returns:
        Its schema, notes for the user, and reasons why it can't be carried.
    """
    told = database.describe(name)
    notes: list[str] = []
    reasons: list[str] = []
    # What a function makes is made anew on the target, or not at all: it is no data.
    made = {
        one for function in told.get("functions") or () for one in function["output_field_names"]
    }
    if made:
        reasons.append(
            f"the fields {sorted(made)} are made by functions, which are not carried yet; leave "
            "the collection out by `collections`"
        )
    indexes = database.indexes(name)
    fields = []
    for field in told["fields"]:
        kind = field["type"].name
        if kind not in DataType.__members__ or field["name"] in made:
            reasons.append(f"the field {field['name']!r} is of the type {kind}, not known here")
            continue
        fields.append(_field(field, indexes))
        if field.get("default_value"):
            notes.append(
                f"the default value of the field {field['name']!r} is not carried (rows have it "
                "already); give it with mapping default"
            )
    if told.get("enable_dynamic_field"):
        fields.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
    partitions = [one for one in database.partitions(name) if one != "_default"]
    if any(field.partition_key for field in fields):
        partitions = []
    properties = own_properties(told.get("properties") or {})
    if properties:
        notes.append(f"the properties {properties} come along")
    schema = CollectionSchema(
        name=name,
        fields=tuple(fields),
        partitions=tuple(sorted(partitions)),
        dynamic_field=bool(told.get("enable_dynamic_field")),
        shards=int(told.get("num_shards") or 1),
        consistency_level=consistency_name(told.get("consistency_level", 2)),
        description=str(told.get("description") or ""),
        properties=properties,
        aliases=tuple(sorted(database.aliases(name))),
    )
    return schema, notes, [f"collection {name!r}: {reason}" for reason in reasons]


def _field(told: Mapping[str, Any], indexes: Mapping[str, Mapping[str, Any]]) -> Field:
    kind = DataType(told["type"].name)
    params = told.get("params") or {}
    element = told.get("element_type")
    index = indexes.get(told["name"])
    metric = str(index["metric_type"]) if index and TYPES[kind].is_vector else None
    return Field(
        name=told["name"],
        type=kind,
        dim=int(params.get("dim") or 0),
        max_length=int(params.get("max_length") or 0),
        element_type=DataType(element.name) if element and kind is DataType.ARRAY else None,
        max_capacity=int(params.get("max_capacity") or 0),
        nullable=bool(told.get("nullable")),
        primary_key=bool(told.get("is_primary")),
        partition_key=bool(told.get("is_partition_key")),
        metric_type=metric,
        index=_definition(index) if index and TYPES[kind].is_vector else None,
        description=str(told.get("description") or ""),
    )


def _definition(index: Mapping[str, Any]) -> dict[str, Any]:
    """An index as `airlift.params.IndexParams` has it, from what a server tells of one."""
    told = ("index_type", "metric_type", "field_name", "index_name", "params", "mmap_enabled")
    state = ("total_rows", "indexed_rows", "pending_index_rows", "state", "index_state_fail_reason")
    params = {key: value for key, value in index.items() if key not in (*told, *state)}
    return {"index_type": index["index_type"], "params": {**params, **(index.get("params") or {})}}
