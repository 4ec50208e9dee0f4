"""Clients of the import emulator, through its sockets: httpx and pymilvus; and small files."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pymilvus
from pymilvus import DataType, MilvusClient

from tests.emulators.rest_import import RestImportServer

# pymilvus' own REST client. Its package refuses to load without the extra `pymilvus[bulk_writer]`
# (minio, azure, ...), which this one module of it doesn't need: so load just that.
_spec = importlib.util.spec_from_file_location(
    "pymilvus_bulk_import", Path(pymilvus.__file__).parent / "bulk_writer" / "bulk_import.py"
)
_client = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_client)
bulk_import, get_import_progress, list_import_jobs = (
    _client.bulk_import,
    _client.get_import_progress,
    _client.list_import_jobs,
)

DIM = 8
PREFIX = "/v2/vectordb/jobs/import/"


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, DIM), np.float32)


def write_npy(folder: Path, n: int, start: int = 0, **other: np.ndarray) -> list[str]:
    """One .npy per field below bucket folder `folder`; answers the keys."""
    columns = {
        "id": np.arange(start, start + n, dtype=np.int64),
        "vec": vectors(n, start),
        "name": np.array([f"né{i}" for i in range(start, start + n)]),
        **other,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    return [f"{folder.name}/{n}.npy" for n, v in columns.items() if v is not None]


def parquet_table(n: int, start: int = 0, **other) -> pa.Table:
    columns = {
        "id": pa.array(range(start, start + n), pa.int64()),
        "vec": pa.array(vectors(n, start).tolist(), pa.list_(pa.float32())),
        "name": pa.array([f"né{i}" for i in range(start, start + n)]),
    }
    return pa.table({k: v for k, v in {**columns, **other}.items() if v is not None})


def make(server: RestImportServer, name: str = "c", **schema) -> MilvusClient:
    client = MilvusClient(uri=server.grpc_address, token=server.token)
    build = client.create_schema(
        enable_dynamic_field=schema.pop("dynamic", False), auto_id=schema.pop("auto_id", False)
    )
    build.add_field("id", DataType.INT64, is_primary=True)
    build.add_field("vec", DataType.FLOAT_VECTOR, dim=DIM)
    build.add_field(
        "name", DataType.VARCHAR, max_length=16, is_partition_key=schema.pop("key", False)
    )
    for field in schema.pop("more", []):
        build.add_field(**field)
    client.create_collection(name, schema=build)
    return client


class Rest:
    def __init__(self, server: RestImportServer) -> None:
        self.http = httpx.Client(
            base_url=server.rest_url,
            headers={"Authorization": f"Bearer {server.token}"},
            timeout=10,
        )

    def __call__(self, action: str, headers: dict | None = None, **body) -> dict:
        return self.http.post(PREFIX + action, json=body, headers=headers).json()

    def create(self, files: list[list[str]], collection: str = "c", **body) -> str:
        answer = self("create", collectionName=collection, files=files, **body)
        assert answer["code"] == 0, answer
        return answer["data"]["jobId"]

    def wait(self, job: str, seconds: float = 20) -> dict:
        end = time.monotonic() + seconds
        while True:
            data = self("describe", jobId=job)["data"]
            if data["state"] in ("Completed", "Failed") or time.monotonic() > end:
                return data
            time.sleep(0.02)

    def run(self, files: list[list[str]], **body) -> dict:
        return self.wait(self.create(files, **body))


def count(client: MilvusClient, name: str = "c", **more) -> int:
    return client.query(name, filter=more.pop("filter", ""), output_fields=["count(*)"], **more)[0][
        "count(*)"
    ]
