"""Runs that are marked failed and tasks that are cleared while they work, in a real Airflow.

The work stops within seconds, nothing is left behind, what the target goes on with is told, and the
run can be resumed with every row arriving once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest

from localservers import AirflowStandalone, Elasticsearch, Milvus, S3Server
from localservers.ports import wait_until
from samples.elasticsearch_documents import write_articles
from samples.milvus1x_tables import TableSpec, write_milvus1x
from tests.http_proxy import HttpProxy, Request
from tests.paths.far_source import FarSource, far_source_of
from tests.paths.place import FLAT

DAG = "milvus1x_to_milvus"
SPEC = TableSpec("songs", 150_000, dim=128, segments=4, deleted_fraction=0.03)


def stop_seconds() -> float:
    """What issue and docs promise; more where others take the processors away."""
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return 5.0 * max(1.0, crowd)


@pytest.fixture(scope="module")
def airflow(airflow_and_milvus: AirflowStandalone) -> AirflowStandalone:
    airflow_and_milvus.wait_for_dag(DAG)
    airflow_and_milvus.unpause(DAG)
    return airflow_and_milvus


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("cancelled")
    truth = write_milvus1x(folder, [SPEC])["songs"].partitions[""]
    return SimpleNamespace(folder=folder, rows=len(truth.ids))


@pytest.fixture
def conf(source: SimpleNamespace, milvus: Milvus, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Params of a run whose migration and target are named after the test."""
    name = request.node.name
    yield {
        "tables_url": f"{source.folder}/tables",
        "meta_url": f"{source.folder}/meta.sqlite",
        "staging_url": str(milvus.data_dir / "staging"),
        "target_conn_id": "milvus_local",
        "migration_id": name,
        "mapping": {"songs": {"target": name}},
        "write_mode": "bulk_insert",
        "chunk_mb": 20,
        "index": FLAT,
        "verify": "full",
    }
    with closing(milvus.client()) as client:
        if client.has_collection(name):
            client.drop_collection(name)


@pytest.fixture
def far_source(
    airflow: AirflowStandalone, source: SimpleNamespace, s3_server: S3Server, request: Any
) -> Iterator[FarSource]:
    bucket = f"far-{request.node.name.replace('_', '-')}"[:60].rstrip("-")
    with far_source_of(airflow, s3_server, source.folder, bucket) as far:
        yield far


def working(airflow: AirflowStandalone, dag: str, run_id: str, task: str) -> list[psutil.Process]:
    """The processes of a task: those that work, and those that they have started."""
    tasks = airflow.task_instances(dag, run_id)
    titles = {f"airflow worker -- {one['id']}" for one in tasks if one["task_id"] == task}
    found = []
    for process in psutil.Process(airflow.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).strip() in titles:
                found += [process, *process.children(recursive=True)]
    assert found, f"no process works for {task}"
    return found


def cancel(airflow: AirflowStandalone, dag: str, run_id: str) -> None:
    airflow.request("PATCH", f"/dags/{dag}/dagRuns/{run_id}", json={"state": "failed"})


def wait_for_task(
    airflow: AirflowStandalone, dag: str, run_id: str, task: str, states: set[str]
) -> None:
    def is_there() -> bool:
        return any(
            one["task_id"] == task and one["state"] in states
            for one in airflow.task_instances(dag, run_id)
        )

    wait_until(is_there, 600, lambda: f"{task} of {run_id} is not {states}", interval=0.1)


def seconds_until_gone(processes: list[psutil.Process], act: Callable[[], None]) -> float:
    """How long the processes live on, once the answer to `act` is there."""
    act()
    began = time.monotonic()
    psutil.wait_procs(processes, timeout=60)
    return time.monotonic() - began


def staged(conf: dict[str, Any]) -> Path:
    return Path(conf["staging_url"]) / conf["migration_id"]


def half_written(conf: dict[str, Any]) -> list[Path]:
    return list(staged(conf).rglob("*.part-*"))


def resume_and_count(
    airflow: AirflowStandalone, milvus: Milvus, conf: dict[str, Any], run_id: str, rows: int
) -> dict[str, Any]:
    """Clears what was stopped; the run's own `verify: full` compares every row."""
    airflow.clear(DAG, run_id, only_failed=False, task_ids=unfinished_tasks(airflow, run_id))
    assert airflow.wait(DAG, run_id) == "success"
    with closing(milvus.client()) as client:
        [counted] = client.query(conf["migration_id"], "", ["count(*)"], consistency_level="Strong")
    assert counted["count(*)"] == rows
    report = json.loads((staged(conf) / "report.json").read_text())
    assert report["collections"][0]["rows_counted"] == rows
    found: dict[str, Any] = report["collections"][0]
    return found


def unfinished_tasks(airflow: AirflowStandalone, run_id: str) -> list[str]:
    tasks = airflow.task_instances(DAG, run_id)
    return sorted({one["task_id"] for one in tasks if one["state"] != "success"})


def logs(airflow: AirflowStandalone, run_id: str, task: str, dag: str = DAG) -> str:
    return "\n".join(
        airflow.task_log(dag, run_id, task, map_index=one["map_index"])
        for one in airflow.task_instances(dag, run_id)
        if one["task_id"] == task and one["state"] not in (None, "skipped")
    )


def test_marked_failed_while_it_reads(airflow, milvus, source, conf, far_source):
    """A read that waits for a bucket does not hear of it; it ends all the same."""
    conf |= far_source.params
    run_id = airflow.trigger(DAG, conf)
    far_source.wait_until_it_waits(airflow, run_id)
    assert half_written(conf)
    processes = working(airflow, DAG, run_id, "convert")
    seconds = seconds_until_gone(processes, lambda: cancel(airflow, DAG, run_id))
    assert seconds <= stop_seconds()
    print(f"reading stopped after {seconds:.1f} s")
    assert airflow.wait(DAG, run_id) == "failed"
    assert half_written(conf) == []
    with closing(milvus.client()) as client:
        assert not client.has_collection(conf["migration_id"])
    far_source.go_on()
    resume_and_count(airflow, milvus, conf, run_id, source.rows)


def trigger_logs(airflow: AirflowStandalone, run_id: str) -> str:
    """What the triggerer has written for the tasks of a run."""
    return "\n".join(
        path.read_text()
        for path in (airflow.home / "logs").rglob("*.trigger.*.log")
        if f"run_id={run_id}" in str(path)
    )


def test_cleared_while_it_reads(airflow, milvus, source, conf, far_source):
    """What was cleared stops, and begins anew by itself."""
    conf |= far_source.params
    run_id = airflow.trigger(DAG, conf)
    far_source.wait_until_it_waits(airflow, run_id)
    processes = working(airflow, DAG, run_id, "convert")
    seconds = seconds_until_gone(processes, lambda: airflow.clear(DAG, run_id, ["convert"]))
    assert seconds <= stop_seconds()
    print(f"a cleared task stopped after {seconds:.1f} s")
    far_source.go_on()
    assert airflow.wait(DAG, run_id) == "success"
    assert half_written(conf) == []
    with closing(milvus.client()) as client:
        [counted] = client.query(conf["migration_id"], "", ["count(*)"])
    assert counted["count(*)"] == source.rows


def test_marked_failed_while_the_target_imports(airflow, milvus, source, conf):
    """The jobs can't be stopped: they are told, and the resumed run waits for the same ones."""
    run_id = airflow.trigger(DAG, conf)
    wait_for_task(airflow, DAG, run_id, "bulk_insert", {"deferred"})
    # A trigger that has not begun has nothing to tell; the teardown tells it then.
    wait_until(
        lambda: "import jobs ended" in trigger_logs(airflow, run_id),
        300,
        lambda: "the triggerer has not asked for the jobs",
    )
    cancel(airflow, DAG, run_id)
    assert airflow.wait(DAG, run_id) == "failed"
    told = json.loads((staged(conf) / "unfinished.json").read_text())["imports"]
    assert told
    jobs = {one["job"] for one in told}
    assert all(one["rows"] > 0 and one["progress"] <= 100 for one in told)
    wait_until(
        lambda: "can't be stopped" in trigger_logs(airflow, run_id),
        60,
        lambda: "the triggerer has not told what goes on",
    )
    of_trigger = trigger_logs(airflow, run_id)
    teardown = logs(airflow, run_id, "clean_staging")
    assert all(f"import job {job} " in teardown for job in jobs)
    # Who of the two comes first is open, and some may have ended when the other asks.
    assert any(f"import job {job} " in of_trigger for job in jobs)
    report = resume_and_count(airflow, milvus, conf, run_id, source.rows)
    assert report["jobs_adopted"] == 0  # each chunk's own job was waited for, none sent again
    assert not (staged(conf) / "unfinished.json").exists()


def test_marked_failed_while_it_inserts(airflow, milvus, source, conf):
    conf["write_mode"] = "insert"
    run_id = airflow.trigger(DAG, conf)
    wait_for_task(airflow, DAG, run_id, "bulk_insert", {"running"})
    wait_until(
        lambda: list(staged(conf).glob("*/*/import.json")),
        600,
        lambda: "nothing was inserted",
        interval=0.01,
    )
    processes = working(airflow, DAG, run_id, "bulk_insert")
    seconds = seconds_until_gone(processes, lambda: cancel(airflow, DAG, run_id))
    assert seconds <= stop_seconds()
    print(f"inserting stopped after {seconds:.1f} s")
    assert airflow.wait(DAG, run_id) == "failed"
    resume_and_count(airflow, milvus, conf, run_id, source.rows)


def open_contexts(server: Elasticsearch) -> int:
    """Searches and points in time that the server holds open."""
    answer = httpx.get(f"{server.url}/_nodes/stats/indices/search", timeout=30)
    nodes = answer.raise_for_status().json()["nodes"].values()
    return sum(node["indices"]["search"]["open_contexts"] for node in nodes)


def test_points_in_time_are_closed(airflow, milvus, conf, elasticsearch_8: Elasticsearch):
    write_articles(elasticsearch_8, 10_000)
    dag = "elasticsearch_to_milvus"
    airflow.wait_for_dag(dag)
    airflow.unpause(dag)
    waits, may_go_on = threading.Event(), threading.Event()

    def wait_for_the_third_page(request: Request) -> None:
        pages.extend([request] if b"_seq_no" in request.body else [])
        if len(pages) > 2 and half_written(conf):
            waits.set()
            may_go_on.wait()

    pages: list[Request] = []
    with HttpProxy(elasticsearch_8.url) as proxy:
        proxy.rule = wait_for_the_third_page
        address = {"connection_id": "search_far", "conn_type": "elasticsearch", "host": proxy.url}
        airflow.request("POST", "/connections", json=address)
        for name in ("tables_url", "meta_url"):
            del conf[name]
        target = {"shop-articles": {"target": conf["migration_id"]}}
        conf |= {"indices": ["shop-articles"], "source_conn_id": "search_far", "mapping": target}
        run_id = airflow.trigger(dag, conf)
        assert waits.wait(600)
        assert open_contexts(elasticsearch_8) > 0
        processes = working(airflow, dag, run_id, "convert")
        seconds = seconds_until_gone(processes, lambda: cancel(airflow, dag, run_id))
        assert seconds <= stop_seconds()
        may_go_on.set()
        assert airflow.wait(dag, run_id) == "failed"
    assert open_contexts(elasticsearch_8) == 0
    assert half_written(conf) == []
    assert "told to stop" in logs(airflow, run_id, "convert", dag)
