"""The DAG `milvus1x_to_milvus` in a real Airflow, triggered by REST, on real servers."""

import json
import re
import signal
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from airlift.storage import open_storage
from localservers import AirflowStandalone, MilvusOnS3
from localservers.airflow_api import AirflowApiError
from localservers.ports import wait_until
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.paths.place import FLAT, bucket_of

DAG = "milvus1x_to_milvus"
PASSWORD = "Pw-unmistakable-4711"
SONGS = TableSpec(
    "songs", 3_000, dim=16, segments=2, deleted_fraction=0.03, partitions={"rock": 500}
)
BITS = TableSpec("bits", 1_500, dim=64, metric="HAMMING", segments=2)


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone, milvus_on_s3: MilvusOnS3) -> AirflowStandalone:
    """Airflow with connections to the Milvus on S3 as well, a good one and a wrong one."""
    host, port = milvus_on_s3.address.rsplit(":", 1)
    s3 = milvus_on_s3.s3
    with closing(milvus_on_s3.client()) as root:
        root.create_user("dag_user", PASSWORD)
        root.grant_role("dag_user", "admin")
    server = {"conn_type": "milvus", "host": host, "port": int(port), "login": "dag_user"}
    connections = {
        "milvus_s3": {**server, "password": PASSWORD},
        "milvus_wrong": {**server, "password": "not-the-password"},
        "bucket": {
            "conn_type": "aws",
            "login": s3.access_key,
            "password": s3.secret_key,
            "extra": json.dumps({"endpoint_url": s3.endpoint_url, "region_name": s3.region}),
        },
    }
    for name, connection in connections.items():
        body = {"connection_id": name, **connection}
        airflow_and_milvus.request("POST", "/connections", json=body)
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("milvus1x")
    return SimpleNamespace(folder=folder, truth=write_milvus1x(folder, [SONGS, BITS]))


@pytest.fixture
def conf(source, milvus) -> dict:
    """Params of a whole run into the Milvus that stores locally."""
    return {
        "tables_url": str(source.folder / "tables"),
        "meta_url": str(source.folder / "meta.sqlite"),
        "staging_url": str(Path(milvus.data_dir) / "staging"),
        "write_mode": "bulk_insert",
        "target_conn_id": "milvus_local",
        "collections": ["songs"],
        "index": FLAT,
        "verify": "full",
    }


def states(airflow, run_id):
    return {
        (task["task_id"], task["map_index"]): task["state"]
        for task in airflow.task_instances(DAG, run_id)
    }


def rows_of(client, name):
    """Every row, by the test's own reading: primary key -> vector bytes."""
    client.load_collection(name)
    rows, last = {}, -(1 << 62)
    while page := client.query(name, f"id > {last}", ["id", "vector"], limit=1000):
        for row in page:
            vector = row["vector"]
            raw = vector[0] if isinstance(vector[0], bytes) else np.float32(vector).tobytes()
            rows[row["id"]] = raw
        last = max(row["id"] for row in page)
    count = client.query(name, "", ["count(*)"], consistency_level="Strong")[0]["count(*)"]
    assert count == len(rows)
    return rows


def truth_of(source, name):
    parts = source.truth[name].partitions.values()
    return {
        int(key): vector.tobytes()
        for part in parts
        for key, vector in zip(part.ids, part.vectors, strict=True)
    }


def run(airflow, conf):
    run_id = airflow.trigger(DAG, conf)
    return run_id, airflow.wait(DAG, run_id)


def succeed(airflow, conf):
    run_id, state = run(airflow, conf)
    assert state == "success", logs_of_failures(airflow, run_id)
    return run_id


def logs_of_failures(airflow, run_id):
    tasks = airflow.task_instances(DAG, run_id)
    return "\n".join(
        airflow.task_log(DAG, run_id, one["task_id"], map_index=one["map_index"])[-2000:]
        for one in tasks
        if one["state"] == "failed"
    )


def test_a_run_with_logins_and_s3_brings_every_row_and_tells_no_secret(
    airflow, source, milvus_on_s3
):
    s3 = milvus_on_s3.s3
    conf = {
        "tables_url": str(source.folder / "tables"),
        "meta_url": str(source.folder / "meta.sqlite"),
        "staging_url": f"s3://{s3.bucket}/staging",
        "write_mode": "bulk_insert",
        "staging_conn_id": "bucket",
        "target_conn_id": "milvus_s3",
        "mapping": {"songs": {"target": "dag_songs"}},
        "collections": ["songs"],
        "index": FLAT,
        "cutover_alias": True,
        "migration_id": "with_secrets",
        "keep_staging": True,
    }
    run_id = succeed(airflow, conf)
    with closing(milvus_on_s3.client()) as client:
        assert rows_of(client, "dag_songs__with_secrets") == truth_of(source, "songs")
        assert client.describe_alias("dag_songs")["collection_name"] == "dag_songs__with_secrets"

    secrets = {s3.secret_key, PASSWORD}
    staging = open_storage(conf["staging_url"], bucket_of(s3))
    texts = {
        name: staging.read_bytes(name)
        for name in staging.list(recursive=True)
        if name.endswith((".json", ".html"))
    }
    assert len(texts) > 10
    ran = [one for one in airflow.task_instances(DAG, run_id) if one["state"] == "success"]
    assert len(ran) == 11
    for task in ran:
        at = (DAG, run_id, task["task_id"])
        texts[f"log of {at}"] = airflow.task_log(*at, map_index=task["map_index"]).encode()
        path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task['task_id']}"
        texts[f"rendered {at}"] = json.dumps(task["rendered_fields"]).encode()
        entries = airflow.request(
            "GET", f"{path}/xcomEntries", params={"map_index": task["map_index"]}
        )
        texts[f"xcom {at}"] = json.dumps(entries).encode()
    # All that Airflow has written, and its database byte by byte: triggers, task store, audit log.
    texts |= {str(path): path.read_bytes() for path in (airflow.home / "logs").rglob("*.log")}
    texts |= {path.name: path.read_bytes() for path in airflow.home.glob("airflow.db*")}
    assert "airflow.db" in texts
    for name, text in texts.items():
        assert not [secret for secret in secrets if secret.encode() in text], name

    events = airflow.request("GET", "/assets/events")["asset_events"]
    extra = next(
        one["extra"] for one in events if one["extra"].get("migration_id") == conf["migration_id"]
    )
    assert extra["collections"] == {"dag_songs__with_secrets": len(truth_of(source, "songs"))}


def test_its_tasks_take_slots_of_pools_that_the_project_has_made(airflow):
    pools = {pool["name"]: pool for pool in airflow.request("GET", "/pools")["pools"]}
    answer = airflow.request("GET", f"/dags/{DAG}/tasks")
    tasks = {task["task_id"]: task for task in answer["tasks"]}
    for name, pool, slots in (
        ("convert", "airlift_source_reads", 16),
        ("bulk_insert", "airlift_target_writes", 8),
    ):
        assert tasks[name]["pool"] == pool
        assert (pools[pool]["slots"], pools[pool]["include_deferred"]) == (slots, True)


def test_clearing_tasks_and_running_again_doubles_nothing(airflow, source, milvus, conf):
    conf |= {
        "migration_id": "twice",
        "mapping": {"songs": {"target": "twice_songs"}, "bits": {"target": "twice_bits"}},
        "collections": ["*"],
        "index": "autoindex",
        "wait_for_index": False,
    }
    run_id = succeed(airflow, conf)
    airflow.clear(DAG, run_id, ["convert", "bulk_insert"])
    assert airflow.wait(DAG, run_id) == "success"
    succeed(airflow, conf)
    with closing(milvus.client()) as client:
        assert rows_of(client, "twice_songs") == truth_of(source, "songs")
        assert rows_of(client, "twice_bits") == truth_of(source, "bits")


def test_a_dry_run_writes_a_report_and_nothing_to_the_target(airflow, source, milvus, conf):
    with closing(milvus.client()) as client:
        before = sorted(client.list_collections())
        run_id = succeed(airflow, conf | {"dry_run": True, "migration_id": "dry"})
        assert sorted(client.list_collections()) == before
    assert states(airflow, run_id)[("publish", -1)] == "skipped"
    report = json.loads((Path(conf["staging_url"]) / "dry" / "report.json").read_text())
    assert report["state"] == "planned"
    assert report["collections"][0]["rows_planned"] == len(truth_of(source, "songs"))
    assert report["assessment"]["refusals"] == []
    assert report["assessment"]["collections"][0]["probe"]["rows"] > 0


def test_a_dry_run_that_is_refused_fails_with_its_report(airflow, milvus, conf):
    conf |= {
        "dry_run": True,
        "migration_id": "refused",
        "mapping": {"songs": {"partitions": ["no_such"]}},
    }
    run_id, state = run(airflow, conf)
    assert state == "failed"
    assert states(airflow, run_id)[("plan", -1)] == "failed"
    assert "no_such" in airflow.task_log(DAG, run_id, "plan")
    folder = Path(conf["staging_url"]) / "refused"
    report = json.loads((folder / "report.json").read_text())
    assert (report["state"], report["failures"][0]["step"]) == ("failed", "plan")
    assert "no_such" in report["assessment"]["refusals"][0]
    assert report["versions"]["software"]["Airflow"]
    assert "done as asked, for 1 reason" in (folder / "report.html").read_text()


def test_every_reason_is_told_at_once_and_without_a_retry(airflow, conf, tmp_path):
    conf |= {
        "tables_url": str(tmp_path / "nothing"),
        "target_conn_id": "milvus_wrong",
        "staging_url": "/proc/airlift",
        "collections": ["songs", "no_such"],
    }
    run_id, state = run(airflow, conf)
    assert state == "failed"
    log = airflow.task_log(DAG, run_id, "check")
    assert "refused for" in log
    for reason in ("staging: cannot", "no collection 'no_such'", "target: cannot connect"):
        assert reason in log
    check = next(one for one in airflow.task_instances(DAG, run_id) if one["task_id"] == "check")
    assert check["try_number"] == 1
    assert states(airflow, run_id)[("plan", -1)] == "upstream_failed"


def test_rest_refuses_wrong_params(airflow, conf):
    with pytest.raises(AirflowApiError, match="overwrite"):
        airflow.trigger(DAG, conf | {"if_exists": "overwrite"})


def test_everything_deleted_still_makes_the_collection(airflow, milvus, conf, tmp_path):
    """No batch at all: nothing is mapped, and what follows must run all the same."""
    write_milvus1x(tmp_path, [TableSpec("gone", 200, dim=8, deleted_fraction=1.0)])
    conf |= {
        "tables_url": str(tmp_path / "tables"),
        "meta_url": str(tmp_path / "meta.sqlite"),
        "collections": ["gone"],
    }
    run_id = succeed(airflow, conf)
    assert states(airflow, run_id)[("convert", -1)] == "skipped"
    with closing(milvus.client()) as client:
        assert rows_of(client, "gone") == {}


def test_a_worker_killed_while_it_converts_is_retried(airflow, milvus, conf, tmp_path):
    spec = TableSpec("killed", 400_000, dim=128, segments=4, deleted_fraction=0.03)
    truth = write_milvus1x(tmp_path, [spec])["killed"].partitions[""]
    conf |= {
        "tables_url": str(tmp_path / "tables"),
        "meta_url": str(tmp_path / "meta.sqlite"),
        "collections": ["killed"],
        "index": FLAT,
        "verify": "sample",
        "chunk_mb": 20,
        "migration_id": "killed",
    }
    run_id = airflow.trigger(DAG, conf)
    chunks = Path(conf["staging_url"]) / "killed" / "killed"
    wait_until(
        lambda: list(chunks.glob("*/*.part-*")),
        timeout=600,
        failure=lambda: "no file was begun",
        interval=0.005,
    )
    for process in psutil.Process(airflow.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # another task that has just ended
            if re.search(r"\bconvert\b", " ".join(process.cmdline())):
                process.send_signal(signal.SIGKILL)
    assert airflow.wait(DAG, run_id) == "success"
    with closing(milvus.client()) as client:
        count = client.query("killed", "", ["count(*)"], consistency_level="Strong")
        assert count[0]["count(*)"] == len(truth.ids)
        for at in range(0, len(truth.ids), 40_000):
            row = client.query("killed", f"id == {truth.ids[at]}", ["vector"])
            assert np.float32(row[0]["vector"]).tobytes() == truth.vectors[at].tobytes()
