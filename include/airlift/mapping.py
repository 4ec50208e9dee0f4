"""From a source collection and the user's mapping to the collection that the target gets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.collection_settings import mapped_settings
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.field_mapping import FieldMapper, target_name
from airlift.mapping_params import CollectionMapping
from airlift.names import collisions, is_valid, with_database
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.user_transforms import loaded, version_of
from airlift.value_rules import ValueRule


class MappedCollection(BaseModel):
    """What becomes of one source collection.

    Attributes:
        source: its name at the source.
        target: the collection to make on the target.
        database: of the target; "" for the connection's own.
        alias: the alias to switch to it once verified; empty for none.
        key: the primary key's name at the source.
        fields: source -> target field name, for the fields that are written. A source is a field's
            name, or `$meta.<key>` for a key of the source's dynamic field.
        types: source field name -> its type at the source.
        into_dynamic: source -> the field as which it goes into the dynamic field, under its name.
        constants: target field name -> its value in every row.
        defaults: target field name -> what is written where the source has no value.
        transform: the user's function that the source's rows go through first; see
            `airlift.user_transforms`.
        partitions: source partition -> target partition ("" is the default one), those chosen.
        value_rules: target field name -> the rules for its values that this target, or the chunk
            files, bring with them; a row that breaks one is a bad row.
        null_for_empty: target fields whose empty lists become null, as `allow_lossy` allows.
        notes: changes that the user should know of, e.g. a name that was changed.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    target: CollectionSchema
    database: str = ""
    alias: str = ""
    key: str = ""
    fields: dict[str, str]
    types: dict[str, DataType] = {}
    into_dynamic: dict[str, Field] = {}
    constants: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    transform: str = ""
    partitions: dict[str, str]
    value_rules: dict[str, tuple[ValueRule, ...]] = {}
    null_for_empty: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The target collection's name, with the database before it where one is named."""
        return with_database(self.database, self.target.name)

    @property
    def has_partition_key(self) -> bool:
        """Whether the target spreads the rows over partitions of its own."""
        return any(field.partition_key for field in self.target.fields)


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
        for target, sources in collisions((one.source, one.full_name) for one in mapped)
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

    what = f"collection {schema.name!r}"
    name = target_name(what, schema.plain_name, mapping.target, reasons, notes)
    database = mapping.database or params.target_database or schema.database
    if database:
        target_name(f"{what}, database", "", database, reasons, notes)
    alias = name if params.cutover_alias else ""
    if alias:
        name = f"{name}__{migration_id}"
        if not is_valid(name):
            reasons.append(f"{name!r} is too long for a collection; choose a shorter target name")
    made = FieldMapper(schema, mapping, params.allow_lossy, reasons, notes).mapped()
    partition_key = next((field.name for field in made.fields if field.partition_key), "")
    partitions = _map_partitions(
        collection, mapping, partition_key, params.allow_lossy, reasons, notes
    )
    settings = mapped_settings(
        collection,
        mapping,
        made.sources,
        partition_key,
        bool(made.into_dynamic),
        reasons,
        notes,
    )
    if mapping.transform:
        _check_transform(schema.name, mapping.transform, reasons, notes)
    if mapping.dynamic_field is False and any(field.is_dynamic for field in made.fields):
        reasons.append(
            f"collection {schema.name!r}: rows have values without a field of their own, and "
            "mapping turns the dynamic field off; allow it, or exclude '$meta'"
        )
    if not any(field.is_vector for field in made.fields):
        inside = f"; {collection.vectors_inside}" if collection.vectors_inside else ""
        reasons.append(f"collection {schema.name!r}: no vector field is left; include one{inside}")
    if reasons:
        raise Refused(reasons)

    target = schema.model_copy(
        update={
            "name": name,
            "database": "",
            "fields": tuple(made.fields),
            "functions": made.functions,
            "partitions": tuple(name for name in partitions.values() if name),
            "aliases": schema.aliases if mapping.aliases is None else mapping.aliases,
            **settings,
        }
    )
    read = {*made.sources, *made.into_dynamic}
    return MappedCollection(
        source=schema.name,
        target=target,
        database=database,
        alias=alias,
        key=schema.primary_key.name,
        fields=made.sources,
        types={field.name: field.type for field in schema.fields if field.name in read},
        into_dynamic=made.into_dynamic,
        constants=made.constants,
        defaults=made.defaults,
        transform=mapping.transform,
        partitions=partitions,
        notes=tuple(notes),
    )


def _check_transform(collection: str, name: str, reasons: list[str], notes: list[str]) -> None:
    what = f"collection {collection!r}"
    try:
        loaded(name)
        notes.append(f"{what}: the rows go through the transform {name!r} of {version_of(name)}")
    except AirliftError as error:
        reasons.append(f"{what}: {error}")


def _map_partitions(
    collection: SourceCollection,
    mapping: CollectionMapping,
    partition_key: str,
    allow_lossy: bool,
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
    if partition_key:
        named = [name for name in chosen if name]
        if named and not allow_lossy:
            reasons.append(
                f"{what}: with the partition key {partition_key!r} Milvus makes partitions of its "
                f"own, so the rows of {named} lose the names of theirs; allow it with allow_lossy, "
                "or choose with mapping.partitions"
            )
        elif named:
            notes.append(
                f"{what}: the rows of the partitions {named} go where the partition key "
                f"{partition_key!r} puts them, without the names"
            )
        return _told_left_out(what, held, dict.fromkeys(chosen, ""), notes)
    partitions = {
        name: target_name(f"{what}, partition {name!r}", name, "", reasons, notes) if name else ""
        for name in chosen
    }
    reasons += [
        f"{what}: the partitions {sources} would all become {target!r}; rename them at the source "
        "or move them one at a time with mapping.partitions"
        for target, sources in collisions(partitions.items())
    ]
    return _told_left_out(what, held, partitions, notes)


def _told_left_out(
    what: str, held: list[str], chosen: dict[str, str], notes: list[str]
) -> dict[str, str]:
    left = [name or "_default" for name in held if name not in chosen]
    if left:
        notes.append(f"{what}: the partitions {left} are left out, as the mapping asks")
    return chosen
