"""Real servers on this machine, without Docker, for the demo, the tests and the benchmarks.

Nothing here listens on any address of this machine but 127.0.0.1, every server ends with the
process that started it (even if that is killed), and everything is stopped by process id. The
classes load on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

from .errors import LocalServerError

_HOME = {
    "AirflowCluster": "airflow_cluster",
    "AirflowStandalone": "airflow",
    "Azurite": "azurite",
    "Elasticsearch": "elasticsearch",
    "GoogleStorage": "google_storage",
    "MariaDB": "mariadb",
    "Milvus": "milvus",
    "MilvusLite": "milvus_lite",
    "MilvusOnS3": "milvus",
    "OpenSearch": "opensearch",
    "PostgreSQL": "postgresql",
    "Redis": "redis",
    "S3Server": "s3",
    "S3Settings": "milvus_config",
}
__all__ = ["LocalServerError", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
