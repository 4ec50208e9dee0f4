"""The step `verify`: compares what the target holds with what the source held."""

from __future__ import annotations

from typing import Any

from airlift.errors import Mismatch, Refused
from airlift.migration import Migration, log
from airlift.milvus.rows import MilvusRows
from airlift.params import OnMismatch, Verify
from airlift.plan import CollectionPlan
from airlift.steps.compare import compare_all, compare_sample, compare_search, read_sample
from airlift.steps.index import begin_load, undo_temporary
from airlift.verification import PartitionCounts, Verification, Verifications, rows_before


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
        # A Milvus Lite file forgets what is loaded as soon as the task that loaded it ends.
        if not migration.target(collection.mapped).is_loaded(collection.target_name):
            begin_load(migration, collection)
            migration.target(collection.mapped).wait_loaded(collection.target_name)
    results = tuple(_verify_collection(migration, collection) for collection in plan.collections)
    migration.staging.write("verification.json", Verifications(collections=results))
    problems = [f"{one.collection!r}: {problem}" for one in results for problem in one.problems]
    if problems:
        _after_mismatch(migration, results)
        told = Refused(problems)  # the same way of telling several things
        raise Mismatch(f"source and target differ. {told}\n{_ADVICE[migration.params.on_mismatch]}")
    undo_temporary(migration)
    return {one.collection: {"rows": one.counted, "sampled": one.sampled} for one in results}


_ADVICE = {
    OnMismatch.FAIL: "Both sides are kept; the collections on the target are not loaded.",
    OnMismatch.DROP: "The collections that this migration made are dropped, as on_mismatch asks.",
}


def _after_mismatch(migration: Migration, results: tuple[Verification, ...]) -> None:
    """Makes sure that nobody takes the collections for good ones."""
    created = migration.staging.created()
    for one in results:
        made = created.find(one.collection)
        if not one.problems or made is None or not made.made:
            continue
        collection = migration.staging.plan().collection(one.collection)
        target = migration.target(collection.mapped)
        if migration.params.on_mismatch is OnMismatch.DROP:
            log.warning("%s differs from the source and is dropped", one.collection)
            target.drop(collection.target_name)
        else:
            target.release(collection.target_name)


def _verify_collection(migration: Migration, collection: CollectionPlan) -> Verification:
    level = migration.params.verify
    partitions = count_partitions(migration, collection)
    counted = MilvusRows(migration.target(collection.mapped)).count(collection.target_name)
    problems = [
        f"partition {name or '_default'}: {one.planned:,} rows planned, {one.set_aside:,} set "
        f"aside, {one.present:,} there already, {one.converted:,} converted, {one.imported:,} "
        f"imported, {one.before:,} there before, {one.replaced:,} of them written over, "
        f"{one.counted:,} counted"
        for name, one in partitions.items()
        if not one.agrees
    ]
    found: dict[str, Any] = {}
    if level is not Verify.COUNTS and any(one.converted for one in partitions.values()):
        sample = read_sample(migration, collection)
        found |= compare_sample(migration, collection, sample, problems)
        found |= compare_search(migration, collection, sample, problems)
    if level is Verify.FULL:
        found |= compare_all(migration, collection, rows_before(partitions), problems)
    told = ", ".join(f"{name} {value}" for name, value in found.items() if name != "searches")
    log.info(
        "%s: %s rows counted, verified at %s, %d problems %s",
        collection.name,
        f"{counted:,}",
        level.value,
        len(problems),
        f"({told})" if told else "",
    )
    return Verification(
        collection=collection.name,
        level=level,
        counted=counted,
        partitions=partitions,
        problems=tuple(problems),
        **found,
    )


def count_partitions(
    migration: Migration, collection: CollectionPlan
) -> dict[str, PartitionCounts]:
    """The rows of each target partition at each step."""
    staging, rows = migration.staging, MilvusRows(migration.target(collection.mapped))
    made = staging.created().find(collection.name)
    before = made.rows_before if made else {}
    keyed = collection.mapped.has_partition_key
    sums: dict[str, dict[str, int]] = {
        name: dict.fromkeys(
            ("planned", "set_aside", "present", "replaced", "converted", "imported"), 0
        )
        for name in collection.mapped.partitions.values()
    }
    refs = collection.chunk_refs
    for chunk, manifest, record in zip(
        collection.chunks, staging.manifests(refs), staging.current_imports(refs), strict=True
    ):
        one = sums[collection.mapped.partitions[chunk.partition]]
        one["planned"] += chunk.rows
        one["set_aside"] += manifest.bad_rows if manifest else 0
        one["converted"] += manifest.rows if manifest else 0
        present = "present" if collection.leaves_present_rows_out else "replaced"
        one[present] += manifest.rows_present if manifest else 0
        one["imported"] += record.rows if record and record.done else 0
    return {
        name: PartitionCounts(
            **one,
            before=before.get(name, 0),
            # Rows with a partition key are in partitions of the server's own, which all count.
            counted=rows.count(collection.target_name, None if keyed else name),
        )
        for name, one in sums.items()
    }
