"""A collection as its server describes it, in the words of `airlift.schema`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from airlift.datatypes import TYPES, DataType
from airlift.milvus.database import MilvusDatabase
from airlift.milvus.descriptions import (
    DEFAULT_PARTITION,
    consistency_name,
    own_properties,
    partitions_by_key,
    property_notes,
)
from airlift.names import with_database
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field, Function

# What `describe_collection` says of collections of other kinds.
_OTHER_KINDS = {
    "external_source": "is an external collection",
    "enable_namespace": "spreads its rows over namespaces",
}
_LIMITS = ("dim", "max_length", "max_capacity")


def described(
    database: MilvusDatabase, name: str, prefix: str = ""
) -> tuple[CollectionSchema, list[str], list[str]]:
    """Describes a collection.

    Args:
        prefix: the database, where the names must tell it.

    Returns:
        Its schema, notes for the user, and reasons why it can't be carried.
    """
    told = database.describe(name)
    held = database.indexes(name)
    indexes = {index["field_name"]: index for index in held}
    fields: list[Field] = []
    notes: list[str] = []
    reasons = [
        f"it {what}, which is not known here" for key, what in _OTHER_KINDS.items() if told.get(key)
    ]
    for field in told["fields"]:
        if reason := _reason_against(field):
            reasons.append(reason)
            continue
        fields.append(_field(field, indexes))
        if field.get("nullable") and field.get("default_value") is not None:
            notes.append(
                f"the field {field['name']!r}: its default value is left out: the target would put "
                "it in place of nulls"
            )
    notes += _index_notes(held)
    if told.get("enable_dynamic_field"):
        fields.append(Field(name=DYNAMIC_FIELD, type=DataType.JSON))
    partitions = database.partitions(name)
    by_key = 0
    if any(field.partition_key for field in fields):
        by_key = partitions_by_key(partitions, int(told.get("num_partitions") or 0))
        partitions = []
    notes += property_notes(told.get("properties") or {})
    schema = CollectionSchema(
        name=with_database(prefix, name),
        database=prefix,
        fields=tuple(fields),
        functions=tuple(_function(one) for one in told.get("functions") or ()),
        partitions=tuple(sorted(one for one in partitions if one != DEFAULT_PARTITION)),
        num_partitions=by_key,
        makes_keys=any(field.get("auto_id") for field in told["fields"]),
        dynamic_field=bool(told.get("enable_dynamic_field")),
        shards=int(told.get("num_shards") or 1),
        consistency_level=consistency_name(told.get("consistency_level", 2)),
        description=str(told.get("description") or ""),
        properties=own_properties(told.get("properties") or {}),
        aliases=tuple(sorted(database.aliases(name))),
    )
    return schema, notes, [f"collection {schema.name!r}: {reason}" for reason in reasons]


def _reason_against(field: dict[str, Any]) -> str:
    """Why a field can't be carried; "" when it can."""
    kind, element = field["type"].name, field.get("element_type")
    if kind not in DataType.__members__:
        return f"the field {field['name']!r} is of the type {kind}, not known here"
    if kind == "ARRAY" and element and element.name not in DataType.__members__:
        return f"the field {field['name']!r} is an array of {element.name}, not known here"
    return ""


def _index_notes(indexes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of several indexes on a field, such as those on paths of a JSON, one comes along."""
    counts = Counter(index["field_name"] for index in indexes)
    several = [field for field, count in counts.items() if count > 1]
    if not several:
        return []
    return [
        f"the fields {sorted(several)} have several indexes each, such as those on paths of a "
        "JSON: with index source one of them comes along; make the others on the target"
    ]


def _field(told: Mapping[str, Any], indexes: Mapping[str, Mapping[str, Any]]) -> Field:
    kind = DataType(told["type"].name)
    params = told.get("params") or {}
    element = told.get("element_type")
    index = indexes.get(told["name"])
    made = bool(told.get("is_function_output"))
    metric = "BM25" if made and kind is DataType.SPARSE_FLOAT_VECTOR else None
    if index and TYPES[kind].is_vector:
        metric = str(index["metric_type"])
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
        clustering_key=bool(told.get("is_clustering_key")),
        is_function_output=made,
        default=_default(told),
        metric_type=metric,
        index=_definition(index) if index else None,
        params={key: value for key, value in params.items() if key not in _LIMITS},
        description=str(told.get("description") or ""),
    )


def _default(told: Mapping[str, Any]) -> Any:
    """A field's default value; None where nulls would become it, which would alter rows."""
    value = told.get("default_value")
    if value is None or told.get("nullable"):
        return None
    return getattr(value, value.WhichOneof("data"))


def _function(told: Mapping[str, Any]) -> Function:
    return Function(
        name=told["name"],
        type=told["type"].name,
        inputs=tuple(told["input_field_names"]),
        outputs=tuple(told["output_field_names"]),
        params=told.get("params") or {},
        description=str(told.get("description") or ""),
    )


def _definition(index: Mapping[str, Any]) -> dict[str, Any]:
    """An index as `airlift.params.IndexParams` has it, from what a server tells of one."""
    told = ("index_type", "metric_type", "field_name", "index_name", "params", "mmap_enabled")
    state = ("total_rows", "indexed_rows", "pending_index_rows", "state", "index_state_fail_reason")
    params = {key: value for key, value in index.items() if key not in (*told, *state)}
    return {"index_type": index["index_type"], "params": {**params, **(index.get("params") or {})}}
