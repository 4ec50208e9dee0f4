"""Fields that `mapping` leaves out are not asked for, and change nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airlift.sources.elasticsearch import source as source_module
from airlift.sources.elasticsearch.client import SearchServer, Version
from airlift.sources.elasticsearch.outside_source import search_parts
from airlift.sources.elasticsearch.pages import Page
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.rows import RowMaker
from airlift.sources.elasticsearch.source import ElasticsearchSource
from airlift.storage import open_storage
from tests.unit.test_elasticsearch_answers import NoSecrets, ScriptedWire
from tests.unit.test_elasticsearch_schema import VECTOR, described, found

FILES = {
    "v": VECTOR,
    "w": {"type": "dense_vector"},
    "title": {"type": "keyword"},
    "attachment": {"properties": {"data": {"type": "binary"}}},
    "object": {"properties": {"v": VECTOR, "x": {"type": "long"}}},
}


@pytest.mark.parametrize(
    ("mapping", "left_out"),
    [
        ({"exclude": ["attachment", "w"]}, {"attachment", "w"}),
        ({"include": ["_id", "v", "w"]}, {"title", "attachment"}),
        ({"exclude": ["object", "w"]}, {"w"}),  # its vector is wanted
        ({"exclude": ["object", "object.v"]}, set()),  # one object, two columns
        ({"exclude": ["w", "v"], "transform": "mine"}, set()),  # a transform may read it
        ({"exclude": ["title", "w", "$meta"]}, {"title", "w"}),
        ({}, set()),
    ],
)
def test_what_is_not_asked_for(mapping: dict[str, Any], left_out: set[str]) -> None:
    columns, _, layout = described(found(FILES), mapping={"i": mapping})
    assert {name for name, column in columns.items() if column.skipped} == left_out
    asked = search_parts(layout.columns).get("_source", {"excludes": []})
    assert set(asked["excludes"]) == left_out
    # The schema keeps them, as mapping names fields of it.
    assert set(FILES) | {"_id", "object.v"} == set(columns)


@pytest.mark.parametrize("key", ["title", "v", "attachment"])
def test_a_field_left_out_is_null_and_no_reason(key: str) -> None:
    mapping = {"i": {"exclude": [key, "w", "object.v"]}}
    _, made, layout = described(found(FILES), mapping=mapping)
    assert not made.reasons  # the dimension of `w` is not needed
    whole = {"v": [1, 2, 3], "title": "t", "attachment": {"data": "eA=="}}
    source = {name: value for name, value in whole.items() if name != key}
    hit = {"_index": "i0", "_id": "a", "_source": {**source, "object": {"v": [1, 2, 3]}}}
    batch, bad = RowMaker(layout).rows(Page([hit], [1], b"{}"))
    assert bad is None
    [row] = batch.to_pylist()
    assert {name: row[name] is None for name in whole} == {name: name == key for name in whole}


def test_without_subobjects_everything_is_asked_for() -> None:
    """There `m.time` would be left out together with `m`."""
    fields = {"v": VECTOR, "m": {"type": "long"}, "m.time": {"type": "long"}}
    columns, _, _ = described(found(fields, subobjects=False), mapping={"i": {"exclude": ["m"]}})
    assert not any(column.skipped for column in columns.values())


@pytest.mark.parametrize("number", ["7.17.29", "8.19.21", "9.1.0", "9.2.0", "9.5.3"])
def test_requests_leave_it_out(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Listening(ScriptedWire):
        def send(self, method: str, path: str, params: Any, body: bytes | None) -> bytes:
            request = json.loads(body) if body else {}
            if request.get("size"):
                asked.append(request.get("_source"))
            return super().send(method, path, params, body)

    server = SearchServer(Listening(), Version(product="Elasticsearch", number=number), 0)
    params = ElasticsearchParams(
        indices=("songs",), staging_url="/s", mapping={"songs": {"exclude": ["title"]}}
    )
    monkeypatch.setattr(source_module, "connect", lambda connection, patience: server)
    connections: Any = NoSecrets()
    source = ElasticsearchSource(params, connections, open_storage(str(tmp_path)))
    [collection] = source.describe()
    rows = [
        row
        for chunk in source.cut(collection, 1 << 30)
        for batch in source.read(chunk)
        for row in batch.to_pylist()  # type: ignore[union-attr]
    ]
    assert [row["v"] for row in rows] == [[n, 0.5] for n in range(5)]
    vectors = {"exclude_vectors": False} if number >= "9.2" else {}
    assert asked and all(said == {"excludes": ["title"], **vectors} for said in asked)
