"""Checks, before anything is published, that the result of `verify` is still valid."""

from __future__ import annotations

from collections.abc import Iterator

from airlift.errors import AirliftError, Mismatch, Refused
from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.report.collection import converted_fingerprint
from airlift.row_counts import partition_counts, row_counts
from airlift.staging import Staging
from airlift.steps.unrecorded_jobs import unrecorded_jobs
from airlift.steps.verify import refuse_mismatch
from airlift.verification import PartitionCounts, Verification, Verifications


def ensure_still_verified(migration: Migration) -> Verifications:
    """What was verified, if that is every collection of the plan, and still so.

    Raises:
        AirliftError: a collection is not verified.
        Mismatch: what staging holds has changed since, or import jobs have come in that this
            migration has not recorded.
    """
    staging = migration.staging
    verified = staging.read("verification.json", Verifications) or Verifications()
    staging.created()  # raises, where it is lost: without it no import counts
    by_name = {verification.collection: verification for verification in verified.collections}
    problems = []
    for collection in staging.plan().collections:
        verification = by_name.get(collection.name)
        if verification is None or verification.problems:
            raise AirliftError(
                f"the collection {collection.name!r} is not verified; clear the task verify"
            )
        changes = _changes_since(staging, collection, verification)
        problems += [f"{collection.name!r}: {change}" for change in changes]
    if problems:
        raise Mismatch(
            "what staging holds has changed since it was verified. "
            f"{Refused(problems)}\nClear the task verify, to compare again"
        )
    _refuse_late_jobs(migration, verified)
    return verified


def _changes_since(
    staging: Staging, collection: CollectionPlan, verification: Verification
) -> Iterator[str]:
    """How what staging holds of a collection differs from what was verified."""
    refs = collection.chunk_refs
    manifests = list(staging.manifests(refs))
    for name, counts in partition_counts(
        collection, manifests, staging.current_imports(refs)
    ).items():
        verified = verification.partitions.get(name, PartitionCounts())
        seen_later = {"before": verified.before, "counted": verified.counted}
        if counts.model_copy(update=seen_later) != verified:
            now = counts.model_copy(update=seen_later)
            yield f"partition {name or '_default'}: {_differing(verified, now)}"
    known = row_counts(collection, verification.partitions, verification.counted)
    yield from known.problems()
    found = converted_fingerprint(manifests)
    if verification.fingerprint_source not in ("", str(found)):
        yield (
            f"the fingerprint of the converted rows is {found or 'damaged'}, verified was "
            f"{verification.fingerprint_source}"
        )


def _differing(verified: PartitionCounts, now: PartitionCounts) -> str:
    """The numbers of rows that are not those that were verified."""
    before, after = verified.model_dump(), now.model_dump()
    return ", ".join(
        f"{after[name]:,} rows {name.replace('_', ' ')}, verified were {number:,}"
        for name, number in before.items()
        if after[name] != number
    )


def _refuse_late_jobs(migration: Migration, verified: Verifications) -> None:
    """Looks once more for import jobs that took our files and are not recorded.

    Raises:
        Mismatch: there are some; from then on the collections count as differing.
    """
    late = {
        collection.name: unrecorded_jobs(migration, collection, "publish")
        for collection in migration.staging.plan().collections
    }
    if any(late.values()):
        results = (
            verification.model_copy(
                update={"problems": tuple(late.get(verification.collection, ()))}
            )
            for verification in verified.collections
        )
        refuse_mismatch(migration, tuple(results))
