"""A source on a real Elasticsearch or OpenSearch, and documents to put there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from airlift.chunk import Chunk
from airlift.connections import ElasticsearchConnection
from airlift.schema import SourceCollection
from airlift.sources.base import BadRows
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.source import ElasticsearchSource
from airlift.storage import open_storage

DIM = 8


class OneServer:
    """Connections with just one."""

    def __init__(self, connection: ElasticsearchConnection) -> None:
        self.connection = connection

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        return self.connection


def connection_to(server: Any, **options: Any) -> ElasticsearchConnection:
    given: dict[str, Any] = {"hosts": (server.url,)}
    if server.user:
        given |= {"user": server.user, "password": SecretStr(server.password)}
    if server.ca_file:
        given["ca_file"] = str(server.ca_file)
    return ElasticsearchConnection(**(given | options))


def source_of(
    server: Any, scratch: Path, indices: Iterable[str], conn: Any = None, **params: Any
) -> ElasticsearchSource:
    given = ElasticsearchParams(indices=tuple(indices), staging_url="/unused", **params)
    where = OneServer(conn or connection_to(server))
    return ElasticsearchSource(given, where, open_storage(str(scratch)))


def vector_field(server: Any, dim: int = DIM, **options: Any) -> dict[str, Any]:
    if server.NAME == "opensearch":
        return {"type": "knn_vector", "dimension": dim, **options}
    # Without an index of its own, so that filling takes no time.
    return {"type": "dense_vector", "dims": dim, **({"index": False} if eight(server) else {})}


def eight(server: Any) -> bool:
    return int(server.version.split(".")[0]) >= 8


def make_index(server: Any, name: str, fields: dict[str, Any], **body: Any) -> None:
    """Makes an index, instead of one that an earlier test has left."""
    server.request("DELETE", f"/{name}", params={"ignore_unavailable": "true"})
    settings = {"number_of_replicas": 0, **body.pop("settings", {})}
    mappings = {"properties": fields, **body.pop("mappings", {})}
    server.request("PUT", f"/{name}", json={"settings": settings, "mappings": mappings, **body})


def write(
    server: Any, index: str, documents: dict[str, Any], op: str = "index", **meta: Any
) -> None:
    """Indexes documents by their `_id`; None deletes one."""
    lines = []
    for key, document in documents.items():
        action = {"_index": index, "_id": key, **meta}
        lines.append(json.dumps({"delete" if document is None else op: action}))
        if document is not None:
            lines.append(json.dumps(document))
    found = server.request(
        "POST",
        "/_bulk?refresh=true",
        content=("\n".join(lines) + "\n").encode(),
        headers={"content-type": "application/x-ndjson"},
    )
    bad = [one for item in found["items"] for one in item.values() if one["status"] >= 300]
    assert not bad, bad[:3]


def vectors(count: int, dim: int = DIM, seed: int = 0) -> list[list[float]]:
    """Numbers of 32 bits, written as short as they can be."""
    made = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return [[float(str(number)) for number in row] for row in made]


def planned(
    source: ElasticsearchSource, chunk_bytes: int = 1 << 30
) -> tuple[SourceCollection, list[Chunk]]:
    [collection] = source.describe()
    return collection, source.cut(collection, chunk_bytes)


def read_all(
    source: ElasticsearchSource, chunks: Iterable[Chunk]
) -> tuple[dict[Any, dict[str, Any]], dict[Any, str]]:
    """Rows by primary key, and reasons of bad ones; a repeated key fails.

    An empty dynamic field is left out: a row says no more by it.
    """
    rows: dict[Any, dict[str, Any]] = {}
    bad: dict[Any, str] = {}
    for chunk in chunks:
        count = 0
        for given in source.read(chunk):
            if isinstance(given, BadRows):
                count += given.rows.num_rows
                for key, reason in zip(given.keys, given.reasons, strict=True):
                    assert key not in bad
                    bad[key] = reason
                continue
            assert isinstance(given, pa.RecordBatch)
            given.validate(full=True)
            count += given.num_rows
            for row in given.to_pylist():
                key = next(iter(row.values()))
                assert key not in rows, key
                if row.get("$meta") == "{}":
                    del row["$meta"]
                rows[key] = row
        assert count == chunk.rows
    return rows, bad


def open_contexts(server: Any) -> int:
    """Points in time that the server still holds."""
    told = server.request("GET", "/_nodes/stats/indices/search")
    return sum(
        node["indices"]["search"]["open_contexts"]
        + node["indices"]["search"].get("point_in_time_current", 0)
        for node in told["nodes"].values()
    )


def batches(source: ElasticsearchSource, chunks: Iterable[Chunk]) -> Iterator[Any]:
    for chunk in chunks:
        yield from source.read(chunk)
