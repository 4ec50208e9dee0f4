"""The param `explode`: each nested object is a row, with the fields of its document beside it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.errors import AirliftError, Refused
from airlift.mapping import map_collections
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.describing import Describer
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.nested_rows import (
    NestedRows,
    check_rows,
    exploded,
    reasons_against,
    vectors_inside,
)
from airlift.sources.elasticsearch.pages import Page
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.rows import RowMaker
from airlift.sources.elasticsearch.spans import IndexPart, Span

VECTOR = {"type": "dense_vector", "dims": 2, "similarity": "cosine"}
CHUNKS = {
    "type": "nested",
    "properties": {
        "text": {"type": "keyword"},
        "v": VECTOR,
        "at": {"properties": {"page": {"type": "integer"}, "w": VECTOR}},
        "const": {"type": "constant_keyword", "value": "c"},
    },
}


def found(properties: dict[str, Any], **mapping: Any) -> Found:
    part = IndexPart(index="i", uuid="u", shards=1)
    return Found(
        name="i", parts=(part,), mappings=({"properties": properties, **mapping},), settings=({},)
    )


def described(one: Found, explode: str, **given: Any) -> tuple[Any, Any]:
    params = ElasticsearchParams(indices=("i",), staging_url="/s", explode=explode, **given)
    describer = Describer(exploded(one, explode), params)
    made = describer.from_mapping()
    return made, describer.measured(made, Measured())


def hit(source: dict[str, Any], key: str = "a") -> dict[str, Any]:
    return {"_index": "i", "_id": key, "_source": source, "sort": [1]}


OBJECT = st.dictionaries(st.sampled_from(["text", "other", "at"]), st.integers(), max_size=3)
LISTED = st.recursive(OBJECT | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=9)


def flat(value: Any) -> list[Any]:
    return [each for item in value for each in flat(item)] if isinstance(value, list) else [value]


@given(value=LISTED, title=st.text(max_size=3), deep=st.booleans(), dotted=st.booleans())
def test_every_object_comes_once_with_its_document(
    value: Any, title: str, deep: bool, dotted: bool
) -> None:
    path = "doc.chunks" if deep else "chunks"
    nested = NestedRows(path, {"title", "doc", f"{path}.text"}, (), {"doc"})
    source: dict[str, Any] = {"title": title}
    if deep and dotted:
        source["doc.chunks"] = value
    elif deep:
        source["doc"] = {"chunks": value, "x": 1}
    else:
        source["chunks"] = value
    beside = {"title": title, **({"doc": {"x": 1}} if deep and not dotted else {})}
    expected = {
        f"a#{n}": {**beside, **{f"{path}.{key}": each for key, each in item.items()}}
        for n, item in enumerate(flat(value))
        if item is not None
    }
    assert {row["_id"]: row["_source"] for row in nested.of(hit(source), source)} == expected
    pieces = [*nested.batches([hit(source)], max_bytes=1)]
    assert [row["_id"] for piece in pieces for row in piece] == list(expected)
    assert all(len(piece) == 1 for piece in pieces)


def test_no_two_documents_share_a_key() -> None:
    """Whatever `_id` holds: what stands behind the last # is the position."""
    nested = NestedRows("c", {"c"}, (), ())
    source = {"c": [{}, {}, {}]}
    ids = ["a", "a#0", "a#0#1", "#", "", "0"]
    keys = [row["_id"] for key in ids for row in nested.of(hit(source, key), source)]
    assert len(set(keys)) == 3 * len(ids)


def test_fields_below_the_path_are_columns() -> None:
    made, layout = described(found({"title": {"type": "keyword"}, "chunks": CHUNKS}), "chunks")
    assert not made.reasons
    columns = {column.name: (str(column.type), column.dim) for column in layout.columns}
    assert columns == {
        "_id": ("VARCHAR", 0),
        "title": ("VARCHAR", 0),
        "chunks.text": ("VARCHAR", 0),
        "chunks.v": ("FLOAT_VECTOR", 2),
        "chunks.at": ("JSON", 0),
        "chunks.at.w": ("FLOAT_VECTOR", 2),
        "chunks.const": ("VARCHAR", 0),
    }
    chunk = {"text": "x", "v": [1, 2], "at": {"page": 3, "w": [0.5, 1]}, "const": "c"}
    page = Page([hit({"title": "t", "chunks": [chunk, {**chunk, "v": [3, 4]}]})], [1], b"")
    [(batch, bad)] = RowMaker(layout).batches(page)
    assert bad is None
    rows = batch.to_pylist()
    assert [(row["_id"], row["title"], row["chunks.v"]) for row in rows] == [
        ("a#0", "t", [1, 2]),
        ("a#1", "t", [3, 4]),
    ]
    assert rows[0]["chunks.at"] == '{"page":3}'
    assert rows[0]["chunks.at.w"] == [0.5, 1]


@pytest.mark.parametrize(
    ("properties", "path", "reason"),
    [
        ({"title": {"type": "keyword"}}, "chunks", "has no such field; it has no nested fields"),
        ({"chunks": CHUNKS}, "chunk", "has no such field; it has the nested fields ['chunks']"),
        ({"chunks": {"properties": {}}}, "chunks", "has it as object, where nested is expected"),
        ({"chunks": {"type": "keyword"}}, "chunks", "has it as keyword"),
        (
            {"pages": {"type": "nested", "properties": {"chunks": CHUNKS}}},
            "pages.chunks",
            "inside the nested objects 'pages'",
        ),
        ({"doc": {"type": "keyword"}}, "doc.chunks", "has 'doc' as keyword, in which no objects"),
    ],
)
def test_a_path_that_gives_no_rows_is_refused(
    properties: dict[str, Any], path: str, reason: str
) -> None:
    [said] = reasons_against(found(properties), path)
    assert reason in said
    assert repr(path) in said and "'i'" in said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"primary_key": "title"}, "primary_key 'title' is the same in all rows of a document"),
        ({"mapping": {"i": {"fields": [{"source": "chunks", "type": "JSON"}]}}}, "below it"),
        (
            {"mapping": {"i": {"fields": [{"source": "chunks.text.raw"}]}}},
            "by the document, not by each object of 'chunks'",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(given: dict[str, Any], reason: str) -> None:
    text = {"type": "keyword", "fields": {"raw": {"type": "text"}}}
    chunks = {"type": "nested", "properties": {"text": text, "v": VECTOR}}
    made, _ = described(found({"title": {"type": "keyword"}, "chunks": chunks}), "chunks", **given)
    assert any(reason in said for said in made.reasons)


def test_vectors_that_source_leaves_out_are_refused() -> None:
    one = found({"chunks": CHUNKS}, _source={"excludes": ["chunks.v"]})
    made, _ = described(one, "chunks")
    assert any("'chunks.v' are left out of _source" in said for said in made.reasons)


def test_a_key_below_the_path_is_the_key() -> None:
    chunks = {"type": "nested", "properties": {"id": {"type": "keyword"}, "v": VECTOR}}
    made, layout = described(found({"chunks": chunks}), "chunks", primary_key="chunks.id")
    assert not made.reasons
    assert [column.name for column in layout.columns] == ["chunks.id", "_id", "chunks.v"]


@pytest.mark.parametrize("path", [".", "a.", ".a", "a..b"])
def test_an_incomplete_path_is_no_param(path: str) -> None:
    with pytest.raises(ValueError, match="explode"):
        ElasticsearchParams(indices=("i",), staging_url="/s", explode=path)


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"chunks": CHUNKS}, "set explode to 'chunks'"),
        ({"doc": {"properties": {"chunks": CHUNKS}}}, "set explode to 'doc.chunks'"),
        ({"a": {"type": "nested", "properties": {"b": {"properties": {"v": VECTOR}}}}}, "'a'"),
        ({"a": CHUNKS, "b": CHUNKS}, "the nested objects 'a', 'b'"),
        ({"a": {"type": "nested", "properties": {"x": {"type": "keyword"}}}}, ""),
        ({"title": {"type": "keyword"}}, ""),
    ],
)
def test_the_message_without_a_vector_names_explode(properties: Any, said: str) -> None:
    inside = vectors_inside(found(properties))
    assert said in inside and bool(said) == bool(inside)
    key = Field(name="_id", type="VARCHAR", primary_key=True)
    schema = CollectionSchema(name="i", fields=(key,))
    collection = SourceCollection(collection_schema=schema, rows=1, vectors_inside=inside)
    params = ElasticsearchParams(indices=("i",), staging_url="/s")
    with pytest.raises(Refused) as refused:
        map_collections([collection], params, "m")
    assert said in str(refused.value)
    assert "no vector field is left; include one" in str(refused.value)


@pytest.mark.parametrize("made", [0, 4, 6])
def test_other_rows_than_the_server_counts_are_an_error(made: int) -> None:
    span = Span(index="i", shard=2, start=0, stop=9, rows=3, objects=5)
    check_rows(span, 5, "chunks")
    with pytest.raises(AirliftError, match=rf"'i', shard 2: .* 5 objects .* {made}"):
        check_rows(span, made, "chunks")
