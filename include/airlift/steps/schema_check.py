"""Compares what a server has made with what it was asked to make: a part of `create` and `index`.

A difference is refused by name: rows would go into another collection than was planned. Settings
that the target is known not to keep (`Capabilities.unkept`), and those that it adds by itself, are
noted; the notes are shown in the report and on the page.
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
        Refused: with every difference that is not usual on the target.
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
        wrong, noted = sort_differences(differences, migration.capabilities)
        reasons += [
            f"collection {collection.name!r}, {difference}; the collection on the target is not "
            "as planned: the server created it differently, or somebody has changed it. Drop it "
            "(rollback_migration does), correct the difference, in `mapping` or on the server, "
            "then clear the task create"
            for difference in wrong
        ]
        if noted:
            why = f"settings differ from the plan, as is usual on {migration.server.version().name}"
            notes[collection.name] = (_as_note(collection, why, noted),)
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
        wrong, noted = sort_differences(compare_indexes(planned, found), migration.capabilities)
        record = created.find(name)
        if record is None or not record.made:  # its owner's choice
            wrong, noted = [], [*wrong, *noted]
        reasons += [
            f"collection {name!r}, {difference}; the field has another index than the one asked "
            "for, and an existing index is never replaced: drop it, then clear the task index"
            for difference in wrong
        ]
        if noted:
            why = "indexes differ from those asked for, and stay as they are"
            notes[name] = (_as_note(collection, why, noted),)
    _keep(migration, "indexes", notes)
    if reasons:
        raise Refused(reasons)


def sort_differences(
    differences: Iterable[Difference], can: Capabilities
) -> tuple[list[Difference], list[Difference]]:
    """Those that are refused, and those that are noted."""
    wrong: list[Difference] = []
    noted: list[Difference] = []
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
        (noted if is_known else wrong).append(difference)
    return wrong, noted


def _planned_indexes(
    wanted: Iterable[tuple[CollectionPlan, Field, IndexParams]],
) -> dict[str, Facts]:
    planned: dict[str, Facts] = {}
    for collection, field, index in wanted:
        facts = index_facts(field.name, index.index_type, field.metric, index.params)
        planned.setdefault(collection.name, {}).update(facts)
    return planned


def _as_note(collection: CollectionPlan, why: str, noted: list[Difference]) -> str:
    """One note for all differences that are not refused."""
    by_name: dict[str, list[Difference]] = {}
    for difference in noted:
        by_name.setdefault(difference.name, []).append(difference)
    parts = []
    for name, same in by_name.items():
        places = [difference.place or "the collection" for difference in same]
        if len(same) == 1:
            parts.append(f"{same[0].place}{': ' if same[0].place else ''}{_as_text(same[0])}")
        else:
            more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
            parts.append(f"{name} of {', '.join(places[:_SHOWN])}{more}")
    note = f"collection {collection.name!r}: {why}: {'; '.join(parts)}"
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
