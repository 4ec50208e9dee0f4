"""The cases that read from Milvus; `bench.cases` runs them in processes of their own."""

from __future__ import annotations

from typing import Any

from airlift.connections import MilvusConnection
from airlift.sources.milvus.params import MilvusParams
from airlift.sources.milvus.source import MilvusSource
from airlift.storage import open_storage
from bench import shares
from bench.timed import timed

COLLECTION = "songs"
_INSERT, _PAGE = 5_000, 10_000


class _OneSource:
    """Connections: one Milvus, and nothing else."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def milvus(self, conn_id: str) -> MilvusConnection:
        """The source."""
        return MilvusConnection(uri=self._uri)

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def _source(uri: str, scratch: str) -> MilvusSource:
    params = MilvusParams(staging_url="/unused", collections=(COLLECTION,))
    return MilvusSource(params, _OneSource(uri), open_storage(scratch))


def milvus_fill(uri: str, rows: int, dim: int, scalars: int = 3) -> dict[str, Any]:
    """A loaded collection with vectors and two or three scalars."""
    import numpy as np
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(uri)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("title", DataType.VARCHAR, max_length=100)
    schema.add_field("year", DataType.INT32)
    if scalars > 2:
        schema.add_field("score", DataType.DOUBLE)
    client.create_collection(COLLECTION, schema=schema)
    random = np.random.default_rng(0)
    for start in range(0, rows, _INSERT):
        vectors = random.standard_normal((_INSERT, dim)).astype(np.float32)
        data = [
            {"id": n, "vector": vector, "title": f"song {n}", "year": n % 70}
            | ({"score": n / 7} if scalars > 2 else {})
            for n, vector in enumerate(vectors, start)
        ]
        client.insert(COLLECTION, data)
    client.flush(COLLECTION)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_index(COLLECTION, index)
    client.load_collection(COLLECTION)
    return {}


def milvus_iterate(uri: str) -> dict[str, Any]:
    """What one would do without a tool: `MilvusClient.query_iterator`."""
    from pymilvus import MilvusClient

    client = MilvusClient(uri)
    found: dict[str, Any] = {"rows": 0}
    with timed(found):
        iterator = client.query_iterator(COLLECTION, batch_size=_PAGE, output_fields=["*"])
        while page := iterator.next():
            found["rows"] += len(page)
        iterator.close()
    return found


def milvus_plan(uri: str, scratch: str, chunk_bytes: int) -> dict[str, Any]:
    """Describes and cuts the collection."""
    return shares.cut(_source(uri, scratch), scratch, chunk_bytes)


def milvus_read(uri: str, scratch: str, worker: int, workers: int) -> dict[str, Any]:
    """Reads one worker's share of the chunks into Arrow batches."""
    return shares.read(_source(uri, scratch), scratch, worker, workers)


MILVUS_CASES = (milvus_fill, milvus_iterate, milvus_plan, milvus_read)
