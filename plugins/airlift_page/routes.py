"""The page's routes in Airflow's API server; who may not see a DAG is told nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

from airlift.errors import AirliftError
from airlift_page.details import describe
from airlift_page.listing import list_migrations
from airlift_page.runs import MigrationDag, MigrationDags, Run, find_run
from airlift_page.staged import REPORT, REPORT_JSON, StagedMigrations

app = FastAPI(title="Milvus Airlift", openapi_url=None)
_dags = MigrationDags()
_staging = StagedMigrations()

_ENTITY = DagAccessEntity.TASK_INSTANCE
_may_see = Depends(requires_access_dag("GET", _ENTITY))
_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# The report needs its own styles and nothing else: whoever could write into staging can do no harm.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


@app.get("/migrations")
def migrations(
    response: Response,
    user: GetUserDep,
    session: SessionDep,
    search: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    offset: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """A page of the list of all migrations that the user may see."""
    response.headers.update(_PRIVATE)
    manager = get_auth_manager()
    readable = manager.get_authorized_dag_ids(user=user, method="GET")
    dags = [
        dag
        for dag in _dags.among(readable, session)
        if manager.is_authorized_dag(
            method="GET",
            access_entity=_ENTITY,
            details=DagDetails(id=dag.dag_id, team_name=DagModel.get_team_name(dag.dag_id)),
            user=user,
        )
    ]
    if not dags and not manager.is_authorized_dag(method="GET", user=user):
        raise HTTPException(403, "You may not see any DAG")
    return list_migrations(dags, session, search, state, offset)


@app.get("/dags/{dag_id}/runs/{run_id}", dependencies=[_may_see])
def migration(response: Response, dag_id: str, run_id: str, session: SessionDep) -> dict[str, Any]:
    """How far a migration is."""
    response.headers.update(_PRIVATE)
    dag, run = _found(dag_id, run_id, session)
    return describe(dag, run, _staging, session)


@app.get("/dags/{dag_id}/runs/{run_id}/report", dependencies=[_may_see])
def report(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The report of a migration, as it lies in staging."""
    return HTMLResponse(
        _report(dag_id, run_id, session, REPORT),
        headers={
            **_PRIVATE,
            "Content-Security-Policy": _REPORT_POLICY,
            "Referrer-Policy": "no-referrer",
        },
    )


@app.get("/dags/{dag_id}/runs/{run_id}/report.json", dependencies=[_may_see])
def report_json(dag_id: str, run_id: str, session: SessionDep) -> Response:
    """The same for machines."""
    content = _report(dag_id, run_id, session, REPORT_JSON)
    return Response(content, media_type="application/json", headers=_PRIVATE)


def _report(dag_id: str, run_id: str, session: SessionDep, name: str) -> bytes:
    _, run = _found(dag_id, run_id, session)
    try:
        staged = _staging.open(run.params, run.migration_id)
        staged.refresh()
        if not staged.has_report:
            raise HTTPException(404, "There is no report of this migration yet")
        return staged.report(name)
    except AirliftError as error:
        raise HTTPException(502, str(error)) from None


def _found(dag_id: str, run_id: str, session: SessionDep) -> tuple[MigrationDag, Run]:
    dag = _dags.find(dag_id, session)
    run = find_run(dag, run_id, session) if dag else None
    if dag is None or run is None:
        raise HTTPException(404, "This run is not a migration, or there is no such run")
    return dag, run


class _PageFiles(StaticFiles):
    """The page's own files: the same for everybody; asked for again after an upgrade."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, never taken from a cache without asking."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


app.mount("/static", _PageFiles(directory=Path(__file__).parent / "static"))
