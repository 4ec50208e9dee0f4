"""The step `plan` of a dry run: what would be made, what is against it, and what it would take."""

from __future__ import annotations

from airlift.assessment.assessment import Assessment
from airlift.assessment.collection import assess_collection
from airlift.assessment.step_estimates import estimate_steps
from airlift.errors import AirliftError, Refused
from airlift.migration import Migration
from airlift.plan import Plan
from airlift.steps.copy_source import files_to_copy
from airlift.steps.plan import draft_plan, log_warnings
from airlift.steps.probe import probe_collections
from airlift.targets.ways import IMPORT_WAYS


def assess(migration: Migration, max_batches: int, workers_share_disk: bool) -> Plan:
    """Writes `assessment.json`, and `plan.json` where nothing is against it.

    Nothing is written to the target, but for what `dry_run_probe` allows. A part of each collection
    is read and converted to measure it.

    Args:
        max_batches: the most tasks that may be mapped.
        workers_share_disk: whether every worker sees this machine's disk.

    Raises:
        Refused: with every reason why the collections can't be moved as asked. The assessment, and
            what could be planned (`draft.json`), are written all the same.
    """
    staging = migration.staging
    for name in ("draft.json", "assessment.json"):  # of an earlier dry run
        staging.folder.delete_file(name)
    plan, reasons = draft_plan(migration, max_batches)
    copied = 0
    try:
        copied = sum(file.size for file in files_to_copy(migration, workers_share_disk))
    except AirliftError as error:
        reasons.append(str(error))
    # What is refused may not even be fit to be tried.
    probes, unfit = ({}, []) if reasons else probe_collections(migration, plan)
    reasons += unfit
    collections = tuple(
        assess_collection(migration, one, probes.get(one.name)) for one in plan.collections
    )
    names = sorted({one.mapped.database for one in plan.collections})
    staging.write(
        "assessment.json",
        Assessment(
            refusals=tuple(reasons),
            new_databases=tuple(name for name in names if not migration.database_exists(name)),
            collections=collections,
            batches=len(plan.batches),
            copied_bytes=copied,
            steps=estimate_steps(migration.params, plan, collections),
            untried=_untried(plan, migration.params.dry_run_probe),
        ),
    )
    if reasons:
        staging.write("draft.json", plan)
        raise Refused(reasons)
    staging.write("plan.json", plan)
    log_warnings(plan)
    return plan


def _untried(plan: Plan, probed: bool) -> tuple[str, ...]:
    """What only a real run can tell.

    Args:
        probed: whether the target was asked by making collections there.
    """
    told = ["whether every row is fit: a dry run reads a part of them only"]
    if not probed:
        told.append(
            "whether the target takes each schema and its indexes: they were compared with what "
            "its version takes by default; dry_run_probe asks the server itself"
        )
    if not probed and {one.way for one in plan.collections} & IMPORT_WAYS.keys():
        told.append(
            "whether the target can read the staging folder: it would have to make a collection to "
            "try, which a dry run does with dry_run_probe only"
        )
    if any(one.appends for one in plan.collections):
        told.append("how many of the rows the target holds already")
    return tuple(told)
