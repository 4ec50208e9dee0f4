"""Has the target itself agree to what is planned: a part of the step `plan`.

A collection with the planned fields, settings and indexes is made for each collection that is to
be made, without rows and under a name of its own, and dropped again.
"""

from __future__ import annotations

from dataclasses import dataclass

from airlift.bad_rows import MAX_CAPACITY, MAX_TEXT_BYTES
from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.mapping import MappedCollection
from airlift.migration import Migration, log
from airlift.milvus.errors import Unavailable
from airlift.schema import CollectionSchema, Field
from airlift.steps.index import definition
from airlift.steps.probe_collections import drop_left_probes, probe_collection
from airlift.target_limits import FieldIndex, limit_reasons


@dataclass(frozen=True)
class TargetAnswer:
    """What a target says to the planned collections.

    Attributes:
        reasons: why it does not take them.
        notes: what the user should know, by source collection.
    """

    reasons: tuple[str, ...] = ()
    notes: dict[str, tuple[str, ...]] | None = None

    def noted(self, mapped: MappedCollection) -> MappedCollection:
        """A collection with the notes on it."""
        notes = (self.notes or {}).get(mapped.source, ())
        return mapped.model_copy(update={"notes": (*mapped.notes, *notes)}) if notes else mapped


def ask_target(
    migration: Migration, mapped: list[MappedCollection], may_probe: bool
) -> TargetAnswer:
    """Whether the target takes collections that are to be made, with their indexes.

    Args:
        mapped: the collections as planned.
        may_probe: whether collections may be made on the target to find out. Where they may not,
            they are compared with what its version takes by default.

    Raises:
        Unavailable: the target can't answer now.
    """
    reasons: list[str] = []
    notes: dict[str, tuple[str, ...]] = {}
    answers: dict[str, str] = {}
    if may_probe:
        drop_left_probes(migration.database, migration.staging.folder)
    for collection in mapped:
        indexes = _planned_indexes(migration, collection.target)
        limits = limit_reasons(
            collection, indexes, migration.capabilities, migration.server.version().name
        )
        if not may_probe:
            hint = _BY_DEFAULT if migration.params.dry_run else ""
            reasons += [f"{limit}{hint}" for limit in limits]
            continue
        schema = _without_names(collection.target, bool(limits))
        shape = schema.model_dump_json() + repr([index for _, index in indexes])
        if shape not in answers:
            answers[shape] = _refusal(migration, collection.database, schema, indexes)
        if refusal := answers[shape]:
            known = [f"{limit} (it said: {refusal})" for limit in limits]
            reasons += known or [f"collection {collection.source!r}: the target refuses {refusal}"]
        elif limits:
            notes[collection.source] = tuple(f"{limit}{_YET_TAKEN}" for limit in limits)
    return TargetAnswer(tuple(reasons), notes)


_BY_DEFAULT = (
    ". That is the default; if the server is set to take more, dry_run_probe true asks it itself"
)
_YET_TAKEN = ". This server has taken it nevertheless"


def _planned_indexes(migration: Migration, schema: CollectionSchema) -> list[FieldIndex]:
    """The indexes that are built: a vector field without one gets one until it is verified."""
    found = [
        (
            field,
            definition(migration, field)
            or (migration.capabilities.autoindex(field.type) if field.is_vector else None),
        )
        for field in schema.fields
    ]
    return [(field, index) for field, index in found if index]


def _without_names(schema: CollectionSchema, with_partitions: bool) -> CollectionSchema:
    """What is tried: fields as long as they may become, and no name that is taken already.

    Args:
        with_partitions: whether the partitions are made too; each takes time.
    """
    return schema.model_copy(
        update={
            "name": "",
            "aliases": (),
            "partitions": schema.partitions if with_partitions else (),
            "fields": tuple(_as_long_as_may_be(field) for field in schema.fields),
        }
    )


def _as_long_as_may_be(field: Field) -> Field:
    is_array = field.type is DataType.ARRAY
    return field.model_copy(
        update={
            "max_length": field.max_length or (MAX_TEXT_BYTES if field.holds_text else 0),
            "max_capacity": field.max_capacity or (MAX_CAPACITY if is_array else 0),
        }
    )


def _refusal(
    migration: Migration, database: str, schema: CollectionSchema, indexes: list[FieldIndex]
) -> str:
    """Makes such a collection and drops it; returns what the target does not take, "" if all."""
    name = database if migration.database_exists(database) else ""
    target = migration.database(name)
    refused = "the collection"
    try:
        with probe_collection(target, name, migration.staging.folder, schema) as probe:
            for field, index in indexes:
                refused = f"the index {index.index_type} on the field {field.name!r}"
                target.create_index(probe.name, field, index)
    except Unavailable:
        raise
    except AirliftError as error:
        log.info("%s: %s", refused, error)
        return f"{refused}: {error}"
    return ""
