"""From a source collection and the user's mapping to the collection that the target gets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from airlift.datatypes import TYPES, DataType
from airlift.errors import Refused
from airlift.names import collisions, is_valid, sanitized
from airlift.params import CollectionMapping, FieldMapping, MigrationParams
from airlift.schema import CollectionSchema, Field, SourceCollection

_RETYPES = {
    DataType.INT64: {DataType.VARCHAR, DataType.DOUBLE},
    DataType.INT32: {DataType.INT64, DataType.VARCHAR, DataType.DOUBLE},
}
"""Scalar type changes that keep every value exactly (ranges are checked while converting)."""

_INTEGER_LENGTH = 20
"""Bytes of the longest 64-bit integer as text."""


class MappedCollection(BaseModel):
    """What becomes of one source collection.

    Attributes:
        source: its name at the source.
        target: the collection to make on the target.
        alias: the alias to switch to it once verified; empty for none.
        fields: source field name -> target field name, for the fields that are written.
        types: source field name -> its type at the source.
        into_dynamic: source field name -> key in the dynamic field, for those that go there; see
            `airlift.fitting`.
        partitions: source partition -> target partition ("" is the default one), those chosen.
        notes: changes that the user should know of, e.g. a name that was changed.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    target: CollectionSchema
    alias: str = ""
    fields: dict[str, str]
    types: dict[str, DataType] = {}
    into_dynamic: dict[str, str] = {}
    partitions: dict[str, str]
    notes: tuple[str, ...] = ()


def map_collections(
    collections: list[SourceCollection], params: MigrationParams, migration_id: str
) -> list[MappedCollection]:
    """Applies the mapping to every collection.

    Raises:
        Refused: with every reason, when the mapping does not fit what the source holds.
    """
    reasons: list[str] = []
    known = {collection.name for collection in collections}
    reasons += [
        f"mapping names the collection {name!r}, which the source does not hold or which was not "
        f"chosen; it holds {sorted(known)}"
        for name in params.mapping
        if name not in known
    ]
    mapped = []
    for collection in collections:
        mapping = params.mapping.get(collection.name, CollectionMapping())
        try:
            mapped.append(_map_one(collection, mapping, params, migration_id))
        except Refused as refused:
            reasons += refused.reasons
    reasons += [
        f"the collections {sources} would all become {target!r}; give them different targets in "
        "mapping"
        for target, sources in collisions((one.source, one.target.name) for one in mapped)
    ]
    if reasons:
        raise Refused(reasons)
    return mapped


def _map_one(
    collection: SourceCollection,
    mapping: CollectionMapping,
    params: MigrationParams,
    migration_id: str,
) -> MappedCollection:
    schema = collection.collection_schema
    reasons: list[str] = []
    notes: list[str] = list(collection.notes)

    name = _target_name(f"collection {schema.name!r}", schema.name, mapping.target, reasons, notes)
    alias = name if params.cutover_alias else ""
    if alias:
        name = f"{name}__{migration_id}"
        if not is_valid(name):
            reasons.append(f"{name!r} is too long for a collection; choose a shorter target name")
    fields = _map_fields(schema, mapping, reasons, notes)
    partitions = _map_partitions(collection, mapping, reasons, notes)
    if mapping.dynamic_field is False and any(field.is_dynamic for field in fields.values()):
        reasons.append(
            f"collection {schema.name!r}: rows have values without a field of their own, and "
            "mapping turns the dynamic field off; allow it, or exclude '$meta'"
        )
    if not any(field.is_vector for field in fields.values()):
        reasons.append(f"collection {schema.name!r}: no vector field is left; include one")
    if reasons:
        raise Refused(reasons)

    target = schema.model_copy(
        update={
            "name": name,
            "fields": tuple(fields.values()),
            "partitions": tuple(name for name in partitions.values() if name),
            "dynamic_field": _chosen(mapping.dynamic_field, schema.dynamic_field),
            "shards": mapping.shards or schema.shards,
            "aliases": schema.aliases if mapping.aliases is None else mapping.aliases,
            "consistency_level": mapping.consistency_level or schema.consistency_level,
        }
    )
    written = {source: field.name for source, field in fields.items() if not field.auto_id}
    return MappedCollection(
        source=schema.name,
        target=target,
        alias=alias,
        fields=written,
        types={field.name: field.type for field in schema.fields if field.name in written},
        partitions=partitions,
        notes=tuple(notes),
    )


def _chosen(given: bool | None, otherwise: bool) -> bool:
    return otherwise if given is None else given


def _target_name(what: str, source: str, given: str, reasons: list[str], notes: list[str]) -> str:
    """The target's name: the given one, which must be valid, or the source's, made valid."""
    if given:
        if not is_valid(given):
            reasons.append(
                f"{what}: the target name {given!r} is refused by Milvus; use letters, digits and "
                "_, not a digit first, at most 255 characters"
            )
        return given
    name = sanitized(source)
    if name != source:
        notes.append(f"{what} is named {name!r} on the target: Milvus refuses the original name")
    return name


def _map_fields(
    schema: CollectionSchema, mapping: CollectionMapping, reasons: list[str], notes: list[str]
) -> dict[str, Field]:
    """Source field name -> target field, for the chosen fields."""
    what = f"collection {schema.name!r}"
    by_name = {field.name: field for field in schema.fields}
    named = [*mapping.include, *mapping.exclude, *(edit.source for edit in mapping.fields)]
    reasons += [
        f"{what}: mapping names the field {name!r}; it has {list(by_name)}"
        for name in named
        if name not in by_name
    ]
    edits = {edit.source: edit for edit in mapping.fields}
    fields: dict[str, Field] = {}
    for field in schema.fields:
        left_out = field.name in mapping.exclude or (
            mapping.include and field.name not in mapping.include
        )
        if left_out and field.primary_key:
            reasons.append(f"{what}: the primary key {field.name!r} can't be left out; see auto_id")
        if not left_out:
            edit = edits.get(field.name, FieldMapping(source=field.name))
            fields[field.name] = _map_field(what, field, edit, mapping, reasons, notes)
    reasons += [
        f"{what}: the fields {sources} would all become {target!r}"
        for target, sources in collisions((s, field.name) for s, field in fields.items())
    ]
    return fields


def _map_field(
    what: str,
    field: Field,
    edit: FieldMapping,
    mapping: CollectionMapping,
    reasons: list[str],
    notes: list[str],
) -> Field:
    if field.is_dynamic:
        return field
    what = f"{what}, field {field.name!r}"
    update: dict[str, object] = {
        "name": _target_name(what, field.name, edit.target, reasons, notes)
    }
    if edit.description is not None:
        update["description"] = edit.description
    if edit.type and edit.type != field.type:
        if edit.type not in _RETYPES.get(field.type, set()):
            reasons.append(f"{what}: {field.type} can't become {edit.type} without changing values")
        update["type"] = edit.type
    kind = update.get("type", field.type)
    if kind is DataType.VARCHAR and field.type is not DataType.VARCHAR:
        update["max_length"] = edit.max_length or _INTEGER_LENGTH
    elif edit.max_length:
        if not field.holds_text:
            reasons.append(f"{what}: max_length is for VARCHAR, the field is {field.type}")
        update["max_length"] = edit.max_length
    if edit.max_capacity:
        if kind is not DataType.ARRAY:
            reasons.append(f"{what}: max_capacity is for ARRAY, the field is {field.type}")
        update["max_capacity"] = edit.max_capacity
    if edit.element_type and edit.element_type is not field.element_type:
        reasons.append(
            f"{what}: its items are {field.element_type or 'none: it is no ARRAY'}, they can't "
            f"become {edit.element_type}"
        )
    if edit.nullable is not None:
        update["nullable"] = edit.nullable and not field.primary_key
    if field.primary_key:
        update["auto_id"] = mapping.auto_id or field.auto_id
        if update.get("type", field.type) not in (DataType.INT64, DataType.VARCHAR):
            reasons.append(f"{what}: a primary key must be INT64 or VARCHAR")
    if field.is_vector and mapping.metric_type:
        if mapping.metric_type not in TYPES[field.type].metric_types:
            allowed = ", ".join(TYPES[field.type].metric_types)
            reasons.append(
                f"{what}: metric {mapping.metric_type!r} is unknown; use one of {allowed}"
            )
        update["metric_type"] = mapping.metric_type
    return field.model_copy(update=update)


def _map_partitions(
    collection: SourceCollection,
    mapping: CollectionMapping,
    reasons: list[str],
    notes: list[str],
) -> dict[str, str]:
    """Source partition -> target partition; "" is the default one."""
    held = ["", *collection.collection_schema.partitions]
    chosen = (
        held
        if mapping.partitions is None
        else ["" if name in ("", "_default") else name for name in mapping.partitions]
    )
    what = f"collection {collection.name!r}"
    reasons += [
        f"{what}: mapping names the partition {name!r}; it has {held[1:]} and _default"
        for name in chosen
        if name not in held
    ]
    partitions = {
        name: _target_name(f"{what}, partition {name!r}", name, "", reasons, notes) if name else ""
        for name in chosen
    }
    reasons += [
        f"{what}: the partitions {sources} would all become {target!r}; rename them at the source "
        "or move them one at a time with mapping.partitions"
        for target, sources in collisions(partitions.items())
    ]
    left = [name or "_default" for name in held if name not in chosen]
    if left:
        notes.append(f"{what}: the partitions {left} are left out, as the mapping asks")
    return partitions
