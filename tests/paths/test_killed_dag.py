"""Processes of a real Airflow are killed while migrations run: tasks, the triggerer, the scheduler.

All runs go on at the same time in one Airflow. It retries by itself; what arrived is compared with
the truth row by row.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from localservers import AirflowStandalone, Milvus, MilvusLite
from localservers.ports import wait_until
from tests.faults import armed
from tests.faults.points import Point
from tests.faults.routes import Ground, Route, rows_after
from tests.faults.rows import differences
from tests.paths.conftest import ROOT


@dataclass(frozen=True)
class Killed:
    """A run, and where a process of it is killed.

    Attributes:
        process: see `armed.set_point`.
    """

    name: str
    route: Route
    point: Point | None
    process: str = "scheduler"
    conf: dict[str, Any] = field(default_factory=dict)

    @property
    def dag(self) -> str:
        return f"{'backup' if self.route.sample == 'codes' else self.route.sample}_to_milvus"


BULK = Route("milvus1x", "milvus", {"write_mode": "bulk_insert"})
INSERT = Route("milvus1x", "milvus", {"write_mode": "insert"})
RUNS = [
    Killed("convert", BULK, Point("write vector.npy", 1, "in")),
    Killed("accepted", BULK, Point("write import.json", 1, "before")),
    Killed("waiting", BULK, Point("ask GetImportState", 1, "before"), "triggerer"),
    # Once the collection is made: what is about to be made is written down before.
    Killed("create", INSERT, Point("write created.json", 2, "before")),
    Killed(
        "insert",
        Route("faiss", "milvus", {"write_mode": "insert"}),
        Point("call Insert", 1, "after"),
    ),
    Killed(
        "alias",
        Route("milvus", "milvus", {"write_mode": "insert", "cutover_alias": True}),
        Point("call CreateAlias", 1, "after"),
    ),
    Killed(
        "native",
        Route(
            "codes",
            "milvus",
            {"backup_way": "native", "index": "autoindex", "wait_for_index": False},
            {"database": "default", "dynamic_field": False},
        ),
        Point("write verification.json", 1, "before"),
    ),
    Killed("scheduler", BULK, None),
]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("points")


@pytest.fixture(scope="module")
def ground(
    milvus: Milvus, milvus_lite: MilvusLite, tmp_path_factory: pytest.TempPathFactory
) -> Ground:
    servers = {"milvus": milvus, "lite": milvus_lite}
    return Ground(tmp_path_factory.mktemp("sources"), servers)


@pytest.fixture(scope="module")
def airflow(
    ground: Ground, points: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowStandalone]:
    """An Airflow of its own, as its parts are killed; they are started again."""
    env = {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        # What is killed is noticed by its silence.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    }
    for name, server in (("default", "milvus"), ("source", "lite")):
        host, port = ground.servers[server].address.rsplit(":", 1)
        connection = {"conn_type": "milvus", "host": host, "port": int(port)}
        env[f"AIRFLOW_CONN_MILVUS_{name.upper()}"] = json.dumps(connection)
    home = tmp_path_factory.mktemp("airflow")
    armed.write_settings(home, points)
    server = AirflowStandalone(home, ROOT / "dags", ROOT / "plugins", env=env, restarting=True)
    try:
        server.start().wait_healthy(timeout=900)
        for dag in {run.dag for run in RUNS}:
            server.wait_for_dag(dag, timeout=900)
            server.unpause(dag)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def triggered(airflow: AirflowStandalone, ground: Ground, points: Path) -> dict[str, str]:
    """All the runs, begun; a scheduler that has work to do was killed since."""
    started = {}
    for run in RUNS:
        if run.point:
            armed.set_point(points, f"killed_{run.name}", run.process, run.point)
        started[run.name] = airflow.trigger(run.dag, conf_of(ground, run))
    wait_until(
        lambda: any("bulk_insert" in one for one in running(airflow, started)),
        timeout=900,
        failure=lambda: "no task was begun",
    )
    kill_scheduler(airflow)
    return started


def conf_of(ground: Ground, run: Killed) -> dict[str, Any]:
    params = ground.params(run.route, f"killed_{run.name}")
    return {**params, "migration_id": f"killed_{run.name}"}


def running(airflow: AirflowStandalone, started: dict[str, str]) -> list[str]:
    return [
        one["task_id"]
        for run in RUNS
        for one in airflow.task_instances(run.dag, started[run.name])
        if one["state"] == "running"
    ]


def kill_scheduler(airflow: AirflowStandalone) -> None:
    """SIGKILLs the scheduler itself; the tasks that it has begun go on, as they do anywhere."""
    processes = [
        one
        for one in psutil.Process(airflow.pid).children(recursive=True)
        if "scheduler" in _command(one) and "scheduler" not in _command(one.parent())
    ]
    for one in processes:
        for child in one.children():
            with suppress(psutil.NoSuchProcess):
                # Below the shell that starts it again.
                if "airflow" in " ".join(_command(child)):
                    child.send_signal(signal.SIGKILL)


def _command(process: psutil.Process | None) -> list[str]:
    try:
        return process.cmdline() if process else []
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_row_arrives_once(
    run: Killed,
    airflow: AirflowStandalone,
    triggered: dict[str, str],
    ground: Ground,
    points: Path,
) -> None:
    name, run_id = f"killed_{run.name}", triggered[run.name]
    state = airflow.wait(run.dag, run_id, timeout=1200)
    assert run.point is None or armed.fired(points, name), "nothing was killed"
    assert state == "success", failures(airflow, run, run_id)
    with closing(ground.client("milvus")) as client:
        try:
            assert differences(client, name, rows_after(ground, run.route)) == []
        finally:
            for one in client.list_collections():
                if one.startswith(name) and run.name != "convert":
                    for alias in client.describe_collection(one)["aliases"]:
                        client.drop_alias(alias)
                    client.drop_collection(one)


def test_a_run_that_is_cleared_and_one_that_is_triggered_anew_change_nothing(
    airflow: AirflowStandalone, triggered: dict[str, str], ground: Ground
) -> None:
    run = RUNS[0]
    run_id = triggered[run.name]
    airflow.wait(run.dag, run_id, timeout=1200)
    anew = airflow.trigger(run.dag, conf_of(ground, run))
    assert airflow.wait(run.dag, anew) == "success", failures(airflow, run, anew)
    airflow.clear(run.dag, run_id, ["create", "bulk_insert"])
    assert airflow.wait(run.dag, run_id) == "success", failures(airflow, run, run_id)
    with closing(ground.client("milvus")) as client:
        assert differences(client, "killed_convert", rows_after(ground, run.route)) == []
        client.drop_collection("killed_convert")


def failures(airflow: AirflowStandalone, run: Killed, run_id: str) -> str:
    return "\n".join(
        airflow.task_log(run.dag, run_id, one["task_id"], map_index=one["map_index"])[-2000:]
        for one in airflow.task_instances(run.dag, run_id)
        if one["state"] == "failed"
    )
