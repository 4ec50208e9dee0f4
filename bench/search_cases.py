"""The cases that read from Elasticsearch; `bench.cases` runs them in processes of their own."""

from __future__ import annotations

from typing import Any

from airlift.connections import ElasticsearchConnection
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.source import ElasticsearchSource
from airlift.storage import open_storage
from bench import shares
from bench.timed import timed

INDEX = "songs"
_PAGE = 1000


class _OneSource:
    """Connections: one Elasticsearch, and nothing else."""

    def __init__(self, url: str) -> None:
        self._url = url

    def elasticsearch(self, conn_id: str) -> ElasticsearchConnection:
        """The source."""
        return ElasticsearchConnection(hosts=(self._url,))

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


def _source(url: str, scratch: str) -> ElasticsearchSource:
    params = ElasticsearchParams(indices=(INDEX,), staging_url="/unused")
    return ElasticsearchSource(params, _OneSource(url), open_storage(scratch))


def search_fill(url: str, rows: int, dim: int) -> dict[str, Any]:
    """Puts documents with a text, a number and a vector of 32-bit floats into one shard."""
    import numpy as np
    import orjson
    from elasticsearch import Elasticsearch

    client = Elasticsearch(url, request_timeout=120)
    if client.indices.exists(index=INDEX):
        if client.count(index=INDEX)["count"] == rows:
            return {}
        client.indices.delete(index=INDEX)
    # Not indexed: that takes the server minutes, and what is read is the same.
    vector = {"type": "dense_vector", "dims": dim, "index": False}
    fields = {"title": {"type": "keyword"}, "year": {"type": "integer"}, "vector": vector}
    settings = {"number_of_replicas": 0, "refresh_interval": -1}
    client.indices.create(index=INDEX, mappings={"properties": fields}, settings=settings)
    random = np.random.default_rng(0)
    for start in range(0, rows, 2000):
        lines = []
        vectors = random.standard_normal((2000, dim)).astype(np.float32)
        for row, values in enumerate(vectors, start):
            document = {"title": f"song {row}", "year": 1990 + row % 30, "vector": values}
            lines.append(orjson.dumps({"index": {"_id": f"id-{row}"}}))
            lines.append(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
        body = b"\n".join(lines) + b"\n"
        headers = {"accept": "application/json", "content-type": "application/x-ndjson"}
        found = client.perform_request("POST", f"/{INDEX}/_bulk", headers=headers, body=body)
        if found["errors"]:
            raise SystemExit("the server did not take the documents")
    client.indices.refresh(index=INDEX)
    client.indices.forcemerge(index=INDEX, max_num_segments=4)
    return {}


def search_scan(url: str) -> dict[str, Any]:
    """What one would do without a tool: `helpers.scan`, with the client as it comes."""
    from elasticsearch import Elasticsearch
    from elasticsearch.helpers import scan

    found: dict[str, Any] = {"rows": 0}
    client = Elasticsearch(url)
    with timed(found):
        for hit in scan(client, index=INDEX, size=_PAGE):
            found["rows"] += len(hit["_source"]["vector"]) > 0
    return found


def search_plan(url: str, scratch: str) -> dict[str, Any]:
    """Describes and cuts the index."""
    return shares.cut(_source(url, scratch), scratch, 2 << 30)


def search_read(url: str, scratch: str, worker: int, workers: int) -> dict[str, Any]:
    """Reads one worker's share of the chunks into Arrow batches."""
    return shares.read(_source(url, scratch), scratch, worker, workers)


def search_finish(url: str, scratch: str) -> dict[str, Any]:
    """Closes the point in time."""
    _source(url, scratch).finish()
    return {}


SEARCH_CASES = (search_fill, search_scan, search_plan, search_read, search_finish)
