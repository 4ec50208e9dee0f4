"""The step `verify`: compares what the target holds with what the source held."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from airlift.errors import Mismatch, Refused
from airlift.migration import Migration, log
from airlift.milvus.rows import MilvusRows
from airlift.params import OnMismatch, Verify
from airlift.plan import CollectionPlan
from airlift.row_counts import partition_counts, row_counts
from airlift.steps.compare import (
    compare_all,
    compare_sample,
    existing_partitions,
    read_sample,
)
from airlift.steps.index import begin_load, undo_temporary
from airlift.steps.search_sample import search_sample
from airlift.steps.staged_chunk import ensure_recorded
from airlift.steps.unrecorded_jobs import unrecorded_jobs
from airlift.target_changes import Published
from airlift.targets.running_imports import wait_for_imports
from airlift.verification import PartitionCounts, Verification, Verifications


def verify(migration: Migration) -> dict[str, Any]:
    """Compares every collection as far as the param `verify` asks, and writes it down.

    Returns:
        Rows counted and compared per collection.

    Raises:
        Mismatch: with every difference of every collection.
    """
    plan = migration.staging.plan()
    migration.staging.folder.delete_file("verification.json")  # what an earlier attempt found
    for collection in plan.collections:
        ensure_recorded(migration, collection)
        # A Milvus Lite file forgets what is loaded as soon as the task that loaded it ends.
        if not migration.target(collection.mapped).is_loaded(collection.target_name):
            begin_load(migration, collection)
            migration.target(collection.mapped).wait_loaded(collection.target_name)
    results = tuple(_verify_collection(migration, collection) for collection in plan.collections)
    refuse_mismatch(migration, results)
    undo_temporary(migration)
    return {one.collection: {"rows": one.counted, "sampled": one.sampled} for one in results}


def refuse_mismatch(migration: Migration, results: tuple[Verification, ...]) -> None:
    """Writes down how the verification came out.

    Raises:
        Mismatch: there are problems; nobody can take the collections for good ones any more.
    """
    migration.staging.write("verification.json", Verifications(collections=results))
    problems = [f"{one.collection!r}: {problem}" for one in results for problem in one.problems]
    if problems:
        published = _after_mismatch(migration, results)
        listed = Refused(problems)  # it writes several reasons as a list
        advice = f" {_published_advice(published)}" if published else ""
        raise Mismatch(
            f"source and target differ. {listed}\n{_ADVICE[migration.params.on_mismatch]}{advice}"
        )


_ADVICE = {
    OnMismatch.FAIL: "Both sides are kept; the collections on the target are not loaded.",
    OnMismatch.DROP: "The collections that this migration made are dropped, as on_mismatch asks.",
}


def _published_advice(names: list[str]) -> str:
    """What is said of collections that stay whatever on_mismatch asks."""
    return (
        f"But an earlier run of this migration has published {names}: they stay as they are, since "
        "others use them, and may have changed them since. To move the source once more, use a new "
        "migration_id; to remove them, use rollback_migration."
    )


def _after_mismatch(migration: Migration, results: tuple[Verification, ...]) -> list[str]:
    """Makes sure that nobody takes the collections for good ones.

    Returns:
        Those that differ and were published before: they are in use, and are left alone.
    """
    created = migration.staging.created()
    published = migration.staging.read("published.json", Published) or Published()
    in_use: list[str] = []
    for one in results:
        made = created.find(one.collection)
        if not one.problems or made is None or not made.made:
            continue
        if published.has(made):
            in_use.append(one.collection)
            continue
        collection = migration.staging.plan().collection(one.collection)
        target = migration.target(collection.mapped)
        if migration.params.on_mismatch is OnMismatch.DROP:
            log.warning("%s differs from the source and is dropped", one.collection)
            # Not under an import: Milvus 2.3 holds on to that, and begins none after it.
            wait_for_imports(target, collection.target_name, migration.staging.folder, "verify")
            target.drop(collection.target_name)
        else:
            target.release(collection.target_name)
    return in_use


def _verify_collection(migration: Migration, collection: CollectionPlan) -> Verification:
    level = migration.params.verify
    partitions = count_partitions(migration, collection)
    counted = MilvusRows(migration.target(collection.mapped)).count(collection.target_name)
    problems = _count_problems(collection, partitions, counted)
    found: dict[str, Any] = {}
    if level is not Verify.COUNTS and any(one.converted for one in partitions.values()):
        samples = read_sample(migration, collection)
        found |= compare_sample(migration, collection, samples, problems)
        searches, lost = search_sample(migration, collection, pa.concat_tables(samples.values()))
        found |= searches
        problems += lost
    if level is Verify.FULL:
        own = collection.own_partitions
        before = sum(counts.before for name, counts in partitions.items() if name in own)
        found |= compare_all(migration, collection, before, problems)
    problems += unrecorded_jobs(migration, collection, "verify")
    shown = ", ".join(f"{name} {value}" for name, value in found.items() if name != "searches")
    log.info(
        "%s: %s rows counted, verified at %s, %d problems %s",
        collection.name,
        f"{counted:,}",
        level.value,
        len(problems),
        f"({shown})" if shown else "",
    )
    return Verification(
        collection=collection.name,
        level=level,
        counted=counted,
        partitions=partitions,
        problems=tuple(problems),
        **found,
    )


def _count_problems(
    collection: CollectionPlan, partitions: dict[str, PartitionCounts], counted: int
) -> list[str]:
    """Rows that are not as many as they must be, in a partition or in all."""
    problems = [
        f"partition {name or '_default'}: {one.planned:,} rows planned, {one.read:,} read, "
        f"{one.set_aside:,} set aside, {one.present:,} there already, {one.converted:,} converted, "
        f"{one.imported:,} imported, {one.before:,} there before, {one.replaced:,} of them written "
        f"over, {one.counted:,} counted"
        for name, one in partitions.items()
        if not one.agrees and not collection.mapped.has_partition_key
    ]
    return problems + row_counts(collection, partitions, counted).problems()


def count_partitions(
    migration: Migration, collection: CollectionPlan
) -> dict[str, PartitionCounts]:
    """The rows of each partition of the target's collection at each step.

    Also of partitions that others have made there: nothing may have come into them.
    """
    staging, target = migration.staging, migration.target(collection.mapped)
    refs, rows = collection.chunk_refs, MilvusRows(target)
    counts = partition_counts(collection, staging.manifests(refs), staging.current_imports(refs))
    created = staging.created().find(collection.name)
    before = created.rows_before if created else {}
    if collection.mapped.has_partition_key:
        # Rows are in partitions of the server's own, which all count.
        counted = {"": rows.count(collection.target_name)}
    else:
        # One that is gone had rows all the same.
        counted = dict.fromkeys((*counts, *before), 0) | {
            name: rows.count(collection.target_name, name)
            for name in existing_partitions(target, collection)
        }
    nothing = PartitionCounts()
    return {
        name: counts.get(name, nothing).model_copy(
            update={"before": before.get(name, 0), "counted": number}
        )
        for name, number in counted.items()
    }
