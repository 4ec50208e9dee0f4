"""A Milvus 1.x source in a bucket that does not answer until it may, for runs that must last."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airlift.storage import open_storage
from localservers import AirflowStandalone, S3Server
from localservers.ports import wait_until
from tests.http_proxy import HttpProxy, Request
from tests.paths.place import bucket_of

_HEADER_BYTES = 64


class FarSource:
    """The source in a bucket, which gives no vectors until it may; their headers it gives."""

    def __init__(self, proxy: HttpProxy, params: dict[str, Any]) -> None:
        self.params = params
        self._waits, self._may_go_on = threading.Event(), threading.Event()
        proxy.rule = self._rule

    def _rule(self, request: Request) -> None:
        is_header = (request.range_bytes or _HEADER_BYTES + 1) <= _HEADER_BYTES
        if request.method == "GET" and request.path.endswith(".rv") and not is_header:
            self._waits.set()
            self._may_go_on.wait()

    def wait_until_it_waits(self, airflow: AirflowStandalone, run_id: str) -> None:
        wait_until(
            self._waits.is_set,
            600,
            lambda: "the source was not read",
            alive=lambda: airflow.run_state("milvus1x_to_milvus", run_id) != "failed",
        )

    def go_on(self) -> None:
        self._may_go_on.set()


@contextmanager
def far_source_of(
    airflow: AirflowStandalone, server: S3Server, folder: Path, bucket: str
) -> Iterator[FarSource]:
    """Copies the tables of a source into a bucket, and gives Airflow a connection to it.

    Args:
        bucket: its name, and the connection's.
    """
    server.make_bucket(bucket)
    storage = open_storage(f"s3://{bucket}", bucket_of(server))
    tables = folder / "tables"
    for path in tables.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"tables/{path.relative_to(tables)}", path.read_bytes())
    with HttpProxy(server.endpoint_url) as proxy:
        extra = {"endpoint_url": proxy.url, "region_name": server.region}
        connection = {
            "connection_id": bucket,
            "conn_type": "aws",
            "login": server.access_key,
            "password": server.secret_key,
            "extra": json.dumps(extra),
        }
        airflow.request("POST", "/connections", json=connection)
        far = FarSource(proxy, {"tables_url": f"s3://{bucket}/tables", "source_conn_id": bucket})
        yield far
        far.go_on()
