"""Compares a planned collection with what a target takes by default.

A server may be configured to take more, so where it can be asked, its own answer counts: see
`airlift.steps.schema_probe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from airlift.datatypes import DataType
from airlift.mapping import MappedCollection
from airlift.milvus.capabilities import Capabilities
from airlift.params import IndexParams
from airlift.schema import CollectionSchema, Field

FieldIndex = tuple[Field, IndexParams]


def limit_reasons(
    mapped: MappedCollection, indexes: Iterable[FieldIndex], can: Capabilities, target: str
) -> list[str]:
    """Why a target does not take a collection, as far as is known without asking it.

    Args:
        indexes: those that are to be built on its fields.
        target: what the target says it is, for messages.
    """
    what = f"collection {mapped.source!r}"
    return [
        f"{what}: {reason}"
        for reason in (
            *_size_reasons(mapped.target, can, target),
            *_field_reasons(mapped, can, target),
            *(
                reason
                for field, index in indexes
                if field.is_vector
                for reason in _index_reasons(field, index, can, target)
            ),
        )
    ]


def key_name_reasons(mapped: MappedCollection, can: Capabilities, target: str) -> list[str]:
    """Why rows could not be looked up by their primary key, though the target takes them.

    Args:
        can: what the target's version can do.
        target: what the target says it is.
    """
    key = mapped.target.primary_key.name
    if key.lower() not in can.filter_words:
        return []
    return [
        f"collection {mapped.source!r}: primary key {key!r}: this is a word of the filter "
        f"expressions of {target}, so rows could not be looked up by their keys; rename it with "
        f'mapping fields [{{"source": {mapped.key!r}, "target": ...}}]'
    ]


def _size_reasons(schema: CollectionSchema, can: Capabilities, target: str) -> Iterator[str]:
    """What a collection has too many of."""
    limits = can.limits
    fields = [field for field in schema.fields if not field.is_dynamic]
    if len(fields) > limits.fields:
        yield (
            f"it has {len(fields):,} fields, {target} takes at most {limits.fields}; leave fields "
            "out with mapping exclude, or send scalar fields to the dynamic field with targets "
            "such as $meta.<key>"
        )
    if len(schema.vectors) > limits.vectors:
        names = [field.name for field in schema.vectors]
        yield (
            f"it has {len(names)} vector fields {names}, {target} takes at most {limits.vectors}; "
            "choose with mapping exclude, and move the others with another migration"
        )
    if schema.shards > limits.shards:
        yield (
            f"it would get {schema.shards} shards, {target} takes at most {limits.shards}; say a "
            "number with mapping shards"
        )
    if schema.num_partitions > limits.partitions:
        yield (
            f"it would get {schema.num_partitions:,} partitions by its partition key, {target} "
            f"takes at most {limits.partitions:,}; say a number with mapping num_partitions"
        )
    partitions = len(schema.partitions) + 1
    if partitions > limits.partitions:
        yield (
            f"it has {partitions:,} partitions, _default among them, {target} takes at most "
            f"{limits.partitions:,}; choose with mapping partitions, or give a field partition_key "
            "in their place (with allow_lossy, as the names are lost)"
        )


def _field_reasons(mapped: MappedCollection, can: Capabilities, target: str) -> Iterator[str]:
    """Which of its fields can't be made."""
    source_of = {name: source for source, name in mapped.fields.items()}
    for field in mapped.target.fields:
        if field.name in can.reserved_names:
            source = source_of.get(field.name, field.name)
            yield (
                f"field {field.name!r}: {target} keeps this name for itself; rename it with "
                f'mapping fields [{{"source": {source!r}, "target": ...}}]'
            )
        is_binary = field.type is DataType.BINARY_VECTOR
        most = can.limits.binary_dim if is_binary else can.limits.dim
        if field.dim > most:
            yield (
                f"field {field.name!r}: its vectors have {field.dim:,} dimensions, {target} takes "
                f"at most {most:,}; leave it out with mapping exclude"
            )


def _index_reasons(
    field: Field, index: IndexParams, can: Capabilities, target: str
) -> Iterator[str]:
    """Why an index can't be built on a vector field."""
    name = index.index_type
    known = can.index_types.get(name)
    what = f"index on {field.name!r}"
    if known is None:
        if can.newer_index_types:
            return
        names = sorted(
            kind for kind, one in can.index_types.items() if field.type in one.data_types
        )
        near = get_close_matches(name.upper(), names, n=1, cutoff=0.7)
        hint = f" (did you mean {near[0]}?)" if near else ""
        yield (
            f"{what}: {target} has no index type {name!r}{hint}; for {field.type} fields it has "
            f"{', '.join(names)}; choose with index"
        )
        return
    for fault in known.faults(field.dim, index.params):
        yield f"{what}: {name} on {target}: {fault}; correct it in index"
