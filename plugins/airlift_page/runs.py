"""What Airflow's own database knows of the runs that are migrations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from airlift_airflow.migration_dag import TAG
from airlift_airflow.opening import migration_id_of
from airlift_page.progress import TaskState

ROLLBACK_DAG = "rollback_migration"
_OURS = "airlift_airflow."
"""Where the operators of a migration are."""
_REMEMBERED = 30.0
"""Seconds for which a DAG's params are remembered; they change with its file only."""


@dataclass(frozen=True)
class MigrationDag:
    """A DAG that migrates: its defaults of the params, and its tasks from first to last."""

    dag_id: str
    params: dict[str, Any]
    task_ids: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A run of a migration; times in seconds since 1970."""

    dag_id: str
    run_id: str
    state: str
    queued: float | None
    started: float | None
    ended: float | None
    started_by: str
    migration_id: str
    params: dict[str, Any]


class MigrationDags:
    """Knows which DAGs are migrations, by what their tasks are, not by their names."""

    def __init__(self) -> None:
        self._dags = DBDagBag(load_op_links=False)
        self._known: dict[str, tuple[float, MigrationDag | None]] = {}

    def find(self, dag_id: str, session: Session) -> MigrationDag | None:
        """The DAG, if it is a migration."""
        looked, dag = self._known.get(dag_id, (0.0, None))
        if not looked or time.monotonic() - looked > _REMEMBERED:
            dag = self._read(dag_id, session)
            self._known[dag_id] = (time.monotonic(), dag)
        return dag

    def among(self, dag_ids: Iterable[str], session: Session) -> list[MigrationDag]:
        """Those that are migrations."""
        from airflow.models.dag import DagTag

        tagged = session.scalars(select(DagTag.dag_id).where(DagTag.name == TAG))
        found = [self.find(dag_id, session) for dag_id in sorted({*tagged} & {*dag_ids})]
        return [dag for dag in found if dag]

    def _read(self, dag_id: str, session: Session) -> MigrationDag | None:
        dag = self._dags.get_latest_version_of_dag(dag_id, session=session)
        if dag is None or "check" not in dag.task_dict:
            return None
        if not str(getattr(dag.task_dict["check"], "_task_module", "")).startswith(_OURS):
            return None
        order = tuple(str(task.node_id) for task in dag.task_group.topological_sort())
        return MigrationDag(dag_id, dict(dag.params.dump()), order)


def newest_runs(dags: Sequence[MigrationDag], session: Session, limit: int) -> list[Run]:
    """The newest runs of the DAGs, newest first."""
    by_id = {dag.dag_id: dag for dag in dags}
    found = session.scalars(
        select(DagRun)
        .where(DagRun.dag_id.in_(by_id))
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(limit)
    )
    return [_run(by_id[one.dag_id], one) for one in found]


def find_run(dag: MigrationDag, run_id: str, session: Session) -> Run | None:
    """A run of a DAG."""
    found = session.scalar(
        select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id)
    )
    return _run(dag, found) if found else None


def _run(dag: MigrationDag, run: DagRun) -> Run:
    params = {**dag.params, **(run.conf or {})}
    return Run(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=str(run.state),
        queued=_seconds(run.queued_at),
        started=_seconds(run.start_date),
        ended=_seconds(run.end_date),
        started_by=run.triggering_user_name or str(run.run_type),
        migration_id=migration_id_of(params, run.dag_id, run.run_id, run.run_after),
        params=params,
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def tasks_of(run: Run, session: Session) -> list[TaskState]:
    """The task instances of a run."""
    one = TaskInstance
    found = session.execute(
        select(one.task_id, one.map_index, one.state, one.start_date, one.end_date).where(
            one.dag_id == run.dag_id, one.run_id == run.run_id
        )
    )
    return [
        TaskState(task, index, str(state or ""), _seconds(started), _seconds(ended))
        for task, index, state, started, ended in found
    ]


@dataclass(frozen=True)
class Told:
    """An XCom of a run."""

    task: str
    index: int
    key: str
    value: Any


def told_by(
    runs: Sequence[Run], session: Session, keys: Sequence[str], tasks: Sequence[str] = ()
) -> dict[tuple[str, str], list[Told]]:
    """XComs of runs, by DAG id and run id.

    Args:
        tasks: the ids of the tasks that are asked; empty for all.
    """
    one = XComModel
    columns = (one.dag_id, one.run_id, one.task_id, one.map_index, one.key, one.value)
    query = select(*columns).where(
        one.dag_id.in_({run.dag_id for run in runs}),
        one.run_id.in_({run.run_id for run in runs}),
        one.key.in_(keys),
    )
    if tasks:
        query = query.where(one.task_id.in_(tasks))
    found: dict[tuple[str, str], list[Told]] = {(run.dag_id, run.run_id): [] for run in runs}
    for row in session.execute(query):
        value = XComModel.deserialize_value(row)
        told = Told(row.task_id, row.map_index, row.key, value)
        found.get((row.dag_id, row.run_id), []).append(told)
    return found


def rolled_back(session: Session) -> dict[str, float]:
    """Migrations that were undone: their ids, and when the rollback began."""
    runs = session.scalars(
        select(DagRun)
        .where(DagRun.dag_id == ROLLBACK_DAG, DagRun.state == "success")
        .order_by(DagRun.run_after.asc())
    )
    return {
        str(run.conf["migration_id"]): run.start_date.timestamp()
        for run in runs
        if run.conf and run.conf.get("migration_id") and not run.conf.get("dry_run")
        if run.start_date
    }
