"""Collections that are on the target already: whose they are, and what may be done with them."""

from __future__ import annotations

import uuid
from typing import Any

from airlift.datatypes import DataType
from airlift.mapping import MappedCollection
from airlift.migration import InDatabase, Migration
from airlift.milvus.database import MilvusDatabase
from airlift.params import IfExists, Verify
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field, SourceCollection
from airlift.staging import ImportRecord, is_import_record
from airlift.target_changes import BegunCollection, Created, CreatedCollection


def appends_to(
    migration: Migration, collection: SourceCollection, mapped: MappedCollection
) -> bool:
    """Whether rows are added to a collection that this migration did not make."""
    if collection.since is not None:
        return True
    if migration.params.if_exists is not IfExists.APPEND:
        return False
    created = migration.staging.read("created.json", Created)
    known = created.find(mapped.full_name) if created else None
    if known:
        return not known.made
    there = migration.database_exists(mapped.database)
    return there and migration.target(mapped).exists(mapped.target.name)


def settle_created(migration: Migration) -> Created | None:
    """Brings `created.json` up to what the target holds now.

    Collections that are gone or made anew by others leave it: what was imported into them does not
    count any more. Those that an attempt made, and did not live to write down, come into it.
    """
    created = migration.staging.read("created.json", Created)
    if created is None:
        return None
    still = tuple(one for one in created.collections if _is_still_there(migration, one))
    made = [
        found
        for one in created.begun
        if migration.database_exists(one.database)
        and (found := half_made(one, migration.target(one)))
    ]
    settled = created.model_copy(update={"collections": still}).add(*made)
    if settled != created:
        migration.staging.write("created.json", settled)
    return settled


def half_made(begun: BegunCollection, target: MilvusDatabase) -> CreatedCollection | None:
    """The collection that was about to be made, if it is there; a stranger's has not its mark."""
    name = begun.target_name
    if target.found_by(name) != name or target.mark(name) != begun.mark:
        return None
    return CreatedCollection(
        name=begun.name,
        database=begun.database,
        collection_id=own_id(target, name),
        made=True,
        earlier_jobs=begun.earlier_jobs,
    )


def own_id(target: MilvusDatabase, name: str) -> str:
    """The collection's id, or one of our own: what was sent to an earlier one must not count."""
    return target.collection_id(name) or f"unnumbered-{uuid.uuid4().hex[:12]}"


def _is_still_there(migration: Migration, made: CreatedCollection) -> bool:
    """Whether a collection is still the one that was made or found."""
    if not migration.database_exists(made.database):
        return False
    target, name = migration.target(made), made.target_name
    # A server that numbers no collections can't say whether it is another by now.
    return target.exists(name) and target.collection_id(name) in ("", made.collection_id)


def existing_reasons(
    migration: Migration, mapped: MappedCollection, created: Created | None, goes_on: bool
) -> list[str]:
    """Why a collection that is there already must not be touched.

    Args:
        goes_on: whether this run adds to what an earlier one moved there.
    """
    target, name = migration.target(mapped), mapped.target.name
    reasons = []
    if mapped.alias and target.exists(mapped.alias) and not target.alias_target(mapped.alias):
        reasons.append(
            f"cutover_alias: {mapped.alias!r} is a collection on the target, so no alias can have "
            "that name; rename or drop it, or give mapping another target name"
        )
    for alias in mapped.target.aliases:
        holder = target.found_by(alias) or name
        if holder != name:
            reasons.append(
                f"the alias {alias!r} of {mapped.source!r} is taken by {holder!r} on the target; "
                "drop it there, or choose with mapping aliases (none: [])"
            )
    if (created and created.find(mapped.full_name)) or not target.exists(name):
        return reasons
    if lost := lost_record(migration, mapped, mapped.full_name, name):
        return [*reasons, lost]
    pointed = target.alias_target(name)
    if pointed:
        reasons.append(f"{name!r} is an alias of {pointed!r} on the target; use cutover_alias")
    elif goes_on or migration.params.if_exists is IfExists.APPEND:
        reasons += _unfit_to_append(target, mapped.target)
        is_full = migration.params.verify is Verify.FULL
        if is_full and mapped.target.primary_key.auto_id and target.stored_rows(name):
            reasons.append(
                f"the collection {name!r} holds rows already, and with auto_id nobody can tell "
                "the new ones from them, so verify full can't compare these; use verify sample"
            )
    elif migration.params.if_exists is IfExists.FAIL:
        reasons.append(
            f"the collection {name!r} exists on the target already; give mapping another target "
            "name, or set if_exists to append or replace"
        )
    return reasons


def lost_record(migration: Migration, collection: InDatabase, name: str, target_name: str) -> str:
    """Why a collection must be left alone: staging lost that this migration has written to it.

    Without its `created.json` the migration would take a collection of its own for a stranger's:
    drop it, or add its rows once more.

    Args:
        name: as the plan calls it, which is also its folder in staging.

    Returns:
        The reason; "" where no chunk of this migration is known to be in it.
    """
    staging = migration.staging
    paths = [path for path in staging.folder.list(name, recursive=True) if is_import_record(path)]
    if not paths:
        return ""
    target_id = migration.target(collection).collection_id(target_name)
    for path in paths:
        record = staging.read(path, ImportRecord)
        if record and (not target_id or record.collection_id == target_id):
            return (
                f"{staging.folder.address('created.json')} does not name the collection {name!r}, "
                f"but {path} says that this migration has written rows to it: nothing is dropped "
                "and nothing is added. If the collection held nothing before, drop the collection "
                "on the target, and run again with the same migration_id: what is converted stays"
            )
    return ""


def with_limits_there(mapped: MappedCollection, described: dict[str, Any]) -> MappedCollection:
    """A collection whose texts and arrays may be as long as an existing one's fields allow.

    So a row that is too long for these is a bad row, before anything is written.

    Args:
        described: the existing collection, as pymilvus describes it.
    """
    there = {field["name"]: field.get("params") or {} for field in described["fields"]}
    fields = []
    for field in mapped.target.fields:
        limits = there.get(field.name, {})
        update = {
            name: min(getattr(field, name) or int(limits[name]), int(limits[name]))
            for name in ("max_length", "max_capacity")
            if name in limits and (field.holds_text or name == "max_capacity")
        }
        fields.append(field.model_copy(update=update))
    target = mapped.target.model_copy(update={"fields": tuple(fields)})
    return mapped.model_copy(update={"target": target})


def _unfit_to_append(target: MilvusDatabase, schema: CollectionSchema) -> list[str]:
    """How an existing collection's fields differ from those to be appended."""
    described = target.describe(schema.name)
    held = {field["name"]: _kind_there(field) for field in described["fields"]}
    if described.get("enable_dynamic_field"):
        held[DYNAMIC_FIELD] = DataType.JSON.value
    wanted = {field.name: _kind(field) for field in schema.fields}
    if DYNAMIC_FIELD not in wanted:
        held.pop(DYNAMIC_FIELD, None)
    keys = {one["name"] for one in described["fields"] if one.get("is_partition_key")}
    ours = {one.name for one in schema.fields if one.partition_key}
    if keys != ours:
        return [
            f"the collection {schema.name!r} has the partition key {sorted(keys)}, to append needs "
            f"{sorted(ours)}; give mapping another target name, or set partition_key as it is there"
        ]
    makes_keys = any(one.get("auto_id") for one in described["fields"])
    if makes_keys and not schema.primary_key.auto_id:
        return [
            f"the collection {schema.name!r} makes its primary keys itself (autoID); set auto_id "
            "in mapping, or give mapping another target name"
        ]
    if schema.primary_key.auto_id and not makes_keys:
        return [
            f"the collection {schema.name!r} needs rows with primary keys (it has no autoID); "
            "leave auto_id out of mapping, or give mapping another target name"
        ]
    if held == wanted:
        return []
    return [
        f"the collection {schema.name!r} has the fields {held}, to append needs {wanted}; give "
        "mapping another target name"
    ]


def _kind(field: Field) -> str:
    """What values a field holds, such as `FLOAT_VECTOR(128)` or `ARRAY of INT8`."""
    inner = f" of {field.element_type}" if field.element_type else ""
    return f"{field.type}({field.dim})" if field.dim else f"{field.type}{inner}"


def _kind_there(field: dict[str, Any]) -> str:
    """The same of a field as pymilvus describes it."""
    kind, dim = field["type"].name, int((field.get("params") or {}).get("dim") or 0)
    element = field.get("element_type")
    inner = f" of {element.name}" if element and kind == DataType.ARRAY else ""
    return f"{kind}({dim})" if dim else f"{kind}{inner}"
