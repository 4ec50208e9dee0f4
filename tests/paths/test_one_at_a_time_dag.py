"""Two runs that want the same migration or collection at the same moment, in a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airlift.claims import Claims, Holder
from airlift.steps.claim import claimed_migration
from airlift.storage import open_storage
from localservers import AirflowStandalone, Milvus, S3Server
from localservers.ports import wait_until
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.paths.far_source import FarSource, far_source_of
from tests.paths.place import FLAT

DAG = "milvus1x_to_milvus"
SPEC = TableSpec("songs", 6_000, dim=16, segments=4, deleted_fraction=0.03)
ROWS = 5_820


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone) -> AirflowStandalone:
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


@pytest.fixture
def far_source(
    airflow: AirflowStandalone, s3_server: S3Server, tmp_path: Path, request: Any
) -> Iterator[FarSource]:
    write_milvus1x(tmp_path, [SPEC])
    bucket = f"far-{request.node.name.replace('_', '-')}"[:60].rstrip("-")
    with far_source_of(airflow, s3_server, tmp_path, bucket) as far:
        yield far


@pytest.fixture
def conf(milvus: Milvus, far_source: FarSource, tmp_path: Path, request: Any) -> Iterator[Any]:
    name = request.node.name
    yield {
        **far_source.params,
        "meta_url": f"{tmp_path}/meta.sqlite",
        "staging_url": str(milvus.data_dir / "staging"),
        "target_conn_id": "milvus_local",
        "migration_id": name,
        "mapping": {"songs": {"target": name}},
        "write_mode": "insert",
        "chunk_mb": 1,
        "index": FLAT,
        "verify": "full",
    }
    with closing(milvus.client()) as client:
        if client.has_collection(name):
            client.drop_collection(name)


def wait_until_told(airflow: AirflowStandalone, run_id: str, task: str, told: str) -> None:
    """Until a task has failed for the first time, and said so."""

    def has_failed() -> bool:
        return any(
            one["task_id"] == task and one["state"] in ("up_for_retry", "failed")
            for one in airflow.task_instances(DAG, run_id)
        )

    wait_until(has_failed, 600, lambda: f"{task} of {run_id} was not refused", interval=0.1)
    assert told in airflow.task_log(DAG, run_id, task, try_number=1)


def test_the_second_is_told_and_comes_after_the_first(airflow, milvus, conf, far_source) -> None:
    first = airflow.trigger(DAG, conf)
    far_source.wait_until_it_waits(airflow, first)
    same_migration = airflow.trigger(DAG, conf)
    same_target = airflow.trigger(DAG, {**conf, "migration_id": conf["migration_id"] + "_2"})
    holder = f"is claimed by run '{first}' of DAG '{DAG}'"
    wait_until_told(
        airflow, same_migration, "check", f"the migration '{conf['migration_id']}' {holder}"
    )
    wait_until_told(airflow, same_target, "plan", holder)
    # What the first has begun is still there, whatever the others' teardowns do.
    assert list((Path(conf["staging_url"]) / conf["migration_id"]).rglob("*.part-*"))
    airflow.request("PATCH", f"/dags/{DAG}/dagRuns/{same_target}", json={"state": "failed"})
    far_source.go_on()
    assert airflow.wait(DAG, first) == "success"
    if airflow.wait(DAG, same_migration) == "failed":  # it was refused each time that it tried
        airflow.clear(DAG, same_migration)
        assert airflow.wait(DAG, same_migration) == "success"
    assert airflow.wait(DAG, same_target) == "failed"
    with closing(milvus.client()) as client:
        [counted] = client.query(conf["migration_id"], "", ["count(*)"], consistency_level="Strong")
    assert counted["count(*)"] == ROWS
    assert not list((Path(conf["staging_url"]) / "claims").iterdir())


def test_a_claim_of_a_run_that_has_ended_does_not_count(airflow, conf, far_source) -> None:
    """As its teardown was killed, or the run was deleted."""
    far_source.go_on()
    ended = airflow.trigger(DAG, {**conf, "dry_run": True})
    assert airflow.wait(DAG, ended) == "success"
    claims = Path(conf["staging_url"]) / "claims"
    assert not list(claims.iterdir())
    running = airflow.trigger(DAG, conf)
    wait_until(lambda: list(claims.glob("*.held")), 600, lambda: "nothing was claimed")
    own = Holder.model_validate(json.loads(next(claims.glob("*.held")).read_text())["holder"])
    assert airflow.wait(DAG, running) == "success"
    for run_id in (ended, "deleted_run"):
        dead = own.model_copy(update={"run_id": run_id})
        stale = Claims(open_storage(conf["staging_url"]), dead, lambda other: False)
        stale.take(claimed_migration(conf["migration_id"]))
    again = airflow.trigger(DAG, conf)
    assert airflow.wait(DAG, again) == "success"
    assert not list(claims.iterdir())


def test_airflows_database_is_set_back(airflow, milvus, conf, far_source) -> None:
    """To the moment in which the rows were read: staging knows what was done since."""
    database, copy = airflow.home / "airflow.db", airflow.home / "earlier.db"
    run_id = airflow.trigger(DAG, conf)
    far_source.wait_until_it_waits(airflow, run_id)
    with closing(sqlite3.connect(database)) as now, closing(sqlite3.connect(copy)) as earlier:
        now.backup(earlier)
    far_source.go_on()
    assert airflow.wait(DAG, run_id) == "success"
    airflow.stop()
    for path in airflow.home.glob("airflow.db*"):
        path.unlink()
    copy.rename(database)
    airflow.restart()
    assert airflow.run_state(DAG, run_id) == "running"
    assert airflow.wait(DAG, run_id) == "success"
    report = json.loads(
        (Path(conf["staging_url"]) / conf["migration_id"] / "report.json").read_text()
    )
    assert "Airflow's database was set back" in report["set_back"]
    with closing(milvus.client()) as client:
        [counted] = client.query(conf["migration_id"], "", ["count(*)"], consistency_level="Strong")
    assert counted["count(*)"] == ROWS
