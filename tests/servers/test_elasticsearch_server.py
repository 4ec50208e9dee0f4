"""Starts real Elasticsearch servers and checks what the tests of its source rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localservers import Elasticsearch, LocalServerError

VECTORS = [[1.0, 2.0, 3.0], [0.5, -1.0, 0.25], [7.0, 0.0, 1.0]]


def fill(server: Any, index: str) -> None:
    fields = {"v": {"type": "dense_vector", "dims": 3}, "n": {"type": "integer"}}
    server.request("PUT", f"/{index}", json={"mappings": {"properties": fields}})
    for n, vector in enumerate(VECTORS):
        path = f"/{index}/_doc/{n}?refresh=true"
        server.request("PUT", path, json={"v": vector, "n": n})


def vectors(server: Any, index: str) -> list[list[float]]:
    body = {"query": {"range": {"n": {"gte": 0}}}, "sort": [{"n": "asc"}]}
    found = server.request("POST", f"/{index}/_search", json=body)
    return [hit["_source"]["v"] for hit in found["hits"]["hits"]]


def test_a_killed_server_has_its_documents_and_its_address_again(tmp_path: Path) -> None:
    with Elasticsearch(tmp_path) as server:
        url = server.url
        fill(server, "kept")
        info = server.client().info()
        assert info["version"]["number"] == server.version == "8.19.21"
        server.kill()
        assert not server.running
        server.start()
        assert server.url == url
        assert vectors(server, "kept") == VECTORS
        assert server.client().info()["cluster_uuid"] == info["cluster_uuid"]
        server.stop()
        server.start()
        assert vectors(server, "kept") == VECTORS


def test_a_version_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(LocalServerError, match=r"Elasticsearch 1\.2\.3 .* 8\.19\.21"):
        Elasticsearch(version="1.2.3")
