"""The DAG `milvus_to_milvus` in a real Airflow: from a Milvus Lite server into a real Milvus."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from localservers import AirflowStandalone, Milvus, MilvusLite
from samples.milvus_collection import songs, write_songs
from tests.paths.place import FLAT

DAG = "milvus_to_milvus"


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone, milvus_lite: MilvusLite) -> AirflowStandalone:
    host, port = milvus_lite.address.rsplit(":", 1)
    body = {"connection_id": "lite_source", "conn_type": "milvus", "host": host, "port": int(port)}
    airflow_and_milvus.request("POST", "/connections", json=body)
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


def test_a_run_brings_every_row_and_a_second_one_is_refused(
    airflow: AirflowStandalone, milvus: Milvus, milvus_lite: MilvusLite
) -> None:
    with closing(milvus_lite.client()) as source:
        write_songs(source, "dag_songs", 1_000)
    conf: dict[str, Any] = {
        "collections": ["dag_songs"],
        "source_conn_id": "lite_source",
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "target_conn_id": "milvus_local",
        "index": FLAT,
        "verify": "full",
        "migration_id": "milvus_dag",
    }
    run_id = airflow.trigger(DAG, conf)
    assert airflow.wait(DAG, run_id) == "success"
    with closing(milvus.client()) as client:
        found = client.query("dag_songs", filter="id >= 0", output_fields=["*"], limit=2_000)
        expected = {row["id"]: row for row in songs(1_000)}
        for row in found:
            row = {**row, "vector": [float(x) for x in row["vector"]], "tags": list(row["tags"])}
            assert row == expected.pop(row["id"])
        assert not expected
        run_id = airflow.trigger(DAG, {**conf, "migration_id": "milvus_dag_again"})
        assert airflow.wait(DAG, run_id) == "failed"
        assert "exists on the target already" in airflow.task_log(DAG, run_id, "plan")
        _undo(airflow, conf)
        assert not client.has_collection("dag_songs")
        assert not (Path(conf["staging_url"]) / "milvus_dag").exists()
    with closing(milvus_lite.client()) as source:
        source.drop_collection("dag_songs")


def _undo(airflow: AirflowStandalone, conf: dict[str, Any]) -> None:
    """By the DAG `rollback_migration`; a dry run first, which removes nothing."""
    undoing = "rollback_migration"
    airflow.wait_for_dag(undoing)
    airflow.unpause(undoing)
    given = {name: conf[name] for name in ("staging_url", "target_conn_id", "migration_id")}
    for dry_run in (True, False):
        run_id = airflow.trigger(undoing, {**given, "dry_run": dry_run})
        assert airflow.wait(undoing, run_id) == "success"
        told = airflow.task_log(undoing, run_id, "list_what_was_made")
        assert "collections: ('dag_songs',)" in told
        assert (Path(conf["staging_url"]) / "milvus_dag").exists() == dry_run
