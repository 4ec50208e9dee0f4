"""The step `create`: makes databases, collections and partitions on the target.

It comes after `convert`, so that nothing is written to the target before every row was read,
checked and converted.
"""

from __future__ import annotations

from typing import Any

from airlift.empty_collections import all_set_aside, is_all_set_aside
from airlift.errors import AirliftError, Refused
from airlift.longest_values import measured
from airlift.migration import Migration, log
from airlift.milvus.rows import MilvusRows
from airlift.params import IfExists
from airlift.plan import CollectionPlan
from airlift.progress import forget_progress
from airlift.schema import CollectionSchema
from airlift.staging import SourceChanges
from airlift.steps.existing import lost_record, own_id, settle_created
from airlift.steps.index import begin_load
from airlift.steps.pending_chunks import STEP, earlier_jobs
from airlift.steps.schema_check import check_collections
from airlift.steps.unique_keys import refuse_repeated_keys
from airlift.target_changes import BegunCollection, Created, CreatedCollection
from airlift.targets.running_imports import wait_for_imports


def create(migration: Migration) -> dict[str, Any]:
    """Makes what is not there yet, and records it before a row is written.

    Returns:
        The collections that were made, and those that were there.

    Raises:
        AirliftError: chunks are not converted, or too many rows were set aside.
        Refused: the target has not made a collection as it was asked to.
    """
    plan = migration.staging.plan()
    schemas = {one.name: _converted_schema(migration, one) for one in plan.collections}
    _tell_changes(migration)
    migration.source.finish()  # every row is read
    # Read before this run's own record is written: it tells what earlier attempts made.
    created = settle_created(migration) or Created()
    for database in sorted({one.mapped.database for one in plan.collections}):
        if not migration.database_exists(database):
            made = dict.fromkeys((*created.databases, database))
            created = created.model_copy(update={"databases": tuple(made)})
            migration.staging.write("created.json", created)
            migration.server.create_database(database)
    for collection in plan.collections:
        if created.find(collection.name) is None:
            refuse_repeated_keys(migration, collection)
            one = _take_place(migration, collection)
            if one is None:
                # Written down first: one that is found after a crash is known by its mark.
                created, begun = created.begin(
                    collection.name,
                    collection.mapped.database,
                    earlier_jobs(migration, collection),
                )
                migration.staging.write("created.json", created)
                one = _make_collection(migration, collection, schemas[collection.name], begun)
            created = created.add(one)
            migration.staging.write("created.json", created)
        # A run that was killed between the two may have left partitions out.
        migration.target(collection.mapped).create(schemas[collection.name])
    migration.staging.write("created.json", created)
    check_collections(migration, schemas)
    return {
        "made": [one.name for one in created.collections if one.made],
        "found": [one.name for one in created.collections if not one.made],
    }


def _tell_changes(migration: Migration) -> None:
    """Writes down what the source says has changed while it was read.

    Once for each description of the source: what changes after all was read is no matter.

    Raises:
        AirliftError: a file was changed since it was described.
    """
    meta = migration.staging.meta()
    earlier = migration.staging.read("changes.json", SourceChanges)
    if earlier and earlier.described == meta.digest:
        return
    told = [
        change for collection in meta.collections for change in migration.source.changes(collection)
    ]
    for change in told:
        log.warning("%s", change)
    migration.staging.write("changes.json", SourceChanges(told=tuple(told), described=meta.digest))


def _converted_schema(migration: Migration, collection: CollectionPlan) -> CollectionSchema:
    """The collection's schema, its fields as large as the converted rows need.

    Makes sure that every chunk is written and that few enough rows were set aside.
    """
    bad_rows = 0
    longest = []
    manifests = migration.staging.manifests(collection.chunk_refs)
    for chunk, manifest in zip(collection.chunks, manifests, strict=True):
        if manifest is None:
            raise AirliftError(
                f"collection {collection.name!r}: chunk {chunk.id} is not converted; clear the "
                "task convert"
            )
        bad_rows += manifest.bad_rows
        longest.append((manifest.max_bytes, manifest.max_items))
    params = migration.params
    aside = migration.staging.folder.address(f"{collection.name}/bad_rows")
    if bad_rows > (params.max_bad_rows if params.sets_rows_aside else 0):
        raise AirliftError(
            f"collection {collection.name!r}: {bad_rows:,} rows were set aside, at most "
            f"{params.max_bad_rows:,} are allowed (max_bad_rows); look at them in {aside}"
        )
    if is_all_set_aside(collection.planned_rows, bad_rows):
        warning = all_set_aside(collection.mapped.source, collection.planned_rows, bad_rows)
        if not params.allow_empty:
            raise AirliftError(f"{warning}; look at them in {aside}, or allow it with allow_empty")
        log.warning("%s", warning)
    return measured(collection.mapped.target, longest)


def _take_place(migration: Migration, collection: CollectionPlan) -> CreatedCollection | None:
    """The collection to append to; None where one is to be made, and one to replace is dropped."""
    target, name = migration.target(collection.mapped), collection.target_name
    if not target.exists(name):
        return None
    if lost := lost_record(migration, collection.mapped, collection.name, name):
        raise AirliftError(lost)
    if not collection.appends:
        if migration.params.if_exists is IfExists.REPLACE:
            log.warning("%s is there already and is dropped, as if_exists asks", collection.name)
            wait_for_imports(target, name, migration.staging.folder, "create")
            target.drop(name)
            return None
        raise AirliftError(
            f"the collection {collection.name!r} has come into being on the target since it "
            "was planned; rename or drop it, then clear the task create"
        )
    _refuse_too_small(migration, collection)
    log.info("%s is there already and is appended to", collection.name)
    return CreatedCollection(
        name=collection.name,
        database=collection.mapped.database,
        collection_id=own_id(target, name),
        made=False,
        rows_before=_rows_by_partition(migration, collection),
    )


def _make_collection(
    migration: Migration,
    collection: CollectionPlan,
    schema: CollectionSchema,
    begun: BegunCollection,
) -> CreatedCollection:
    """Makes a collection."""
    target, name = migration.target(collection.mapped), collection.target_name
    # What earlier attempts wrote went into another collection.
    forget_progress(migration.staging, STEP)
    target.create(schema, begun.mark)
    log.info("%s is made", collection.name)
    return CreatedCollection(
        name=collection.name,
        database=collection.mapped.database,
        collection_id=own_id(target, name),
        made=True,
        earlier_jobs=begun.earlier_jobs,
    )


def _refuse_too_small(migration: Migration, collection: CollectionPlan) -> None:
    """Raises Refused when texts or arrays are longer than the fields of the collection allow."""
    described = migration.target(collection.mapped).describe(collection.target_name)["fields"]
    held = {field["name"]: field["params"] for field in described}
    reasons = []
    manifests = migration.staging.manifests(collection.chunk_refs)
    for chunk, manifest in zip(collection.chunks, manifests, strict=True):
        if manifest is None:
            continue
        for limit, longest in (
            ("max_length", manifest.max_bytes),
            ("max_capacity", manifest.max_items),
        ):
            reasons += [
                f"the collection {collection.name!r} has {limit} {held[name][limit]} for the field "
                f"{name!r}, chunk {chunk.id} needs {most:,}; give mapping another target name"
                for name, most in longest.items()
                if most > int(held.get(name, {}).get(limit, most))
            ]
    if reasons:
        raise Refused(reasons)


def _rows_by_partition(migration: Migration, collection: CollectionPlan) -> dict[str, int]:
    """Rows that a collection holds now, in each of its partitions; "" is the default one."""
    target, name = migration.target(collection.mapped), collection.target_name
    was_loaded = target.is_loaded(name)
    begin_load(migration, collection)
    target.wait_loaded(name)
    rows = MilvusRows(target)
    if collection.mapped.has_partition_key:
        counts = {"": rows.count(name)}
    else:
        counts = {
            "" if partition == "_default" else partition: rows.count(name, partition)
            for partition in target.partitions(name)
        }
    if not was_loaded:
        target.release(name)
    return counts
