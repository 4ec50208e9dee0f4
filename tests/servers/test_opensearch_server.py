"""Starts real OpenSearch servers and checks what the tests of its source rely on."""

from __future__ import annotations

from typing import Any

import pytest

from localservers import LocalServerError, OpenSearch

VECTORS = [[1.0, 2.0, 3.0], [0.5, -1.0, 0.25], [7.0, 0.0, 1.0]]


def fill(server: OpenSearch, index: str, engine: str) -> None:
    method = {"name": "hnsw", "engine": engine, "space_type": "l2"}
    vector = {"type": "knn_vector", "dimension": 3, "method": method}
    body = {
        "settings": server.INDEX_SETTINGS,
        "mappings": {"properties": {"v": vector, "n": {"type": "integer"}}},
    }
    client = server.client()
    client.indices.create(index=index, body=body)
    for n, values in enumerate(VECTORS):
        client.index(index=index, id=str(n), body={"v": values, "n": n}, params={"refresh": "true"})


def vectors(server: OpenSearch, index: str) -> list[Any]:
    body = {"query": {"range": {"n": {"gte": 0}}}, "sort": [{"n": "asc"}]}
    found = server.client().search(index=index, body=body)
    return [hit["_source"]["v"] for hit in found["hits"]["hits"]]


def nearest(server: OpenSearch, index: str, vector: list[float]) -> str:
    body = {"query": {"knn": {"v": {"vector": vector, "k": 1}}}}
    return str(server.client().search(index=index, body=body)["hits"]["hits"][0]["_id"])


@pytest.mark.parametrize(
    ("fixture", "version", "engine"),
    [
        ("opensearch", "2.19.1", "lucene"),
        ("opensearch", "2.19.1", "faiss"),
        ("opensearch", "2.19.1", "nmslib"),
        ("opensearch_3", "3.3.0", "lucene"),
        ("opensearch_3", "3.3.0", "faiss"),
    ],
)
def test_each_engine_of_knn_finds_the_nearest(
    fixture: str, version: str, engine: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(fixture)
    info = server.client().info()["version"]
    assert (info["distribution"], info["number"]) == ("opensearch", version)
    assert server.version == version
    fill(server, f"near-{engine}", engine)
    assert vectors(server, f"near-{engine}") == VECTORS
    assert nearest(server, f"near-{engine}", [6.0, 0.0, 0.0]) == "2"


def test_a_version_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(LocalServerError, match=r"OpenSearch 1\.2\.3 .* 2\.19\.1"):
        OpenSearch(version="1.2.3")
