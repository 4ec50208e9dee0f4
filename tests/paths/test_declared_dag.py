"""Declared migrations in a real Airflow: by the clock, after each other, and with a broken file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from localservers import AirflowStandalone, Milvus, MilvusLite
from localservers.ports import wait_until
from samples.milvus_collection import songs, write_songs
from tests.paths.place import FLAT

FIRST, SECOND = "migration__from_lite", "migration__copy_of_it"
ERRORS = "declared_migrations_errors.py"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def migrations(
    airflow_and_milvus: AirflowStandalone, milvus: Milvus, milvus_lite: MilvusLite
) -> Iterator[Path]:
    """The folder that Airflow reads; afterwards it is empty, and no run goes on."""
    airflow = airflow_and_milvus
    host, port = milvus_lite.address.rsplit(":", 1)
    body = {"connection_id": "declared", "conn_type": "milvus", "host": host, "port": int(port)}
    airflow.request("POST", "/connections", json=body)
    folder = airflow.home / "migrations"
    yield folder
    for dag_id in {FIRST, SECOND} & set(airflow.dag_ids()):
        airflow.request("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
        for run in runs(airflow, dag_id, "running", "queued"):
            place = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}"
            airflow.request("PATCH", place, json={"state": "failed"})
    for file in folder.iterdir():
        file.unlink()
    parse_anew()
    for server in (milvus, milvus_lite):
        with closing(server.client()) as client:
            for name in {"declared_songs", "declared_copy"} & set(client.list_collections()):
                client.drop_collection(name)
    wait_until(lambda: not airflow.import_errors(), 180, lambda: str(airflow.import_errors()))


def runs(airflow: AirflowStandalone, dag_id: str, *states: str) -> list[dict[str, Any]]:
    """The runs of a DAG in one of these states, the oldest first."""
    try:
        found = airflow.request("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "run_after"})
    except httpx.TransportError:  # a machine under load may answer too late; it is asked again
        return []
    return [run for run in found["dag_runs"] if run["state"] in states]


def declare(folder: Path, name: str, said: dict[str, Any]) -> None:
    """JSON is YAML."""
    (folder / f"{name}.yaml").write_text(json.dumps(said, indent=2))
    parse_anew()


def parse_anew() -> None:
    """Airflow parses a DAG file at once that is newer than what it knows."""
    for file in ("declared_migrations.py", ERRORS):
        (ROOT / "dags" / file).touch()


def rows_of(client: Any, name: str) -> dict[int, dict[str, Any]]:
    """The rows of a collection by key, as they were inserted."""
    found = client.query(name, filter="id >= 0", output_fields=["*"], limit=5_000)
    return {
        row["id"]: {**row, "vector": [float(x) for x in row["vector"]], "tags": list(row["tags"])}
        for row in found
    }


def test_they_run_by_the_clock_and_after_each_other_and_move_what_is_new(
    airflow_and_milvus: AirflowStandalone,
    milvus: Milvus,
    milvus_lite: MilvusLite,
    migrations: Path,
) -> None:
    airflow = airflow_and_milvus
    truth = {row["id"]: row for row in songs(600)}
    with closing(milvus_lite.client()) as source, closing(milvus.client()) as target:
        write_songs(source, "declared_songs", 400)
        common = {
            "collections": ["declared_songs"],
            "staging_url": str(milvus.data_dir / "declared_staging"),
            "target_conn_id": "milvus_local",
            "since_pk": True,
            "index": FLAT,
            "verify": "full",
        }
        second = {
            **common,
            "source_conn_id": "milvus_local",
            "mapping": {"declared_songs": {"target": "declared_copy"}},
        }
        path = "milvus_to_milvus"
        declare(
            migrations,
            SECOND.removeprefix("migration__"),
            {"path": path, "paused": False, "schedule": {"assets": [FIRST]}, "params": second},
        )
        declare(
            migrations,
            FIRST.removeprefix("migration__"),
            {
                "path": path,
                "paused": False,
                "schedule": "* * * * *",
                "params": {**common, "source_conn_id": "declared"},
            },
        )
        for dag_id in (SECOND, FIRST):
            airflow.wait_for_dag(dag_id)
        # Beside them one that is broken, which both don't mind.
        declare(migrations, "broken", {"path": path, "params": {**common, "since_pc": True}})

        assert wait_for(airflow, FIRST, 400) == {"scheduled"}
        assert wait_for(airflow, SECOND, 400) == {"asset_triggered"}
        source.insert("declared_songs", [row for key, row in truth.items() if key >= 1_200])
        assert wait_for(airflow, FIRST, 600) == {"scheduled"}
        assert wait_for(airflow, SECOND, 600) == {"asset_triggered"}
        for name in ("declared_songs", "declared_copy"):
            assert rows_of(target, name) == truth
        assert not runs(airflow, FIRST, "failed") and not runs(airflow, SECOND, "failed")

        errors = wait_until(airflow.import_errors, 120, lambda: "no import error")
        [(file, error)] = errors.items()
        assert Path(file).name == ERRORS
        told = "params.since_pc: there is no such key; did you mean since_pk?"
        assert f"broken.yaml, line 14, {told}" in error
        listed = airflow.request("GET", f"/dags/{FIRST}")
        assert not listed["is_stale"] and not listed["has_import_errors"]


def wait_for(airflow: AirflowStandalone, dag_id: str, rows: int) -> set[str]:
    """Waits until the runs have moved this many rows, none twice; what kinds of runs they were."""

    def moved() -> int:
        done = runs(airflow, dag_id, "success")
        reports = [report_of(airflow, dag_id, run["dag_run_id"]) for run in done]
        return sum(report["collections"][0]["rows_imported"] for report in reports)

    wait_until(
        lambda: moved() >= rows,
        1_200,
        lambda: (
            f"no runs of {dag_id} have moved {rows} rows: "
            f"{runs(airflow, dag_id, 'success', 'failed', 'running', 'queued')}"
        ),
        interval=2,
    )
    assert moved() == rows
    return {run["run_type"] for run in runs(airflow, dag_id, "success")}


def report_of(airflow: AirflowStandalone, dag_id: str, run_id: str) -> Any:
    """A run's report.json, which lies beside the page that its last task has named."""
    xcom = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/publish/xcomEntries/return_value"
    named = airflow.request("GET", xcom)["value"]["report"]
    return json.loads(Path(named).with_name("report.json").read_text())
