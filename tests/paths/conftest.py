"""An Airflow for the DAGs of several paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localservers import AirflowStandalone, Milvus

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def airflow_and_milvus(
    tmp_path_factory: pytest.TempPathFactory, milvus: Milvus
) -> Iterator[AirflowStandalone]:
    """Airflow with the connection `milvus_local`; all its DAGs wait to be unpaused."""
    host, port = milvus.address.rsplit(":", 1)
    connection = {"conn_type": "milvus", "host": host, "port": int(port)}
    env = {"AIRFLOW_CONN_MILVUS_LOCAL": json.dumps(connection)}
    home = tmp_path_factory.mktemp("airflow")
    with AirflowStandalone(home, ROOT / "dags", ROOT / "plugins", env=env) as server:
        yield server
