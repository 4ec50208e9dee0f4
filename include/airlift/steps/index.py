"""The steps `index` and `load`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airlift.migration import Migration, log
from airlift.params import IndexParams
from airlift.plan import CollectionPlan
from airlift.progress import TaskProgress, write_progress
from airlift.schema import Field
from airlift.steps.schema_check import check_indexes
from airlift.targets.ways import IMPORT_WAYS


def definition(migration: Migration, field: Field) -> IndexParams | None:
    """The index that the params ask for on a field; None for none.

    A definition is for the vector fields that such an index can be built on; others get the
    target's own choice.
    """
    index, can = migration.params.index, migration.capabilities
    if not field.is_vector:
        return IndexParams(**field.index) if index == "source" and field.index else None
    if isinstance(index, IndexParams):
        return index if can.may_index(field.type, index.index_type) else can.autoindex(field.type)
    if index == "none":
        return None
    if index == "source" and field.index:
        return IndexParams(**field.index)
    return can.autoindex(field.type)


def begin_load(migration: Migration, collection: CollectionPlan) -> None:
    """Has a collection loaded; vector fields without an index get one: none loads without.

    An insert that goes on after a kill loads before the step `index`, and an index that is there
    stays: so it is the one that is asked for, if any is.
    """
    target, schema = migration.target(collection.mapped), collection.mapped.target
    for field in schema.vectors:
        index = definition(migration, field) or migration.capabilities.autoindex(field.type)
        target.create_index(schema.name, field, index)
    target.load(schema.name, refresh=collection.way in IMPORT_WAYS)


def build_indexes(migration: Migration) -> dict[str, Any]:
    """Has the server begin to build the indexes of every collection.

    Returns:
        Collection and field -> index type.

    Raises:
        Refused: a collection that this migration made has another index than the one asked for.
    """
    built = {}
    wanted = list(_wanted(migration))
    for collection, field, index in wanted:
        migration.target(collection.mapped).create_index(collection.target_name, field, index)
        built[f"{collection.name}.{field.name}"] = index.index_type
    check_indexes(migration, wanted)
    return built


def rows_to_index(migration: Migration) -> int:
    """Rows that wait to be indexed, in all collections; -1 when a state is not final yet.

    How many there are of each collection is also written down for the page.
    """
    waiting: dict[str, int] = {}
    settled = True
    for collection, field, _ in _wanted(migration):
        target = migration.target(collection.mapped)
        state, _, pending = target.index_state(collection.target_name, field)
        settled = settled and (pending > 0 or state == "Finished")
        waiting[collection.name] = max(pending, waiting.get(collection.name, 0))
    write_progress(migration.staging, TaskProgress(step="index", waiting=waiting))
    return sum(waiting.values()) if settled else -1


def _wanted(migration: Migration) -> Iterator[tuple[CollectionPlan, Field, IndexParams]]:
    for collection in migration.staging.plan().collections:
        for field in collection.mapped.target.fields:
            index = definition(migration, field)
            if index:
                yield collection, field, index


def load_collections(migration: Migration) -> dict[str, Any]:
    """Loads every collection and waits: also where `load` is off, since verification reads them.

    Returns:
        The collections that are loaded.
    """
    collections = migration.staging.plan().collections
    for collection in collections:
        begin_load(migration, collection)
    for collection in collections:
        migration.target(collection.mapped).wait_loaded(collection.target_name)
        log.info("%s is loaded", collection.name)
    return {"loaded": [collection.name for collection in collections]}


def undo_temporary(migration: Migration) -> None:
    """After verification: releases collections, and drops indexes, that nobody asked for."""
    for collection in migration.staging.plan().collections:
        no_index = migration.params.index == "none"
        target, schema = migration.target(collection.mapped), collection.mapped.target
        if not migration.params.load or no_index:
            target.release(schema.name)
        if no_index:
            for field in schema.vectors:
                target.drop_index(schema.name, field.name)
