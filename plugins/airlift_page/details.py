"""One migration: how far its collections, steps and chunks are, and what went wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from airlift.empty_collections import NO_ROW_AT_ALL
from airlift.errors import AirliftError
from airlift.verification import Verifications
from airlift_airflow.operators.base import ERROR_KEY
from airlift_page.listing import state_of, to_roll_back
from airlift_page.progress import (
    IMPORT,
    READ,
    CollectionProgress,
    Progress,
    TaskState,
    totals,
)
from airlift_page.rates import plot, speed
from airlift_page.runs import MigrationDag, Run, Told, rolled_back, tasks_of, told_by
from airlift_page.staged import StagedMigration, StagedMigrations
from airlift_page.steps import step_states, tasks_to_clear

_COLLECTIONS = 200
_MESSAGES = 30
_LENGTH = 2000
"""Letters of one message."""
_ENDED = ("success", "failed")


def describe(
    dag: MigrationDag, run: Run, staging: StagedMigrations, session: Session
) -> dict[str, Any]:
    """All that the page shows of a run."""
    tasks = tasks_of(run, session)
    told = told_by([run], session, ("return_value", "summary", ERROR_KEY))[run.dag_id, run.run_id]
    published = any(one.task == "publish" and one.key == "return_value" for one in told)
    state = state_of(run, rolled_back(session), published)
    answer: dict[str, Any] = {
        "run": _run(run, state, told),
        "steps": step_states(tasks, dag.task_ids),
        "errors": _errors(tasks, told, dag.task_ids[-1]),
        "resume": tasks_to_clear(tasks, dag.task_ids),
        "alerts": [],
        "warnings": [],
        "report": False,
    }
    try:
        staged = staging.open(run.params, run.migration_id)
        staged.refresh()
    except AirliftError as error:
        return answer | {"unseen": str(error)} | _known_to_airflow(told)
    answer["report"] = staged.has_report
    if staged.plan is None:
        return answer | _unseen(staged, run, told) | _known_to_airflow(told)
    return answer | _from_staging(staged, run, tasks)


def _run(run: Run, state: str, told: Sequence[Told]) -> dict[str, Any]:
    values = {one.task: one.value for one in told if one.key == "return_value"}
    checked = values.get("check")
    checked = checked if isinstance(checked, dict) else {}
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "migration_id": run.migration_id,
        "airflow_state": run.state,
        "state": state,
        "ended": run.ended if run.state in _ENDED else None,
        "started": run.started,
        "started_by": run.started_by,
        "source": str(checked.get("source", "")),
        "target": str(checked.get("target", "")),
        "verify": str(run.params.get("verify") or ""),
        "dry_run": bool(run.params.get("dry_run")),
        "now": time.time(),
        "rollback": to_roll_back(run),
    }


def _from_staging(staged: StagedMigration, run: Run, tasks: Sequence[TaskState]) -> dict[str, Any]:
    plan = staged.plan or ()
    progress = Progress(plan, staged.tasks, tasks)
    collections = progress.collections()
    _add_verification(collections, staged.verifications)
    now = time.time()
    started = run.started or now
    moving = [one for one in tasks if one.task in (READ, IMPORT)]
    begun = min((one.started for one in moving if one.started), default=started)
    ended = max((one.ended or now for one in moving if one.started), default=now)
    made = staged.target_notes
    notes = [f"{one.name}: {note}" for one in plan for note in (*one.notes, *made.of(one.name))]
    return {
        "collections": [asdict(one) for one in _most_interesting(collections)],
        "collections_more": max(len(collections) - _COLLECTIONS, 0),
        "totals": totals(collections),
        "chunks": progress.strip(),
        "plot": plot(progress, begun, max(ended, begun + 1.0)),
        "speed": speed(progress, now) if run.state not in _ENDED else None,
        "alerts": _alerts([one.warnings for one in collections]),
        "warnings": _short([*staged.changes, *notes]),
    }


def _alerts(warnings: Sequence[Sequence[str]]) -> list[str]:
    """The collections' warnings, and first that they are all there is, where it is so."""
    told = [warning for one in warnings for warning in one]
    return _short([NO_ROW_AT_ALL, *told] if told and all(warnings) else told)


def _add_verification(
    collections: Sequence[CollectionProgress], verifications: Verifications | None
) -> None:
    found = {one.collection: one for one in verifications.collections} if verifications else {}
    for collection in collections:
        one = found.get(collection.name)
        if one:
            collection.counted = one.counted
            collection.verified = not one.problems
            collection.problems = tuple(_short(one.problems[:3]))


def _most_interesting(collections: Sequence[CollectionProgress]) -> list[CollectionProgress]:
    """As planned; where there are too many, those in work or with problems before the others."""
    if len(collections) <= _COLLECTIONS:
        return list(collections)

    def rank(one: CollectionProgress) -> tuple[int, int]:
        in_work = one.read_share > 0.0 and one.import_share < 1.0
        return (0 if one.problems else 1 if in_work or one.bad_rows else 2, -one.planned)

    return sorted(collections, key=rank)[:_COLLECTIONS]


def _unseen(staged: StagedMigration, run: Run, told: Sequence[Told]) -> dict[str, Any]:
    """Why staging shows no plan though there is one; nothing, where there is none yet."""
    if not any(one.key == "summary" for one in told):
        return {}
    address = staged.folder.address()
    if not staged.folder.is_local:
        return {"unseen": f"{address} holds no plan (any more): was the migration rolled back?"}
    return {
        "unseen": f"{address} holds no plan: it lies on the disk of another machine than the API "
        "server's, or the migration was rolled back. With staging in a bucket all is shown"
    }


def _known_to_airflow(told: Sequence[Told]) -> dict[str, Any]:
    """The numbers that the tasks told Airflow: planned rows, and those of batches that are done."""
    plan = next((one.value for one in told if one.key == "summary"), None)
    if not isinstance(plan, dict):
        return {}
    rows = dict.fromkeys((READ, IMPORT), 0)
    for one in told:
        if one.key == "return_value" and one.task in rows and isinstance(one.value, dict):
            rows[one.task] += one.value.get("rows", 0)
    planned = sum(one["rows"] for one in plan["collections"].values())
    return {
        "alerts": _short(plan.get("warnings") or ()),
        "totals": {
            "planned": planned,
            "read": rows[READ],
            "converted": rows[READ],
            "imported": rows[IMPORT],
            "read_share": min(rows[READ] / planned, 1.0) if planned else 0.0,
            "import_share": min(rows[IMPORT] / planned, 1.0) if planned else 0.0,
            "chunks": sum(one["chunks"] for one in plan["collections"].values()),
            "collections": len(plan["collections"]),
        },
    }


def _errors(
    tasks: Sequence[TaskState], told: Sequence[Told], teardown: str
) -> list[dict[str, Any]]:
    """The failures that stand: of tasks that have failed or wait to be tried again.

    Args:
        teardown: the task that fails because another one has; it matters where none says why.
    """
    reasons = {(one.task, one.index): one.value for one in told if one.key == ERROR_KEY}
    failed = [one for one in tasks if one.state in ("failed", "up_for_retry")]
    if any(one.task != teardown and (one.task, one.index) in reasons for one in failed):
        failed = [one for one in failed if one.task != teardown]
    failed.sort(key=lambda one: one.started or 0.0)
    return [
        {
            "task": one.task,
            "index": one.index,
            "state": one.state,
            "at": one.ended,
            "reasons": _short(reasons.get((one.task, one.index)) or ()),
        }
        for one in failed[:_MESSAGES]
    ]


def _short(messages: Any) -> list[str]:
    told = [str(one) for one in (messages if isinstance(messages, (list, tuple)) else [messages])]
    more = [f"and {len(told) - _MESSAGES:,} more"] if len(told) > _MESSAGES else []
    return [one if len(one) <= _LENGTH else f"{one[:_LENGTH]} …" for one in told[:_MESSAGES]] + more
