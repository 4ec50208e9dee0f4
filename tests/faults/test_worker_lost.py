"""A migration on two machines, each of which dies in the middle of it, one after the other.

Airflow with CeleryExecutor, PostgreSQL and Redis; a worker on each machine, which are network
namespaces. They share no log folder, and staging is the bucket that Milvus itself uses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airlift.storage import open_storage
from localservers import AirflowCluster, MilvusOnS3
from localservers.lan import BRIDGE
from localservers.ports import wait_until
from samples.milvus1x_tables import CollectionTruth, TableSpec, write_milvus1x
from tests.paths.place import FLAT, bucket_of
from tests.paths.truth import assert_holds

ROOT = Path(__file__).resolve().parents[2]
DAG = "milvus1x_to_milvus"
MILVUS, BUCKET = 19530, 9000
# Seven batches of a chunk each.
SONGS = TableSpec("outlived", 32_000, dim=64, segments=4, deleted_fraction=0.03, seed=5)
# Tasks are forked from the workers. Batches hold a megabyte in place of 4 GB. While a file exists,
# tasks wait in mid-work: the one when chunks are read, the other one when a job has been accepted
# and is not written down yet.
READING, ACCEPTED = "hold-reading", "hold-accepted"
LOCAL_SETTINGS = f"""
import sys as _sys
_sys.path.append({str(ROOT)!r})
from airlift.sources.milvus1x.source import Milvus1xSource as _Source
_Source.batch_bytes = 1 << 20
if "worker" in _sys.argv:
    import time as _time
    from pathlib import Path as _Path
    import tests.engine_imports as _imported
    from airlift.targets.grpc_bulk_insert import GrpcBulkInsert as _Way

    def _hold(name):
        while _Path(__file__).with_name(name).exists():
            _time.sleep(0.05)

    def _read(self, *args, _of=_Source.read, **more):
        _hold({READING!r})
        return _of(self, *args, **more)

    def _submit(self, *args, _of=_Way.submit, **more):
        job = _of(self, *args, **more)
        _hold({ACCEPTED!r})
        return job

    _Source.read, _Way.submit = _read, _submit
"""
SETTINGS = {
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    # As many as the workers run at a time; see docs/scaling.md.
    "AIRFLOW__CORE__PARALLELISM": "4",
    # A worker that died is noticed by the silence of its tasks.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # Redis gives a dead worker's messages to the other one, which runs what was not begun.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    # On a machine that does much else the API server answers late.
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
}


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, milvus_on_s3: MilvusOnS3
) -> Iterator[AirflowCluster]:
    """Two workers, which have Milvus and its bucket at the bridge's address."""
    home = tmp_path_factory.mktemp("cluster")
    (home / "airflow_local_settings.py").write_text(LOCAL_SETTINGS)
    s3 = milvus_on_s3.s3
    connections = {
        "milvus": {
            "conn_type": "milvus",
            "host": BRIDGE,
            "port": MILVUS,
            "login": "root",
            "password": "Milvus",
        },
        "bucket": {
            "conn_type": "aws",
            "login": s3.access_key,
            "password": s3.secret_key,
            "extra": {"endpoint_url": f"http://{BRIDGE}:{BUCKET}", "region_name": s3.region},
        },
    }
    env = {
        **SETTINGS,
        "PYTHONPATH": str(home),
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(one) for name, one in connections.items()},
    }
    servers = {
        MILVUS: _host_and_port(milvus_on_s3.address),
        BUCKET: _host_and_port(s3.endpoint_url.removeprefix("http://")),
    }
    cluster = AirflowCluster(home, ROOT / "dags", ROOT / "plugins", env=env, servers=servers)
    with cluster:
        cluster.wait_for_dag(DAG)
        cluster.unpause(DAG)
        yield cluster


def _host_and_port(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host, int(port)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, milvus_on_s3: MilvusOnS3) -> CollectionTruth:
    """What must arrive; the source lies in the bucket, where both machines can read it."""
    folder = tmp_path_factory.mktemp("source")
    written = write_milvus1x(folder, [SONGS])[SONGS.name]
    s3 = milvus_on_s3.s3
    bucket = open_storage(f"s3://{s3.bucket}/lost_worker_source", bucket_of(s3))
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.write_bytes(str(file.relative_to(folder)), file.read_bytes())
    return written


def _tasks(airflow: AirflowCluster, run_id: str, **wanted: Any) -> list[dict[str, Any]]:
    """The run's task instances that have these values."""
    return [
        task
        for task in airflow.task_instances(DAG, run_id)
        if all(task[name] == value for name, value in wanted.items())
    ]


def _kill_while_it_runs(
    airflow: AirflowCluster, run_id: str, task_id: str, worker: str, held_by: str
) -> list[int]:
    """Kills a worker once all of them run such tasks; returns the map indexes of its own.

    Args:
        held_by: the file that holds them up; it is removed then.
    """

    def running() -> list[dict[str, Any]]:
        return _tasks(airflow, run_id, task_id=task_id, state="running")

    wait_until(
        lambda: {task["hostname"] for task in running()} == set(airflow.workers),
        600,
        lambda: f"{task_id} runs as {running()}; the run is {airflow.run_state(DAG, run_id)}",
        # More often, and the API server would be busy with this alone.
        interval=0.3,
    )
    killed = [task["map_index"] for task in running() if task["hostname"] == worker]
    airflow.kill_worker(worker)
    (airflow.home / held_by).unlink()
    return killed


def test_a_migration_outlives_both_of_its_workers(
    airflow: AirflowCluster, milvus_on_s3: MilvusOnS3, truth: CollectionTruth
) -> None:
    first, second = airflow.workers
    source = f"s3://{milvus_on_s3.s3.bucket}/lost_worker_source"
    (airflow.home / READING).touch()
    run_id = airflow.trigger(
        DAG,
        {
            "tables_url": f"{source}/tables",
            "meta_url": f"{source}/meta.sqlite",
            "source_conn_id": "bucket",
            "staging_url": f"s3://{milvus_on_s3.s3.bucket}/staging",
            "staging_conn_id": "bucket",
            "target_conn_id": "milvus",
            "write_mode": "bulk_insert",
            "chunk_mb": 1,
            "index": FLAT,
            "verify": "full",
            "migration_id": "lost_workers",
        },
    )
    unconverted = _kill_while_it_runs(airflow, run_id, "convert", second, READING)
    (airflow.home / ACCEPTED).touch()
    airflow.start_worker(second)
    unsent = _kill_while_it_runs(airflow, run_id, "bulk_insert", first, ACCEPTED)
    assert unconverted and unsent
    state = airflow.wait(DAG, run_id)
    tasks = {(one["task_id"], one["map_index"]): one for one in _tasks(airflow, run_id)}
    assert state == "success", {name: one["state"] for name, one in tasks.items()}

    assert all(tasks["convert", number]["try_number"] > 1 for number in unconverted)
    assert all(tasks["bulk_insert", number]["try_number"] > 1 for number in unsent)
    done_by = {
        task_id: {one["hostname"] for (name, _), one in tasks.items() if name == task_id}
        for task_id in ("convert", "bulk_insert", "verify")
    }
    # The machine that lived on when the other one died did its part of the step.
    assert first in done_by["convert"]
    assert second in done_by["bulk_insert"]
    assert done_by["verify"] == {second}

    with closing(milvus_on_s3.client()) as client:
        assert_holds(client, SONGS.name, truth)
        client.drop_collection(SONGS.name)

    # The page asks the machine that has a log for it: nobody else can read it.
    assert not list((airflow.home / "logs").rglob("task_id=verify/*.log"))
    log = airflow.task_log(DAG, run_id, "verify")
    assert f"http://{second}:8793/" in log
    assert "verified at full" in log
