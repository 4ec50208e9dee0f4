"""Compares what a server has made with what it was asked to make: a part of `create` and `index`.

A difference is refused by name: rows would go into another collection than was planned. What the
target is known not to keep (`Capabilities.unkept`), and what it adds by itself, is noted; the notes
stand in the report and on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airlift.errors import Refused
from airlift.migration import Migration, log
from airlift.milvus.capabilities import Capabilities
from airlift.params import IndexParams
from airlift.plan import CollectionPlan
from airlift.schema import CollectionSchema, Field
from airlift.schema_facts import (
    Difference,
    Facts,
    compare_facts,
    compare_indexes,
    described_facts,
    described_index_facts,
    index_facts,
    planned_facts,
)
from airlift.target_changes import TargetNotes

_EXTRAS = ("params.", "properties.")
_SHOWN = 3


def check_collections(migration: Migration, schemas: Mapping[str, CollectionSchema]) -> None:
    """Describes the collections that this migration made, and compares them with the planned ones.

    Those that it appends to were compared when it was planned.

    Args:
        schemas: what was to be made, by the collection's name in the plan.

    Raises:
        Refused: with every difference that the target is not known for.
    """
    reasons: list[str] = []
    notes: dict[str, tuple[str, ...]] = {}
    created = migration.staging.created()
    for collection in migration.staging.plan().collections:
        record = created.find(collection.name)
        if record is None or not record.made:
            continue
        target, name = migration.target(collection.mapped), collection.target_name
        found = described_facts(target.describe(name), target.partitions(name))
        differences = compare_facts(planned_facts(schemas[collection.name]), found)
        wrong, told = sort_differences(differences, migration.capabilities)
        reasons += [
            f"collection {collection.name!r}, {difference}; the target has not made it as it was "
            "asked to, or it was changed since: drop the collection (rollback_migration does), "
            "mend what differs (mapping names most of it), then clear the task create"
            for difference in wrong
        ]
        if told:
            notes[collection.name] = (_as_note(migration, collection, told),)
    _keep(migration, "schemas", notes)
    if reasons:
        raise Refused(reasons)


def check_indexes(
    migration: Migration, wanted: Iterable[tuple[CollectionPlan, Field, IndexParams]]
) -> None:
    """Compares the indexes that are on the collections with those that the params ask for.

    Raises:
        Refused: a collection that this migration made has another one.
    """
    reasons: list[str] = []
    notes: dict[str, tuple[str, ...]] = {}
    created = migration.staging.created()
    for name, planned in _planned_indexes(wanted).items():
        collection = migration.staging.plan().collection(name)
        found: Facts = {}
        for index in migration.target(collection.mapped).indexes(collection.target_name):
            found |= described_index_facts(index)
        wrong, told = sort_differences(compare_indexes(planned, found), migration.capabilities)
        record = created.find(name)
        if record is None or not record.made:  # its owner's choice
            wrong, told = [], [*wrong, *told]
        reasons += [
            f"collection {name!r}, {difference}; an index that is there already stays: drop it, "
            "then clear the task index"
            for difference in wrong
        ]
        if told:
            notes[name] = (_as_note(migration, collection, told),)
    _keep(migration, "indexes", notes)
    if reasons:
        raise Refused(reasons)


def sort_differences(
    differences: Iterable[Difference], can: Capabilities
) -> tuple[list[Difference], list[Difference]]:
    """Those that are refused, and those that are noted."""
    wrong: list[Difference] = []
    told: list[Difference] = []
    for difference in differences:
        kept = difference.name.partition(".")[0]
        kept = (
            "index_params" if difference.place.startswith("index on") and kept == "params" else kept
        )
        is_extra = difference.planned is None and difference.name.startswith(_EXTRAS)
        is_choice = difference.name == "index_type" and difference.planned == "AUTOINDEX"
        if difference.planned is None and difference.name == "num_partitions":
            continue  # the server's default was asked for
        is_known = kept in can.unkept or is_extra or (is_choice and difference.found)
        (told if is_known else wrong).append(difference)
    return wrong, told


def _planned_indexes(
    wanted: Iterable[tuple[CollectionPlan, Field, IndexParams]],
) -> dict[str, Facts]:
    planned: dict[str, Facts] = {}
    for collection, field, index in wanted:
        facts = index_facts(field.name, index.index_type, field.metric, index.params)
        planned.setdefault(collection.name, {}).update(facts)
    return planned


def _as_note(migration: Migration, collection: CollectionPlan, told: list[Difference]) -> str:
    """One note for all that a target is known for."""
    by_name: dict[str, list[Difference]] = {}
    for difference in told:
        by_name.setdefault(difference.name, []).append(difference)
    parts = []
    for name, same in by_name.items():
        places = [difference.place or "the collection" for difference in same]
        if len(same) == 1:
            parts.append(f"{same[0].place}{': ' if same[0].place else ''}{_as_text(same[0])}")
        else:
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            parts.append(f"{name} of {', '.join(places[:_SHOWN])}{more}")
    note = (
        f"collection {collection.name!r}: {migration.server.version().name} has made it otherwise "
        f"than asked, as it is known to: {'; '.join(parts)}"
    )
    log.info("%s", note)
    return note


def _as_text(difference: Difference) -> str:
    return f"{difference.name} {difference.found!r} instead of {difference.planned!r}"


def _keep(migration: Migration, kind: str, notes: dict[str, tuple[str, ...]]) -> None:
    staging = migration.staging
    kept = staging.read("target_notes.json", TargetNotes) or TargetNotes()
    changed = kept.model_copy(update={kind: notes})
    if changed != kept:
        staging.write("target_notes.json", changed)
