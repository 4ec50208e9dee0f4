"""Columns from mappings, measured documents, and the user's own mapping."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.cutting import group, pieces
from airlift.sources.elasticsearch.describing import Describer
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.reading import IndexPart, Span

VECTOR = {"type": "dense_vector", "dims": 3, "similarity": "cosine"}


def params(**given: Any) -> ElasticsearchParams:
    return ElasticsearchParams(indices=("i",), staging_url="/s", **given)


def found(*properties: dict[str, Any], **mapping: Any) -> Found:
    mappings = tuple({"properties": one, **mapping} for one in properties)
    parts = tuple(IndexPart(index=f"i{n}", uuid="u", shards=1) for n in range(len(mappings)))
    return Found(name="i", parts=parts, mappings=mappings, settings=({},) * len(mappings))


def described(one: Found, measured: Measured | None = None, **given: Any) -> tuple[Any, Any, Any]:
    describer = Describer(one, params(**given))
    made = describer.from_mapping()
    layout = describer.measured(made, measured or Measured())
    return {c.name: c for c in layout.columns}, made, layout


@pytest.mark.parametrize(
    ("definition", "kind", "metric"),
    [
        (VECTOR, "FLOAT_VECTOR", "COSINE"),
        ({**VECTOR, "similarity": "l2_norm"}, "FLOAT_VECTOR", "L2"),
        ({**VECTOR, "similarity": "max_inner_product"}, "FLOAT_VECTOR", "IP"),
        ({**VECTOR, "element_type": "byte"}, "INT8_VECTOR", "COSINE"),
        ({**VECTOR, "element_type": "bfloat16"}, "FLOAT_VECTOR", "COSINE"),
        ({"type": "dense_vector", "dims": 8, "element_type": "bit"}, "BINARY_VECTOR", "HAMMING"),
        ({"type": "dense_vector", "dims": 8, "index": False}, "FLOAT_VECTOR", None),
        ({"type": "knn_vector", "dimension": 3, "space_type": "l2"}, "FLOAT_VECTOR", "L2"),
        (
            {"type": "knn_vector", "dimension": 8, "method": {"space_type": "cosinesimil"}},
            "FLOAT_VECTOR",
            "COSINE",
        ),
        ({"type": "knn_vector", "dimension": 8, "data_type": "binary"}, "BINARY_VECTOR", "HAMMING"),
    ],
)
def test_vectors_and_their_metrics(definition: Any, kind: str, metric: str | None) -> None:
    columns, made, _ = described(found({"v": definition}))
    assert not made.reasons
    assert (columns["v"].type, columns["v"].metric_type) == (kind, metric)


def test_a_similarity_that_milvus_lacks_is_refused_unless_another_is_given() -> None:
    one = found({"v": {"type": "knn_vector", "dimension": 3, "space_type": "linf"}})
    assert "'linf', which no metric of Milvus does" in described(one)[1].reasons[0]
    assert not described(one, mapping={"i": {"metric_type": "L2"}})[1].reasons


def test_what_was_measured_shapes_the_columns() -> None:
    measured = Measured(
        total=10,
        missing={"all": 0, "some": 2, "tags": 0, "v": 0, "small": 0, "large": 0},
        several={"tags"},
        largest={"small": 5.0, "large": 1e19},
        sample=[{"s": {"1": 0.5}, "w": {"word": 1}}],
    )
    kinds = {
        "all": "keyword",
        "some": "integer",
        "unknown": "text",
        "tags": "keyword",
        "small": "unsigned_long",
        "large": "unsigned_long",
        "s": "sparse_vector",
        "w": "rank_features",
    }
    fields = {name: {"type": kind} for name, kind in kinds.items()}
    columns, made, _ = described(found(fields | {"v": VECTOR}), measured)
    assert not made.reasons
    nullable = {name: columns[name].nullable for name in ("all", "some", "unknown", "tags")}
    assert nullable == {"all": False, "some": True, "unknown": True, "tags": False}
    assert (columns["tags"].type, columns["tags"].element_type) == ("ARRAY", "VARCHAR")
    assert (columns["small"].type, columns["large"].type) == ("INT64", "VARCHAR")
    assert (columns["s"].type, columns["w"].type) == ("SPARSE_FLOAT_VECTOR", "JSON")
    assert any("'w' has words for dimensions" in note for note in made.notes)


def test_unknown_kinds_go_where_other_fields_says() -> None:
    one = found({"odd": {"type": "murmur3"}, "v": VECTOR})
    assert described(one)[2].dynamic
    assert "'odd'" in described(one, other_fields="refuse")[1].reasons[0]
    _, made, layout = described(one, other_fields="leave_out")
    assert not layout.dynamic
    assert "['odd']" in made.notes[0]
    columns, made, layout = described(
        one,
        mapping={"i": {"fields": [{"source": "odd", "type": "VARCHAR"}]}},
        other_fields="refuse",
    )
    assert not made.reasons
    assert columns["odd"].type == "VARCHAR"


def test_a_mapping_without_source_is_refused() -> None:
    one = found({"v": VECTOR}, _source={"enabled": False})
    assert "keeps no _source" in described(one)[1].reasons[0]
    _, made, _ = described(found({"v": VECTOR}, _source={"excludes": ["v"]}))
    assert any("only a part of each _source (v)" in note for note in made.notes)


def test_keys() -> None:
    one = found({"n": {"type": "long"}, "o": {"type": "object"}, "v": VECTOR})
    assert next(iter(described(one)[0])) == "_id"
    columns, _, _ = described(one, primary_key="n")
    assert list(columns)[:2] == ["n", "_id"]
    assert (columns["n"].is_key, columns["_id"].is_key) == (True, False)
    assert "is JSON" in described(one, primary_key="o")[1].reasons[0]
    assert "is no field" in described(one, primary_key="x")[1].reasons[0]
    lacking = Measured(total=5, missing={"n": 2})
    assert "missing in 2" in described(one, lacking, primary_key="n")[1].reasons[0]


def test_params_that_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="needs on_bad_row set_aside"):
        params(on_missing_vector="set_aside")
    with pytest.raises(ValidationError, match="an object with one key"):
        params(query={"query": {"match_all": {}}, "size": 1})
    with pytest.raises(ValidationError):
        ElasticsearchParams(indices=(), staging_url="/s")


def test_ranges_are_grouped_evenly_and_wholly() -> None:
    cells = [
        Span(index="i", shard=shard, start=start, stop=start + 10, rows=10)
        for shard in range(3)
        for start in range(0, 100, 10)
    ]
    for count in (1, 2, 4, 7, 30):
        groups = list(group(cells, count))
        assert len(groups) == count
        sizes = [sum(span.rows for span in one) for one in groups]
        assert sum(sizes) == 300
        assert max(sizes) - min(sizes) <= 10
    assert list(group([], 3)) == []
    assert pieces(1, 100) == 1
    assert pieces(100 << 20, 1 << 30) == 1
    assert pieces(200 << 20, 1 << 30) == 2
    assert pieces(9 << 30, 2 << 30) == 5


def test_a_metric_that_the_whole_index_sets() -> None:
    one = found({"v": {"type": "knn_vector", "dimension": 3}})
    for settings, metric in (
        ({"index.knn": "true", "index.knn.space_type": "cosinesimil"}, "COSINE"),
        ({"index.knn": "true"}, "L2"),
        ({}, None),
    ):
        columns, _, _ = described(one.model_copy(update={"settings": (settings,)}))
        assert columns["v"].metric_type == metric
