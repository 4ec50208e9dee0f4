"""The step `plan`: maps the collections, cuts them into chunks, and groups these into batches.

A dry run goes on from the same draft; see `airlift.steps.assess`.
"""

from __future__ import annotations

from typing import Any

from airlift.chunk import Chunk, chunk_id
from airlift.empty_collections import (
    NO_ROW_AT_ALL,
    moves_nothing,
    nothing_new,
    refusals,
    warning_of,
)
from airlift.errors import Refused
from airlift.fingerprint import FingerprintKey
from airlift.fitting import fit_collections
from airlift.formats import FORMATS, OWN_FILES
from airlift.mapping import MappedCollection, map_collections
from airlift.migration import Migration, log
from airlift.milvus.capabilities import Capabilities
from airlift.params import IndexParams, Verify, WriteMode
from airlift.plan import CollectionPlan, Plan, group_chunks
from airlift.schema import SourceCollection
from airlift.steps.access import plan_access
from airlift.steps.choose_way import choose_way, choose_ways
from airlift.steps.chunk_format import as_it_is_there, choose_format, with_value_rules
from airlift.steps.existing import (
    appends_to,
    existing_reasons,
    settle_created,
    with_limits_there,
)
from airlift.steps.own_files import imports_own_files
from airlift.steps.schema_probe import ask_target
from airlift.target_changes import Created
from airlift.target_limits import key_name_reasons


def make_plan(migration: Migration, max_batches: int) -> Plan:
    """Writes `plan.json`.

    Args:
        max_batches: the most tasks that may be mapped.

    Raises:
        Refused: with every reason why the collections can't be moved as asked.
    """
    plan, reasons = draft_plan(migration, max_batches)
    if reasons:
        raise Refused(reasons)
    migration.staging.write("plan.json", plan)
    log_warnings(plan)
    return plan


def log_warnings(plan: Plan) -> None:
    """Logs what is wrong with a plan that is carried out all the same."""
    for one in plan.collections:
        for warning in one.warnings:
            log.warning("%s", warning)
    if moves_nothing(plan.collections):
        log.warning("%s", NO_ROW_AT_ALL)


def draft_plan(migration: Migration, max_batches: int) -> tuple[Plan, list[str]]:
    """Plans what can be planned; writes nothing.

    Returns:
        The plan, and every reason against it; where there are such it may lack collections.
    """
    meta = migration.staging.meta()
    reasons: list[str] = []
    try:
        mapped = map_collections(list(meta.collections), migration.params, migration.id)
    except Refused as refused:
        return Plan(migration_id=migration.id, collections=(), batches=()), refused.reasons
    try:
        mapped = fit_collections(
            mapped,
            migration.params.mapping,
            migration.capabilities,
            migration.server.version().name,
        )
    except Refused as refused:
        reasons += refused.reasons
    reasons += _unfit_for_target(migration, meta.collections, mapped)
    for collection, one in zip(meta.collections, mapped, strict=True):
        try:
            collection.imports_own_files = imports_own_files(migration, collection, one)
        except Refused as refused:
            reasons += refused.reasons
    reasons += plan_access(migration, meta.collections, mapped)
    chosen = choose_ways(migration, meta.collections, mapped)
    reasons += chosen.reasons
    mapped = [chosen.noted(one) for one in mapped]
    may_probe = not reasons and (not migration.params.dry_run or migration.params.dry_run_probe)
    answer = ask_target(migration, _to_be_made(migration, meta.collections, mapped), may_probe)
    reasons += answer.reasons
    mapped = [answer.noted(one) for one in mapped]
    earlier = migration.staging.earlier_plan()
    keys = {known.name: known.fingerprint_key for known in (earlier.collections if earlier else ())}
    plans: list[CollectionPlan] = []
    for collection, one in zip(meta.collections, mapped, strict=True):
        name = one.full_name
        key = keys.get(name) or FingerprintKey.draw()
        try:
            plans.append(_plan_collection(migration, collection, one, chosen.ways[name], key))
        except Refused as refused:
            reasons += refused.reasons
    if not migration.params.allow_empty:
        reasons += refusals(plans)
    plan = Plan(
        migration_id=migration.id,
        collections=tuple(plans),
        batches=group_chunks(plans, max_batches, migration.source.batch_bytes),
    )
    # Chunks of a plan that is refused anyway would only be missed in vain.
    return plan, reasons or _lost_chunks(migration, earlier, plan)


def summary(plan: Plan) -> dict[str, Any]:
    """A plan's numbers, for XCom."""
    return {
        "batches": len(plan.batches),
        "collections": {
            one.name: {"rows": one.planned_rows, "chunks": len(one.chunks), "way": one.way}
            for one in plan.collections
        },
        "warnings": [warning for one in plan.collections for warning in one.warnings],
    }


def _plan_collection(
    migration: Migration,
    collection: SourceCollection,
    mapped: MappedCollection,
    way: str,
    fingerprint_key: FingerprintKey,
) -> CollectionPlan:
    params = migration.params
    appends = appends_to(migration, collection, mapped)
    can = migration.capabilities
    leaves_out = appends and way != "upsert"
    schema = mapped.target
    described: dict[str, Any] | None = None
    if appends and (target := migration.target(mapped)).exists(schema.name):
        described = target.describe(schema.name)
        schema = as_it_is_there(schema, described)
    file_format, format_notes = choose_format(params, can, schema, way, leaves_out)
    if collection.imports_own_files:
        file_format, format_notes = OWN_FILES.name, []
    mapped = with_value_rules(mapped, schema, way, file_format, can, params)
    known_before = set(collection.notes)
    most_bytes = FORMATS[file_format].max_chunk_bytes(mapped.target)
    cut = migration.source.cut(collection, min(params.chunk_mb << 20, most_bytes))
    if collection.repeated_keys:
        _refuse_repeated_keys(migration, mapped)
    # Not by what is told of it, which may be worded otherwise another time.
    shaped_by = (
        mapped.model_dump(mode="json", exclude={"notes"}),
        file_format,
        params.on_bad_row,
        # Without it the ids of earlier versions stay, by which a run is gone on with.
        *([params.on_long_text] if params.on_long_text else []),
    )
    if described:
        mapped = with_limits_there(mapped, described)
    chunks: list[Chunk] = []
    for chunk in cut:
        if chunk.partition in mapped.partitions:
            new_id = chunk_id(len(chunks), chunk.id, *shaped_by)
            chunks.append(chunk.model_copy(update={"id": new_id}))
    planned = sum(chunk.rows for chunk in chunks)
    warning, news = warning_of(collection, planned), nothing_new(collection, planned)
    return CollectionPlan(
        mapped=mapped,
        way=way,
        appends=appends,
        file_format=file_format,
        rows=collection.rows,
        deleted=collection.deleted,
        left_out=collection.rows - collection.deleted - planned,
        keys_unique=collection.keys_unique,
        repeated_keys=collection.repeated_keys,
        since_field=collection.since_field,
        since=collection.since,
        fingerprint_key=fingerprint_key,
        notes=(
            *mapped.notes,
            *format_notes,
            *(note for note in collection.notes if note not in known_before),
            *_index_notes(params.index, can, mapped),
            *([news] if news else []),
        ),
        warnings=(warning,) if warning else (),
        chunks=tuple(chunks),
    )


def _index_notes(
    index: str | IndexParams, can: Capabilities, mapped: MappedCollection
) -> list[str]:
    """Which fields get another index than was asked for, or none."""
    what = f"collection {mapped.source!r}"
    held = [field.name for field in mapped.target.fields if field.index and not field.is_vector]
    notes = []
    if held and index != "source":
        notes.append(
            f"{what}: the indexes of the scalar fields {held} come along with index source only"
        )
    bare = [field.name for field in mapped.target.vectors if not field.index]
    if bare and index == "source":
        notes.append(f"{what}: the source has no index on {bare}; the target builds its own choice")
    if isinstance(index, IndexParams):
        notes += [
            f"{what}, field {field.name!r}: {index.index_type} is not for {field.type} fields, so "
            f"it gets {can.autoindex(field.type).index_type}"
            for field in mapped.target.vectors
            if not can.may_index(field.type, index.index_type)
        ]
    return notes


def _to_be_made(
    migration: Migration,
    collections: tuple[SourceCollection, ...],
    mapped: list[MappedCollection],
) -> list[MappedCollection]:
    """The collections that `create` will make on the target."""
    created = migration.staging.read("created.json", Created) or Created()
    return [
        one
        for collection, one in zip(collections, mapped, strict=True)
        if not created.find(one.full_name) and not appends_to(migration, collection, one)
    ]


def _refuse_repeated_keys(migration: Migration, mapped: MappedCollection) -> None:
    """Raises Refused for what can't be done with rows that share a primary key."""
    params = migration.params
    what = f"collection {mapped.source!r}: several rows share an id and all are kept"
    reasons = []
    if params.verify is Verify.FULL:
        reasons.append(f"{what}, so rows can't be read back one by one; use verify sample")
    if params.write_mode is WriteMode.UPSERT:
        reasons.append(f"{what}, but write_mode upsert keeps one row an id; use auto or insert")
    if reasons:
        raise Refused(reasons)


def _unfit_for_target(
    migration: Migration,
    collections: tuple[SourceCollection, ...],
    mapped: list[MappedCollection],
) -> list[str]:
    """Why the target can't hold the collections, or must not be touched."""
    can = migration.capabilities
    name = migration.server.version().name
    reasons = []
    if not migration.source.takes_filter:
        reasons += [
            f"collection {name!r}: mapping has a filter, which this source can't heed; leave it out"
            for name, mapping in migration.params.mapping.items()
            if mapping.filter
        ]
    if not can.databases and any(one.database for one in mapped):
        reasons.append(f"{name} has no databases; leave target_database and database empty")
    if not can.upserts_partition_keys:
        reasons += [
            f"collection {one.source!r}: upsert on {name} puts rows into wrong partitions of the "
            "partition key, where filters miss them; use write_mode insert, or a newer Milvus"
            for collection, one in zip(collections, mapped, strict=True)
            if one.has_partition_key and choose_way(migration, collection) == "upsert"
        ]
    if migration.params.index == "source":
        reasons += [
            f"collection {one.source!r}: the source's index on {field.name!r}, "
            f"{field.unlike_index}, has no counterpart in Milvus; use index autoindex, or an index "
            "definition"
            for one in mapped
            for field in one.target.vectors
            if field.unlike_index
        ]
    reasons += [reason for one in mapped for reason in key_name_reasons(one, can, name)]
    reasons += _unfit_index(migration, mapped)
    created = settle_created(migration)
    for collection, one in zip(collections, mapped, strict=True):
        if migration.database_exists(one.database):
            reasons += existing_reasons(migration, one, created, collection.since is not None)
    return reasons


def _unfit_index(migration: Migration, mapped: list[MappedCollection]) -> list[str]:
    """Why the index definition of the params is for none of the vector fields."""
    index, can = migration.params.index, migration.capabilities
    types = sorted({field.type for one in mapped for field in one.target.vectors})
    if not isinstance(index, IndexParams) or any(
        can.may_index(kind, index.index_type) for kind in types
    ):
        return []
    return [
        f"index: {index.index_type} is not for {kind} fields; for these "
        f"{migration.server.version().name} has {', '.join(can.index_types_for(kind))}"
        for kind in types
    ]


def _lost_chunks(migration: Migration, earlier: Plan | None, plan: Plan) -> list[str]:
    """Why it can't be resumed: chunks that are imported are not in the plan any more.

    Args:
        earlier: the plan of an earlier run of this migration.
    """
    if earlier is None:
        return []
    planned = {(ref.collection, ref.chunk) for one in plan.collections for ref in one.chunk_refs}
    gone = [
        ref
        for one in earlier.collections
        for ref in one.chunk_refs
        if (ref.collection, ref.chunk) not in planned
    ]
    records = migration.staging.current_imports(gone)
    lost = [ref for ref, record in zip(gone, records, strict=True) if record]
    if not lost:
        return []
    collections = sorted({ref.collection for ref in lost})
    return [
        f"migration {migration.id!r} has imported {len(lost)} chunks of {collections} that "
        "the source or the params of this run would not give again; restore them, or use a "
        "new migration_id (and drop the collections that the old one made)"
    ]
