"""Targets that tests of several paths share, and an Airflow for their DAGs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localservers import AirflowStandalone, Milvus, MilvusLite
from tests.paths.place import Place, lite_place, local_place

ROOT = Path(__file__).resolve().parents[2]
# Tasks are forked from the scheduler: what it has imported, each of them has.
LOCAL_SETTINGS = f"""import sys

if "scheduler" in sys.argv:
    sys.path.append({str(ROOT)!r})
    import tests.engine_imports as _imported
"""


@pytest.fixture(scope="session")
def airflow_and_milvus(
    tmp_path_factory: pytest.TempPathFactory, milvus: Milvus
) -> Iterator[AirflowStandalone]:
    """Airflow with the connection `milvus_local`; all its DAGs wait to be unpaused."""
    host, port = milvus.address.rsplit(":", 1)
    connection = {"conn_type": "milvus", "host": host, "port": int(port)}
    env = {
        "AIRFLOW_CONN_MILVUS_LOCAL": json.dumps(connection),
        "AIRFLOW__CORE__PARALLELISM": "4",
        # One who may only look, and one who may nothing.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,nobody:",
        # What has ended or is ready is seen soon: a run is some twelve tasks, one after the other.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
        # DAG files don't change, but those that a test touches.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        # A worker that is killed is noticed by its silence.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    }
    home = tmp_path_factory.mktemp("airflow")
    # For tests of declared migrations, which leave it empty.
    migrations = home / "migrations"
    migrations.mkdir()
    env["AIRFLOW__AIRLIFT__MIGRATIONS_FOLDER"] = str(migrations)
    (home / "config").mkdir()
    (home / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS)
    with AirflowStandalone(home, ROOT / "dags", ROOT / "plugins", env=env) as server:
        yield server


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    """Milvus that stores locally."""
    with local_place(milvus, tmp_path / "source") as place:
        yield place


@pytest.fixture
def lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "source") as place:
        yield place


@pytest.fixture(params=["milvus", "lite"])
def either(request: pytest.FixtureRequest) -> Place:
    """Both targets, one after the other; `place` and `lite` are those of the test's own module."""
    found: Place = request.getfixturevalue("place" if request.param == "milvus" else "lite")
    return found
