"""The report of a migration: what moved, the counts at each step, and how it was verified."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from airlift.migration import Migration
from airlift.plan import CollectionPlan
from airlift.staging import Created, SourceChanges
from airlift.timing import StepTime, read_steps
from airlift.verification import Verification, Verifications


class CollectionReport(BaseModel):
    """One collection, from source to target; numbers as of `PartitionCounts`."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    alias: str
    fields: dict[str, str]
    partitions: list[str]
    notes: list[str]
    way: str
    file_format: str
    chunks: int
    rows_source: int
    rows_deleted: int
    rows_left_out: int
    rows_planned: int
    rows_set_aside: int = 0
    rows_present: int = 0
    rows_replaced: int = 0
    rows_converted: int = 0
    rows_imported: int = 0
    rows_counted: int | None = None
    bytes: int = 0
    convert_seconds: float = 0.0
    fingerprint_seconds: float = 0.0
    jobs_adopted: int = 0
    verification: Verification | None = None


class Report(BaseModel):
    """The whole migration. `state` is `planned` (a dry run) or `done`."""

    model_config = ConfigDict(frozen=True)

    migration_id: str
    state: str
    written: str
    path: str
    source: str
    target: str
    staging: str
    params: dict[str, Any]
    collections: list[CollectionReport]
    changes: list[str] = []
    steps: list[StepTime]
    seconds: float


def build_report(migration: Migration, state: str) -> Report:
    """Puts the report together from what staging holds."""
    staging = migration.staging
    plan = staging.plan()
    verified = staging.read("verification.json", Verifications) if state == "done" else None
    by_name = {one.collection: one for one in verified.collections} if verified else {}
    steps = read_steps(migration)
    changes = staging.read("changes.json", SourceChanges)
    return Report(
        migration_id=migration.id,
        state=state,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        path=migration.source_name,
        source=migration.source.address(),
        target=migration.target_address(),
        staging=staging.folder.url,
        params=migration.params.model_dump(mode="json"),
        collections=[
            _collection(migration, one, by_name.get(one.name)) for one in plan.collections
        ],
        changes=list(changes.told) if changes else [],
        steps=steps,
        seconds=sum(step.seconds for step in steps),
    )


def _collection(
    migration: Migration, plan: CollectionPlan, verification: Verification | None
) -> CollectionReport:
    staging = migration.staging
    manifests = [staging.manifest(plan.name, chunk.id) for chunk in plan.chunks]
    written = [manifest for manifest in manifests if manifest]
    created = staging.read("created.json", Created)
    records = [staging.current_import(plan.name, chunk.id) for chunk in plan.chunks if created]
    present = sum(one.rows_present for one in written)
    imported = [record for record in records if record and record.done]
    return CollectionReport(
        source=plan.mapped.source,
        target=plan.name,
        alias=plan.mapped.alias,
        fields=plan.mapped.fields,
        partitions=list(plan.mapped.target.partitions),
        notes=list(plan.notes),
        way=plan.way,
        file_format=plan.file_format,
        chunks=len(plan.chunks),
        rows_source=plan.rows,
        rows_deleted=plan.deleted,
        rows_left_out=plan.left_out,
        rows_planned=plan.planned_rows,
        rows_set_aside=sum(one.bad_rows for one in written),
        rows_present=present if plan.leaves_present_rows_out else 0,
        rows_replaced=0 if plan.leaves_present_rows_out else present,
        rows_converted=sum(one.rows for one in written),
        rows_imported=sum(one.rows for one in imported),
        rows_counted=verification.counted if verification else None,
        bytes=sum(one.bytes for one in (written or plan.chunks)),
        convert_seconds=sum(one.seconds for one in written),
        fingerprint_seconds=sum(one.fingerprint_seconds for one in written),
        jobs_adopted=sum(one.adopted for one in imported),
        verification=verification,
    )
