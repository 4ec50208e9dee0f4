"""The list of migrations: what Airflow knows of each, without a look into staging."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from airlift_page.runs import MigrationDag, Run, Told, newest_runs, rolled_back, told_by

SEARCHED = 1000
"""Runs among which is searched."""
PAGE = 25
_NAMES = 4
"""Names of collections that a line shows."""
_BRIEF = ("check", "plan", "verify", "publish")
_BATCHES = ("convert", "bulk_insert")


def list_migrations(
    dags: Sequence[MigrationDag], session: Session, search: str, state: str, offset: int
) -> dict[str, Any]:
    """A page of the list, newest first.

    Args:
        search: words that a line must all hold, in any of its columns.
        state: only those in this state; "" for all.
        offset: lines before the page.

    Returns:
        `migrations`, `matching` (how many there are in all), `searched`, `states`.
    """
    runs = newest_runs(dags, session, SEARCHED)
    brief = told_by(runs, session, ("return_value", "summary"), _BRIEF)
    undone = rolled_back(session)
    lines = [(run, _line(run, brief[run.dag_id, run.run_id], undone)) for run in runs]
    words = search.lower().split()
    matching = [
        (run, line)
        for run, line in lines
        if (not state or line["state"] == state) and _holds(run, line, words)
    ]
    shown = matching[offset : offset + PAGE]
    batches = told_by([run for run, _ in shown], session, ("return_value",), _BATCHES)
    for run, line in shown:
        _add_rows(line, run, batches[run.dag_id, run.run_id])
        line["collections_more"] = max(len(line["collections"]) - _NAMES, 0)
        line["collections"] = line["collections"][:_NAMES]
    return {
        "migrations": [line for _, line in shown],
        "matching": len(matching),
        "searched": len(runs),
        "page": PAGE,
        "states": sorted({line["state"] for _, line in lines}),
        "paths": [dag.dag_id for dag in dags],
    }


def _line(run: Run, told: Sequence[Told], undone: Mapping[str, float]) -> dict[str, Any]:
    by_task = {(one.task, one.key): one.value for one in told}
    checked = _dict(by_task.get(("check", "return_value")))
    planned = _dict(_dict(by_task.get(("plan", "summary"))).get("collections"))
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "migration_id": run.migration_id,
        "source": str(checked.get("source", "")),
        "target": str(checked.get("target", "")),
        "collections": list(planned),
        "rows_total": sum(_dict(one).get("rows", 0) for one in planned.values())
        if planned
        else None,
        "warnings": list(_dict(by_task.get(("plan", "summary"))).get("warnings") or ()),
        "airflow_state": run.state,
        "state": state_of(run, undone, ("publish", "return_value") in by_task),
        "rollback": to_roll_back(run),
        "verified": bool(by_task.get(("verify", "return_value"))),
        "verify": str(run.params.get("verify") or ""),
        "dry_run": bool(run.params.get("dry_run")),
        "started_by": run.started_by,
        "started": run.started or run.queued,
        "seconds": _seconds(run),
    }


def state_of(run: Run, undone: Mapping[str, float], published: bool) -> str:
    """A word for how a migration stands: Airflow's state, or one that says more.

    A run that was cancelled ends as a success in Airflow where its teardown does: what was not
    begun was skipped. So only what was published is done.
    """
    if undone.get(run.migration_id, 0.0) > (run.started or 0.0) > 0.0:
        return "rolled back"
    if run.state != "success":
        return run.state
    if run.params.get("dry_run"):
        return "planned"
    return "done" if published else "cancelled"


def to_roll_back(run: Run) -> dict[str, str]:
    """What rollback_migration has to be told beside the id."""
    names = ("staging_url", "staging_conn_id", "target_conn_id")
    return {name: str(run.params.get(name) or "") for name in names}


def _seconds(run: Run) -> float | None:
    return (run.ended or time.time()) - run.started if run.started else None


def _holds(run: Run, line: Mapping[str, Any], words: Sequence[str]) -> bool:
    columns = ("dag_id", "run_id", "migration_id", "source", "target", "started_by", "state")
    text = " ".join([*(str(line[column]) for column in columns), *line["collections"]]).lower()
    return all(word in text for word in words)


def _add_rows(line: dict[str, Any], run: Run, told: Sequence[Told]) -> None:
    rows = dict.fromkeys(_BATCHES, 0)
    for one in told:
        rows[one.task] += _dict(one.value).get("rows", 0)
    line["rows_read"], line["rows_done"] = rows["convert"], rows["bulk_insert"]
    seconds = line["seconds"]
    line["rows_per_second"] = rows["bulk_insert"] / seconds if seconds else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
