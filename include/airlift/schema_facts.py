"""A collection's definition as flat facts, planned and described, so that they can be compared.

A fact is known by its place ("" for the collection itself, or such as `field 'year'`) and its name.
The names are those of `airlift.schema`, with two more: `item_max_length` is the `max_length` of an
array's texts, and `params.<key>` and `properties.<key>` are entries of these mappings. A server's
own way of writing a value (`"true"`, JSON as text, numbers as text) is no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from airlift.datatypes import DataType
from airlift.milvus.descriptions import (
    DEFAULT_PARTITION,
    consistency_name,
    own_properties,
    partitions_by_key,
)
from airlift.schema import CollectionSchema, Field

Key = tuple[str, str]
Facts = dict[Key, Any]

_LIMITS = ("dim", "max_length", "max_capacity")


class Difference(NamedTuple):
    """What a server did not make as it was asked to.

    Attributes:
        place: such as `field 'year'`; "" for the collection itself.
        name: of the fact.
    """

    place: str
    name: str
    planned: Any
    found: Any

    def __str__(self) -> str:
        what = f"{self.place}: " if self.place else ""
        return f"{what}{self.name}: planned {self.planned!r}, found {self.found!r}"


def planned_facts(schema: CollectionSchema) -> Facts:
    """The facts of a collection that is to be made."""
    facts: Facts = {
        ("", "fields"): [field.name for field in schema.fields if not field.is_dynamic],
        ("", "dynamic_field"): bool(schema.dynamic_field),
        ("", "functions"): sorted(function.name for function in schema.functions),
        ("", "partitions"): sorted(schema.partitions),
        ("", "shards"): schema.shards,
        ("", "consistency_level"): schema.consistency_level,
        ("", "description"): schema.description,
    }
    if schema.num_partitions:
        facts["", "num_partitions"] = schema.num_partitions
    for key, value in schema.properties.items():
        facts["", f"properties.{key}"] = _plain(value)
    for field in schema.fields:
        if not field.is_dynamic:
            facts |= _planned_field(field)
    for function in schema.functions:
        place = f"function {function.name!r}"
        facts |= {
            (place, "type"): function.type,
            (place, "inputs"): list(function.inputs),
            (place, "outputs"): list(function.outputs),
            (place, "description"): function.description,
        }
        facts |= _mapping_facts(place, "params", function.params)
    return facts


def described_facts(described: Mapping[str, Any], partitions: Iterable[str]) -> Facts:
    """The facts of a collection that a server describes.

    Args:
        described: as pymilvus' `describe_collection` gives it.
        partitions: names of all its partitions.
    """
    fields, functions = described["fields"], described.get("functions") or []
    keyed = any(field.get("is_partition_key") for field in fields)
    all_names = list(partitions)
    names = [name for name in all_names if name != DEFAULT_PARTITION]
    facts: Facts = {
        ("", "fields"): [field["name"] for field in fields],
        ("", "dynamic_field"): bool(described.get("enable_dynamic_field")),
        ("", "functions"): sorted(function["name"] for function in functions),
        ("", "partitions"): [] if keyed else sorted(names),
        ("", "shards"): int(described.get("num_shards") or 1),
        ("", "consistency_level"): consistency_name(described.get("consistency_level")),
        ("", "description"): str(described.get("description") or ""),
    }
    if keyed:
        said = int(described.get("num_partitions") or 0)
        facts["", "num_partitions"] = partitions_by_key(all_names, said)
    for key, value in own_properties(described.get("properties") or {}).items():
        facts["", f"properties.{key}"] = _plain(value)
    for field in fields:
        facts |= _described_field(field)
    for function in functions:
        place = f"function {function['name']!r}"
        facts |= {
            (place, "type"): function["type"].name,
            (place, "inputs"): list(function["input_field_names"]),
            (place, "outputs"): list(function["output_field_names"]),
            (place, "description"): str(function.get("description") or ""),
        }
        facts |= _mapping_facts(place, "params", function.get("params") or {})
    return facts


def compare_facts(planned: Facts, found: Facts) -> list[Difference]:
    """What differs; of a field or a function that one side lacks only that it does."""
    whole = [("", "fields"), ("", "functions")]
    missing = {place for place, _ in planned} ^ {place for place, _ in found}
    return [
        Difference(*key, planned.get(key), found.get(key))
        for key in sorted(planned.keys() | found.keys(), key=lambda key: (key not in whole, key))
        if key[0] not in missing and planned.get(key) != found.get(key)
    ]


def compare_indexes(planned: Facts, found: Facts) -> list[Difference]:
    """What differs of the indexes that were asked for; an index of type "" is not there."""
    places = {place for place, _ in found}
    missing = {
        key: value
        for key, value in planned.items()
        if key[0] not in places and key[1] == "index_type"
    }
    there = {key: value for key, value in planned.items() if key[0] in places}
    held = {key: found.get(key, "") for key in there}
    return compare_facts(missing | there, dict.fromkeys(missing, "") | held)


def index_facts(field: str, index_type: str, metric: str, params: Mapping[str, Any]) -> Facts:
    """The facts of an index that is to be built; the metric is "" for a scalar field."""
    place = f"index on {field!r}"
    facts: Facts = {(place, "index_type"): index_type}
    if metric:
        facts[place, "metric_type"] = metric
    return facts | _mapping_facts(place, "index_params", params)


def described_index_facts(index: Mapping[str, Any]) -> Facts:
    """The facts of an index as pymilvus' `describe_index` gives it."""
    place = f"index on {index['field_name']!r}"
    facts: Facts = {(place, "index_type"): str(index.get("index_type", ""))}
    if index.get("metric_type"):
        facts[place, "metric_type"] = str(index["metric_type"])
    inner = index.get("params")
    params = {**index, **(inner if isinstance(inner, Mapping) else {})}
    return facts | _mapping_facts(place, "index_params", params)


def _planned_field(field: Field) -> Facts:
    is_array = field.type is DataType.ARRAY
    length = "item_max_length" if is_array else "max_length"
    facts = {
        "type": field.type.value,
        "dim": field.dim,
        length: field.max_length,
        "max_capacity": field.max_capacity,
        "element_type": field.element_type.value if field.element_type else "",
        "nullable": field.nullable,
        "default": _default(field.type.value, field.default),
        "primary_key": field.primary_key,
        "auto_id": field.auto_id,
        "partition_key": field.partition_key,
        "clustering_key": field.clustering_key,
        "is_function_output": field.is_function_output,
        "description": field.description,
    }
    place = f"field {field.name!r}"
    return _placed(place, facts) | _mapping_facts(place, "params", field.params)


def _described_field(field: Mapping[str, Any]) -> Facts:
    kind, params = field["type"].name, field.get("params") or {}
    is_array = kind == DataType.ARRAY.value
    element, default = field.get("element_type"), field.get("default_value")
    facts = {
        "type": kind,
        "dim": int(params.get("dim") or 0),
        "item_max_length" if is_array else "max_length": int(params.get("max_length") or 0),
        "max_capacity": int(params.get("max_capacity") or 0),
        "element_type": element.name if element and is_array else "",
        "nullable": bool(field.get("nullable")),
        "default": _default(kind, default and getattr(default, default.WhichOneof("data"))),
        "primary_key": bool(field.get("is_primary")),
        "auto_id": bool(field.get("auto_id")),
        "partition_key": bool(field.get("is_partition_key")),
        "clustering_key": bool(field.get("is_clustering_key")),
        "is_function_output": bool(field.get("is_function_output")),
        "description": str(field.get("description") or ""),
    }
    place = f"field {field['name']!r}"
    others = {key: value for key, value in params.items() if key not in _LIMITS}
    return _placed(place, facts) | _mapping_facts(place, "params", others)


def _placed(place: str, facts: Mapping[str, Any]) -> Facts:
    return {(place, name): value for name, value in facts.items()}


def _mapping_facts(place: str, name: str, values: Mapping[str, Any]) -> Facts:
    return {(place, f"{name}.{key}"): _plain(value) for key, value in values.items()}


def _default(kind: str, value: Any) -> Any:
    """A default value as the server keeps it: a FLOAT in single precision."""
    if value is not None and kind == DataType.FLOAT.value:
        return float(np.float32(value))
    return value


def _plain(value: Any) -> str:
    """A setting as text, whichever way it is written."""
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return value.lower()
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
