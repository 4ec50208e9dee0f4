"""The report of a migration: what moved, the counts at each step, and how it was verified.

It is put together from what staging holds, so that it can be written whenever a task fails too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from airlift.access import PLANNED, RESTORED, RestoredAccess
from airlift.assessment.assessment import Assessment
from airlift.empty_collections import NO_ROW_AT_ALL
from airlift.errors import AirliftError
from airlift.migration import Migration
from airlift.plan import Plan
from airlift.report.collection import CollectionReport, report_collection
from airlift.report.failures import StepFailure, read_failures
from airlift.report.throughput import Throughput, Work, one_after_another, throughput
from airlift.staging import Meta, SetBack, SourceChanges
from airlift.target_changes import TargetNotes
from airlift.timing import StepTime, read_steps
from airlift.verification import Verifications
from airlift.versions import Versions, installed_software

T = TypeVar("T")

_BEFORE_PLAN = {"check", "export_meta", "copy_source"}
_BEFORE_CREATE = {*_BEFORE_PLAN, "plan", "convert"}
_AFTER_VERIFY = {"verify", "publish"}


class Described(BaseModel):
    """A collection as the source describes it, for a report without a plan."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    deleted: int
    fields: dict[str, str]


class Report(BaseModel):
    """The whole migration.

    Attributes:
        state: `planned` (a dry run that found nothing against it), `done`, or `failed`.
        failures: the tasks that failed; of a dry run with refusals, `plan` with every reason.
        described: what the source holds, where there is no plan of it.
        assessment: of a dry run: what would be made, and what it would take.
        changes: what has changed at the source meanwhile.
        warnings: that not a single row is moved; what is said of one collection stands with it.
        throughput: rows and bytes over time.
        set_back: that Airflow's database knew less than staging, and what was done about it.
    """

    model_config = ConfigDict(frozen=True)

    migration_id: str
    state: str
    written: str
    path: str
    source: str
    target: str
    staging: str
    versions: Versions = Versions()
    params: dict[str, Any]
    failures: list[StepFailure] = []
    described: list[Described] = []
    assessment: Assessment | None = None
    collections: list[CollectionReport]
    changes: list[str] = []
    warnings: list[str] = []
    access: RestoredAccess | None = None
    throughput: Throughput = Throughput()
    set_back: str = ""
    steps: list[StepTime]
    seconds: float

    @property
    def dry_run(self) -> bool:
        """Whether it was only asked what would be done."""
        return bool(self.params.get("dry_run"))


def build_report(migration: Migration, state: str) -> Report:
    """Puts the report together from what staging holds.

    Args:
        state: as of `Report`. What can't be known after a failure is left empty.
    """
    staging = migration.staging
    failures = read_failures(migration) if state == "failed" else []
    failed = {one.step for one in failures}
    plan = _plan(migration, failed)
    # What was found before this failure, or by an earlier attempt, proves nothing.
    is_verified = state == "done" or (state == "failed" and bool(failed & _AFTER_VERIFY))
    verified = staging.read("verification.json", Verifications) if is_verified else None
    by_name = {one.collection: one for one in verified.collections} if verified else {}
    steps = read_steps(migration)
    changes = staging.read("changes.json", SourceChanges)
    versions = staging.read("versions.json", Versions) or Versions(software=installed_software())
    # Of a dry run, or of a run that failed earlier, they would be an earlier run's.
    is_made = state != "planned" and not failed & _BEFORE_CREATE
    target_notes = staging.read("target_notes.json", TargetNotes) if is_made else None
    found = [
        report_collection(
            migration,
            one,
            by_name.get(one.name),
            target_notes.of(one.name) if target_notes else (),
        )
        for one in (plan.collections if plan else ())
    ]
    set_back = staging.read("set_back.json", SetBack)
    return Report(
        migration_id=migration.id,
        state=state,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        path=migration.source_name,
        source=_known(migration.source.address, ""),
        target=_known(lambda: migration.target_address(versions.target), ""),
        staging=staging.folder.url,
        versions=versions,
        params=migration.params.model_dump(mode="json"),
        failures=failures,
        described=[] if plan or "export_meta" in failed else _described(migration),
        assessment=_assessment(migration, failed),
        collections=[collection for collection, _ in found],
        changes=list(changes.told) if changes else [],
        warnings=_warnings([collection for collection, _ in found]),
        access=staging.read(PLANNED if state == "planned" else RESTORED, RestoredAccess),
        throughput=_throughput([work for _, works in found for work in works]),
        set_back=set_back.told if set_back else "",
        steps=steps,
        seconds=sum(step.seconds for step in steps),
    )


def _warnings(collections: list[CollectionReport]) -> list[str]:
    nothing = bool(collections) and all(one.warnings for one in collections)
    return [NO_ROW_AT_ALL] if nothing else []


def _known(ask: Callable[[], T], otherwise: T) -> T:
    """What something says, also when a connection that it needs is what has failed."""
    try:
        return ask()
    except AirliftError:
        return otherwise


def _plan(migration: Migration, failed: set[str]) -> Plan | None:
    """The plan of this run, if it came so far: an earlier run's may lie there still."""
    if failed & _BEFORE_PLAN:
        return None
    if migration.params.dry_run:
        draft = migration.staging.read("draft.json", Plan)
        return draft or (None if failed else migration.staging.plan())
    return None if "plan" in failed else migration.staging.read("plan.json", Plan)


def _assessment(migration: Migration, failed: set[str]) -> Assessment | None:
    if not migration.params.dry_run or failed & _BEFORE_PLAN:
        return None
    return migration.staging.read("assessment.json", Assessment)


def _throughput(works: list[Work]) -> Throughput:
    imports = [one for one in works if one.kind == "import"]
    others = [one for one in works if one.kind != "import"]
    return throughput(others + one_after_another(imports))


def _described(migration: Migration) -> list[Described]:
    meta = migration.staging.read("meta.json", Meta)
    return [
        Described(
            name=one.name,
            rows=one.rows,
            deleted=one.deleted,
            fields={field.name: field.type.value for field in one.collection_schema.fields},
        )
        for one in (meta.collections if meta else ())
    ]
