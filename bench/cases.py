"""The cases; each runs in a process of its own, as `python -m bench.cases NAME OPTIONS`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pyarrow.fs as pafs

from airlift.chunk import Chunk
from airlift.connections import MilvusConnection, StorageConnection
from airlift.migration import Migration
from airlift.report.report import Report
from airlift.run import run
from airlift.sources.registry import params_class
from airlift.steps.convert import convert_batch
from airlift.steps.export_meta import export_meta
from airlift.steps.plan import make_plan
from bench.backup_cases import BACKUP_CASES
from bench.bucket import connection_of
from bench.fingerprint_cases import FINGERPRINT_CASES
from bench.milvus_cases import MILVUS_CASES
from bench.record_cases import RECORD_CASES
from bench.search_cases import SEARCH_CASES
from bench.timed import timed

_COPY_BYTES = 8 << 20


class OneTarget:
    """Connections: one Milvus to write to, perhaps one to read from, one bucket."""

    def __init__(self, uri: str, s3: dict[str, str] | None, source: str) -> None:
        self._uri = uri
        self._s3 = s3
        self._source = source

    def milvus(self, conn_id: str) -> MilvusConnection:
        """The target, or the source."""
        return MilvusConnection(uri=self._source if conn_id == "milvus_source" else self._uri)

    def storage(self, conn_id: str) -> StorageConnection:
        """The staging bucket."""
        return connection_of(self._s3 or {})

    def sql(self, conn_id: str) -> Any:
        """None is used."""
        raise KeyError(conn_id)


# The params that say where a path's source is.
_WHERE: dict[str, Callable[[str], dict[str, Any]]] = {
    "milvus1x": lambda url: {"tables_url": f"{url}/tables", "meta_url": f"{url}/meta.sqlite"},
    "faiss": lambda url: {"index_url": url},
    "milvus": lambda uri: {},
    "backup": lambda url: {"backup_url": url},
}


def _migration(
    source: str,
    staging: str,
    uri: str,
    s3: dict[str, str] | None = None,
    path: str = "milvus1x",
    **params: Any,
) -> Migration:
    given = params_class(path)(
        staging_url=staging,
        staging_conn_id="bucket" if s3 else "",
        **_WHERE[path](source),
        **params,
    )
    return Migration(path, given, "bench", OneTarget(uri, s3, source))


def plan(**options: Any) -> dict[str, Any]:
    """Describes the source and plans; the only contact with the target, a Milvus Lite."""
    found: dict[str, Any] = {}
    with _migration(**options) as migration, timed(found):
        export_meta(migration)
        made = make_plan(migration, 64)
    found["chunks"] = sum(len(one.chunks) for one in made.collections)
    return found


def convert(**options: Any) -> dict[str, Any]:
    """Converts what is planned, as a task of Airflow would."""
    found: dict[str, Any] = {}
    with _migration(**options) as migration:
        plan = migration.staging.plan()
        with timed(found):
            for batch in range(len(plan.batches)):
                convert_batch(migration, batch)
        manifests = [
            migration.staging.manifest(one.name, chunk.id)
            for one in plan.collections
            for chunk in one.chunks
        ]
        found["rows"] = sum(one.rows for one in manifests if one)
        found["bytes"] = sum(one.bytes for one in manifests if one)
        found["fingerprint"] = sum(one.fingerprint_seconds for one in manifests if one)
        found["files"] = [
            f"{one.name}/{chunk.id}/{file.name}"
            for one in plan.collections
            for chunk, manifest in zip(one.chunks, manifests, strict=False)
            if isinstance(chunk, Chunk) and manifest
            for file in manifest.files
        ]
    return found


def upload(folder: str, s3: dict[str, str], bucket: str, files: list[str]) -> dict[str, Any]:
    """Uploads files as they are, by the S3 client that the engine uses too."""
    address = s3["endpoint_url"].split("://")[1]
    target = pafs.S3FileSystem(
        access_key=s3["access_key"],
        secret_key=s3["secret_key"],
        region=s3["region"],
        endpoint_override=address,
        scheme="http",
    )
    found: dict[str, Any] = {}
    with timed(found):
        for name in files:
            with (
                pafs.LocalFileSystem().open_input_file(f"{folder}/{name}") as source,
                target.open_output_stream(f"{bucket}/plain/{name}") as output,
            ):
                while data := source.read_buffer(_COPY_BYTES):
                    output.write(data)
    return found


def faiss_dump(index: str, folder: str) -> dict[str, Any]:
    """What one would write without a tool: Faiss reads the index, numpy writes the vectors."""
    import faiss
    import numpy as np

    found: dict[str, Any] = {}
    with timed(found):
        held = faiss.read_index(index)
        if hasattr(held, "make_direct_map"):
            held.make_direct_map()
        np.save(f"{folder}/vectors.npy", held.reconstruct_n(0, held.ntotal))
        np.save(f"{folder}/ids.npy", np.arange(held.ntotal))
    return found


def end_to_end(**options: Any) -> dict[str, Any]:
    """A whole migration; returns the seconds of its steps."""
    found: dict[str, Any] = {}
    with _migration(**options) as migration:
        with timed(found):
            run(migration)
        data = migration.staging.folder.read_bytes("report.json")
    report = Report.model_validate_json(data)
    found["steps"] = {step.step: step.seconds for step in report.steps}
    [collection] = report.collections
    found["counted"] = collection.rows_counted
    return found


_OWN_CASES = (plan, convert, upload, faiss_dump, end_to_end)
_ALL_CASES = (
    *_OWN_CASES,
    *MILVUS_CASES,
    *SEARCH_CASES,
    *BACKUP_CASES,
    *RECORD_CASES,
    *FINGERPRINT_CASES,
)
CASES = {one.__name__: one for one in _ALL_CASES}

if __name__ == "__main__":
    name, text = sys.argv[1:]
    print(json.dumps(CASES[name](**json.loads(text))))
