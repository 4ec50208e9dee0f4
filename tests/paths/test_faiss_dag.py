"""The DAG `faiss_to_milvus` in a real Airflow, triggered by REST, into a real Milvus."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from localservers import AirflowStandalone, Milvus
from samples.faiss_indexes import IndexSpec, write_faiss
from tests.paths.place import FLAT
from tests.paths.test_faiss_to_milvus import holds

DAG = "faiss_to_milvus"
SONGS = IndexSpec(
    "songs", 3_000, "IVF16,Flat", 16, shards=2, own_ids=True, scalars="parquet", joined=True
)


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone) -> AirflowStandalone:
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


def test_a_run_brings_every_row(airflow: AirflowStandalone, milvus: Milvus, tmp_path: Path) -> None:
    truth = write_faiss(tmp_path, [SONGS])["songs"]
    conf = {
        "index_url": f"{tmp_path}/songs-*.index",
        "scalars_url": f"{tmp_path}/songs.parquet",
        "scalars_id_column": "song",
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "write_mode": "bulk_insert",
        "target_conn_id": "milvus_local",
        "mapping": {"songs": {"target": "faiss_dag_songs"}},
        "index": FLAT,
        "verify": "full",
        "migration_id": "faiss_dag",
    }
    run_id = airflow.trigger(DAG, conf)
    assert airflow.wait(DAG, run_id) == "success"
    with closing(milvus.client()) as client:
        holds(client, "faiss_dag_songs", truth)
        client.drop_collection("faiss_dag_songs")


def test_a_hostile_file_is_refused_at_once_and_the_worker_lives_on(
    airflow: AirflowStandalone, milvus: Milvus, tmp_path: Path
) -> None:
    write_faiss(tmp_path, [IndexSpec("songs", 100, "SQ8", 16)])
    path = tmp_path / "songs.index"
    data = path.read_bytes()
    # A number of trained values that Faiss would have to believe.
    path.write_bytes(data[:65] + (1 << 60).to_bytes(8, "little") + data[73:])
    conf = {
        "index_url": str(path),
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "write_mode": "bulk_insert",
        "target_conn_id": "milvus_local",
        "allow_lossy": True,
    }
    run_id = airflow.trigger(DAG, conf)
    assert airflow.wait(DAG, run_id) == "failed"
    tasks = airflow.task_instances(DAG, run_id)
    failed = {one["task_id"]: one["try_number"] for one in tasks if one["state"] == "failed"}
    # The teardown fails too, so that a run which was stopped is not called a success.
    assert failed == {"check": 1, "clean_staging": 1}
    assert "is damaged, truncated or no Faiss index" in airflow.task_log(DAG, run_id, "check")
