"""Columns from mappings, measured documents, and the user's own mapping."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from airlift.sources.elasticsearch.choosing import Found
from airlift.sources.elasticsearch.columns import Column
from airlift.sources.elasticsearch.cutting import group, pieces
from airlift.sources.elasticsearch.describing import Describer
from airlift.sources.elasticsearch.measuring import Measured
from airlift.sources.elasticsearch.outside_source import (
    fetched,
    flat_objects,
    has_no_numbers,
    not_kept,
    search_parts,
)
from airlift.sources.elasticsearch.params import ElasticsearchParams
from airlift.sources.elasticsearch.spans import IndexPart, Span

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
        ({"type": "knn_vector", "dimension": 3, "data_type": "BYTE"}, "INT8_VECTOR", None),
    ],
)
def test_vectors_and_their_metrics(definition: Any, kind: str, metric: str | None) -> None:
    columns, made, _ = described(found({"v": definition}))
    assert not made.reasons
    assert (columns["v"].type, columns["v"].metric_type) == (kind, metric)


def hnsw(m: int, ef_construction: int) -> dict[str, Any]:
    return {"index_type": "HNSW", "params": {"M": m, "efConstruction": ef_construction}}


KNN = {"type": "knn_vector", "dimension": 8}
HNSW_OPTIONS = {"m": 32, "ef_construction": 200}


@pytest.mark.parametrize(
    ("definition", "index", "unlike"),
    [
        ({"index_options": {"type": "hnsw", **HNSW_OPTIONS}}, hnsw(32, 200), ""),
        ({"index_options": {"type": "int8_hnsw", **HNSW_OPTIONS}}, hnsw(32, 200), ""),
        ({"index_options": {"type": "int4_hnsw", "m": 8}}, hnsw(8, 100), ""),
        ({"index_options": {"type": "bbq_hnsw"}}, hnsw(16, 100), ""),
        ({"index_options": {"type": "int8_flat"}}, {"index_type": "FLAT", "params": {}}, ""),
        ({"index_options": {"type": "bbq_disk"}}, None, "bbq_disk of FLOAT_VECTOR"),
        ({}, hnsw(16, 100), ""),  # with a similarity, so it is indexed
        ({"index": False}, None, ""),
        (
            {"element_type": "bit", "index_options": {"type": "hnsw"}},
            None,
            "hnsw of BINARY_VECTOR",
        ),
        (
            {"element_type": "bit", "index_options": {"type": "flat"}},
            {"index_type": "BIN_FLAT", "params": {}},
            "",
        ),
        (
            KNN | {"method": {"name": "hnsw", "engine": "lucene", "parameters": HNSW_OPTIONS}},
            hnsw(32, 200),
            "",
        ),
        (
            KNN | {"method": {"name": "ivf", "parameters": {"nlist": 128}}},
            {"index_type": "IVF_FLAT", "params": {"nlist": 128}},
            "",
        ),
        (KNN, hnsw(16, 100), ""),
        (KNN | {"model_id": "abc"}, None, "of the model abc"),
    ],
)
def test_indexes_of_vectors(definition: Any, index: Any, unlike: str) -> None:
    definition = definition if "type" in definition else {**VECTOR, **definition}
    one = found({"v": definition})
    settings = {"index.knn": "true"}
    columns, made, _ = described(one.model_copy(update={"settings": (settings,)}))
    assert not made.reasons
    assert (columns["v"].field.index, columns["v"].field.unlike_index) == (index, unlike)


def test_an_opensearch_index_without_knn_has_no_index_on_its_vectors() -> None:
    columns, _, _ = described(found({"v": KNN}))
    assert (columns["v"].index, columns["v"].unlike_index) == (None, "")


def test_indexes_may_differ_between_the_indices_of_a_collection() -> None:
    other = {**VECTOR, "index_options": {"type": "hnsw", "m": 5}}
    _, made, _ = described(found({"v": VECTOR}, {"v": other}))
    assert not made.reasons


def test_rounding_of_the_index_is_noted_where_it_is_carried() -> None:
    definition = {**VECTOR, "index_options": {"type": "int8_hnsw"}}
    for index, count in (("source", 1), ("autoindex", 0)):
        _, made, _ = described(found({"v": definition}), index=index)
        assert len([note for note in made.notes if "int8_hnsw" in note]) == count


def test_a_similarity_that_milvus_lacks_is_refused_unless_another_is_given() -> None:
    one = found({"v": {"type": "knn_vector", "dimension": 3, "space_type": "linf"}})
    assert "'linf', which no metric of Milvus does" in described(one)[1].reasons[0]
    assert not described(one, mapping={"i": {"metric_type": "L2"}})[1].reasons


def test_texts_that_hold_their_embeddings_are_json() -> None:
    one = found({"t": {"type": "semantic_text"}, "v": VECTOR})
    held = {"t": {"text": "x", "inference": {"chunks": []}}}
    for sample, kind in (([held, {"t": "x"}], "JSON"), ([{"t": "x"}], "VARCHAR")):
        assert described(one, Measured(sample=sample))[0]["t"].type == kind


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


@pytest.mark.parametrize(
    ("settings", "by_slices"),
    [
        ({"index.disable_sequence_numbers": "true"}, True),
        ({"index.disable_sequence_numbers": True, "index.mode": "logsdb"}, True),
        ({"index.mode": "columnar"}, True),
        ({"index.mode": "columnar", "index.disable_sequence_numbers": "true"}, True),
        ({"index.mode": "columnar", "index.disable_sequence_numbers": "false"}, False),
        ({"index.disable_sequence_numbers": "false"}, False),
        ({"index.mode": "time_series"}, False),
        ({}, False),
    ],
)
def test_an_index_without_sequence_numbers_is_taken_with_a_note(
    settings: dict[str, Any], by_slices: bool
) -> None:
    one = found({"v": VECTOR}).model_copy(update={"settings": (settings,)})
    made = described(one)[1]
    assert not made.reasons
    noted = any("index 'i0' keeps no _seq_no" in note for note in made.notes)
    assert noted == by_slices == has_no_numbers(settings)


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
    rowless = [cell.model_copy(update={"objects": 0}) for cell in cells]
    [together] = group(rowless, 2)
    assert [(span.shard, span.rows, span.objects) for span in together] == [
        (shard, 100, 0) for shard in range(3)
    ]
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


def noted(one: Found, settings: dict[str, str] | None = None, **given: Any) -> str:
    """All notes of a collection."""
    found = one.model_copy(update={"settings": (settings or {},) * len(one.parts)})
    return "\n".join(described(found, **given)[1].notes)


SCRIPT = {"script": {"source": "emit(1)"}}


@pytest.mark.parametrize(
    ("properties", "mapping", "words"),
    [
        ({"c": {"type": "constant_keyword"}}, {}, "the constants 'c' have no value yet"),
        (
            {
                "n": {
                    "type": "nested",
                    "properties": {"c": {"type": "constant_keyword", "value": 1}},
                }
            },
            {},
            "the constants 'n.c' have no value yet, or are in nested documents",
        ),
        ({"n": {"type": "long", "null_value": 0}}, {}, "by its null_value ('n' by 0)"),
        (
            {"o": {"properties": {"n": {"type": "ip", "null_value": "::"}}}},
            {},
            "by its null_value ('o.n' by '::')",
        ),
        ({"k": {"type": "text", "copy_to": "all"}}, {}, "copies into 'all' from 'k' is in no"),
        (
            {"o": {"properties": {"k": {"type": "text", "copy_to": ["x.y", "z"]}}}},
            {},
            "copies into 'x.y' from 'o.k' is in no document",
        ),
        ({"o": {"properties": {"a": {"type": "alias", "path": "k"}}}}, {}, "'o.a' is left out: an"),
        ({"s": {"type": "long", **SCRIPT}}, {}, "'s' is left out: computed by a script"),
        (
            {"o": {"properties": {"s": {"type": "long", **SCRIPT}}}},
            {},
            "'o.s' is left out: computed",
        ),
        ({"k": {"type": "text", "fields": {"raw": {}}}}, {}, "multi-fields of 'k' are other forms"),
        ({}, {"runtime": {"r": {"type": "long", **SCRIPT}}}, "'r' are computed by each search"),
        ({}, {"runtime": {"r": {"type": "lookup"}}}, "'r' are computed by each search"),
        (
            {},
            {"runtime": {"r": {"type": "long"}}},
            "'r' have no script: their values are in _sou",
        ),
        (
            {"k": {"type": "long"}},
            {"runtime": {"k": {"type": "long", **SCRIPT}}},
            "in place of the documents' own fields 'k'",
        ),
        ({}, {"derived": {"d": {"type": "keyword", **SCRIPT}}}, "'d' are computed by each search"),
        (
            {"o": {"properties": {"p": {"type": "passthrough"}}}},
            {},
            "fields of the passthrough objects 'o.p' also without the name",
        ),
        ({"t": {"type": "semantic_text"}}, {}, "the embeddings of the semantic_text fields 't'"),
        ({}, {"_source": {"mode": "synthetic"}}, "has a synthetic _source"),
        ({"k": {"type": "long"}}, {"_source": {"excludes": ["k"]}}, "its mapping lists: 'k'"),
        ({"k": {"type": "long"}}, {"_source": {"includes": ["v"]}}, "its mapping lists: 'k'"),
    ],
)
def test_values_that_stand_elsewhere_are_noted(
    properties: dict[str, Any], mapping: dict[str, Any], words: str
) -> None:
    assert words in noted(found(properties | {"v": VECTOR}, **mapping))
    assert not noted(found({"v": VECTOR, "k": {"type": "keyword", "ignore_above": 9}}))


@pytest.mark.parametrize(
    ("settings", "is_synthetic"),
    [
        ({"index.mapping.source.mode": "SYNTHETIC"}, True),
        ({"index.mapping.source.mode": "synthetic"}, True),
        ({"index.mode": "time_series"}, True),
        ({"index.mode": "logsdb"}, True),
        ({"index.mode": "logsdb", "index.mapping.source.mode": "STORED"}, False),
        ({"index.derived_source.enabled": "true"}, True),
        ({"index.derived_source.enabled": "false"}, False),
        ({"index.mapping.source.mode": "STORED", "index.mode": "standard"}, False),
        ({}, False),
    ],
)
def test_servers_that_put_source_together(settings: dict[str, str], is_synthetic: bool) -> None:
    one = found({"n": {"type": "long", "null_value": 1}, "v": VECTOR})
    assert ("synthetic _source" in noted(one, settings)) == is_synthetic
    # There, null is the null_value in _source too.
    assert ("by its null_value" in noted(one, settings)) != is_synthetic


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        ({"enabled": False}, {}),
        ({"enabled": "false"}, {}),
        ({"mode": "disabled"}, {"index.mapping.source.mode": "STORED"}),
        ({}, {"index.mapping.source.mode": "disabled"}),
        ({}, {"index.mapping.source.mode": "DISABLED"}),
    ],
)
def test_indices_without_source_are_refused(source: Any, settings: Any) -> None:
    one = found({"v": VECTOR}, _source=source).model_copy(update={"settings": (settings,)})
    assert "index 'i0' keeps no _source" in described(one)[1].reasons[0]


def test_vectors_that_faiss_keeps_scaled_are_noted() -> None:
    def vector(space: str, **method: Any) -> dict[str, Any]:
        return {"type": "knn_vector", "dimension": 3, "method": {"space_type": space, **method}}

    fields = {
        "a": vector("cosinesimil"),
        "b": vector("cosinesimil", engine="faiss"),
        "c": vector("cosinesimil", engine="lucene"),
        "d": vector("l2", engine="faiss"),
    }
    settings = {"index.knn.derived_source.enabled": "true"}
    assert "the vectors of 'a', 'b' come from the index" in noted(found(fields), settings)
    assert not noted(found(fields))


NAMED = found(
    {
        "k": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "al": {"type": "alias", "path": "k.raw"},
        "o": {
            "properties": {
                "when": {"type": "alias", "path": "day"},
                "sum": {"type": "long", **SCRIPT},
            }
        },
        "day": {"type": "date", "format": "epoch_second"},
        "v": VECTOR,
    },
    runtime={"r": {"type": "double", **SCRIPT}, "c": {"type": "composite", **SCRIPT}},
    derived={"d": {"type": "boolean", **SCRIPT}},
)
NAMED.mappings[0]["runtime"]["c"]["fields"] = {"in": {"type": "ip"}}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("k.raw", "VARCHAR"),
        ("al", "VARCHAR"),
        ("o.when", "INT64"),
        ("o.sum", "INT64"),
        ("r", "DOUBLE"),
        ("c.in", "VARCHAR"),
        ("d", "BOOL"),
    ],
)
def test_what_no_document_holds_is_asked_for_when_mapping_names_it(name: str, kind: str) -> None:
    mapping = {"i": {"fields": [{"source": name}]}}
    columns, made, _ = described(NAMED, mapping=mapping)
    assert not made.reasons
    assert (columns[name].type, columns[name].nullable) == (kind, True)
    assert search_parts(columns.values()) == {"fields": [{"field": name}]}
    assert name not in described(NAMED)[0]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("gone", "docvalue_fields"),
        ("gone.raw", "docvalue_fields"),
        ("al", "docvalue_fields"),
        ("o.gone", "docvalue_fields"),
        ("o.stored", "stored_fields"),
        ("kept.raw", "fields"),
        ("sum", "fields"),
    ],
)
def test_what_source_does_not_keep_is_asked_for_when_mapping_names_it(name: str, part: str) -> None:
    word = {"type": "keyword"}
    properties = {
        "gone": {**word, "fields": {"raw": word}},
        "kept": {**word, "fields": {"raw": word}},
        "al": {"type": "alias", "path": "gone"},
        "sum": {**word, **SCRIPT},
        "o": {"properties": {"gone": word, "stored": {**word, "store": True}}},
        "v": VECTOR,
    }
    one = found(properties, _source={"excludes": ["gone", "o.*"]})
    mapping = {"i": {"fields": [{"source": name, "type": "VARCHAR"}]}}
    columns, made, layout = described(one, mapping=mapping)
    assert not made.reasons
    asked = name if part == "stored_fields" else {"field": name}
    assert search_parts(columns.values())[part] == [asked]
    assert columns[name].nullable
    assert "gone" not in layout.known


def test_what_the_index_stores_comes_though_source_has_it_not() -> None:
    fields = {"t": {"type": "text", "store": True}, "u": {"type": "text"}, "v": VECTOR}
    one = found(fields, _source={"includes": ["v"]})
    columns = described(one)[0]
    assert list(columns) == ["_id", "t", "v"]
    assert search_parts(columns.values()) == {"stored_fields": ["t"], "_source": True}
    assert "the values of 't' are left out of _source: they are moved" in noted(one)


@pytest.mark.parametrize(
    ("settings", "mapping", "turned", "shortened"),
    [
        ({"index.mapping.exclude_source_vectors": "true"}, {}, True, True),
        ({"index.mapping.exclude_source_vectors": "false"}, {}, False, False),
        ({"index.mapping.source.mode": "SYNTHETIC"}, {}, True, False),
        ({}, {"_source": {"excludes": ["v"]}}, True, False),
        ({}, {}, False, False),
    ],
)
def test_digits_that_the_server_no_longer_holds_are_noted(
    settings: dict[str, str], mapping: dict[str, Any], turned: bool, shortened: bool
) -> None:
    fields = {"v": VECTOR, "s": {"type": "sparse_vector"}, "o": {"properties": {"w": VECTOR}}}
    notes = noted(found(fields, **mapping), settings)
    assert ("rounded in the last digit" in notes) == turned
    assert ("weights of the sparse vectors ['s'] as they were sent" in notes) == shortened
    plain = {"v": {**VECTOR, "similarity": "l2_norm"}, "w": {**VECTOR, "element_type": "byte"}}
    assert "as they were sent" not in noted(found(plain), settings)


def test_values_beside_source() -> None:
    def value(hit: dict[str, Any], **column: Any) -> Any:
        return fetched(Column(name="f", **column), {"fields": hit})

    text, vector = {"type": "VARCHAR"}, {"type": "FLOAT_VECTOR", "dim": 2}
    assert value({"f": ["a"]}, **text) == "a"
    assert value({"f": ["a", "b"]}, **text) == ["a", "b"]
    assert value({}, **text) is None
    # A vector by doc values and by script, one by the name of an alias, and none.
    assert value({"f": [[1.5, 2]]}, **vector) == [1.5, 2]
    assert value({"f": [1.5, 2]}, **vector) == [1.5, 2]
    assert value({"f": [None]}, **vector) is None
    assert value({}, **vector) is None


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        ({}, []),
        ({"excludes": ["o.x", "*.secret", "p"]}, ["o.secret", "o.x", "p.x"]),
        ({"excludes": ["p*"]}, ["p.x", "px"]),
        ({"excludes": ["*.x"]}, ["o.x", "p.x"]),
        ({"includes": ["o.x", "p"]}, ["k", "o.secret", "o.y", "px"]),
        ({"includes": ["o.*", "k"], "excludes": ["o.y"]}, ["o.y", "p.x", "px"]),
        ({"excludes": ["o"]}, ["o.secret", "o.x", "o.y"]),
        ({"excludes": ["c"]}, []),
    ],
)
def test_fields_that_source_does_not_keep(source: dict[str, Any], lost: list[str]) -> None:
    """As servers of 8.19 and OpenSearch 2.19 keep them; the constant stands in the mapping."""
    number = {"type": "long"}
    properties = {
        "o": {"properties": {"x": number, "y": number, "secret": number}},
        "p": {"properties": {"x": number}},
        "px": number,
        "k": number,
        "c": {"type": "constant_keyword", "value": "c"},
    }
    assert sorted(not_kept({"properties": properties, "_source": source})) == lost


def test_a_field_that_some_indices_keep_may_be_missing() -> None:
    one = found({"k": {"type": "long"}, "v": VECTOR}, {"k": {"type": "long"}, "v": VECTOR})
    one.mappings[1]["_source"] = {"excludes": ["k"]}
    measured = Measured(total=2, missing={"k": 0, "v": 0})
    columns, made, layout = described(one, measured)
    assert columns["k"].nullable
    assert not made.reasons
    one.mappings[0]["_source"] = {"excludes": ["k"]}
    columns, made, layout = described(one, measured)
    assert "k" not in columns
    assert "k" not in layout.known  # should it be there after all, it is no column's


def test_lost_vectors_come_from_the_index_or_are_refused() -> None:
    source = {"excludes": ["v", "o"]}
    for vector, part in (
        (VECTOR, "docvalue_fields"),
        ({**VECTOR, "element_type": "byte"}, "docvalue_fields"),
        ({"type": "knn_vector", "dimension": 3}, "script_fields"),
    ):
        one = found({"v": vector, "o": {"properties": {"w": vector}}}, _source=source)
        columns, made, _ = described(one)
        assert not made.reasons
        assert set(search_parts(columns.values())) - {"_source"} == {part}
        assert {name for name, column in columns.items() if column.fetched_by} == {"v", "o.w"}
    for kind in ("byte", "BYTE", "binary"):
        lost = {"type": "knn_vector", "dimension": 8, "data_type": kind}
        made = described(found({"v": lost}, _source=source))[1]
        assert "'v' are left out of _source" in made.reasons[0]


@pytest.mark.parametrize(
    ("mapping", "flat"),
    [
        ({"subobjects": False, "properties": {"a.b": {"type": "long"}}}, {""}),
        ({"subobjects": "false", "properties": {}}, {""}),
        ({"disable_objects": True, "properties": {"a.b": {"type": "long"}}}, {""}),
        ({"subobjects": "auto", "properties": {"a.b": {"type": "long"}}}, {""}),
        (
            {"properties": {"m": {"subobjects": False, "properties": {"t": {}, "t.x": {}}}}},
            {"m"},
        ),
        (
            {"properties": {"o": {"properties": {"m": {"type": "passthrough"}, "n": {}}}}},
            {"o.m"},
        ),
        (
            {"properties": {"n": {"type": "nested", "properties": {"m": {"subobjects": False}}}}},
            {"n.m"},
        ),
        ({"properties": {"o": {"properties": {"x": {"type": "long"}}}}}, set()),
    ],
)
def test_objects_without_subobjects(mapping: dict[str, Any], flat: set[str]) -> None:
    assert set(flat_objects(mapping)) == flat


@pytest.mark.parametrize(
    ("mapping", "settings", "is_open"),
    [
        ({"dynamic": "false"}, {}, True),
        ({"dynamic": "runtime"}, {}, True),
        ({"dynamic": "false_allow_templates"}, {}, True),
        ({"enabled": False}, {}, True),
        ({"runtime": {"r": {"type": "long"}}}, {}, True),
        ({}, {"index.mapping.total_fields.ignore_dynamic_beyond_limit": "true"}, True),
        ({"runtime": {"r": {"type": "long", **SCRIPT}}}, {}, False),
        ({"dynamic": "strict"}, {}, False),
        ({}, {}, False),
    ],
)
def test_documents_may_hold_what_the_mapping_does_not_list(
    mapping: dict[str, Any], settings: dict[str, str], is_open: bool
) -> None:
    one = found({"v": VECTOR}, **mapping).model_copy(update={"settings": (settings,)})
    # What a mapping says now need not be what it said when documents were indexed.
    assert described(one)[2].dynamic
    barred = {"mapping": {"i": {"dynamic_field": False}}}
    assert described(one, **barred)[2].dynamic == is_open
    for how in ("refuse", "leave_out"):
        assert not described(one, other_fields=how)[2].dynamic


def test_a_constant_is_never_missing_and_differs_by_index() -> None:
    constants = [{"c": {"type": "constant_keyword", "value": value}} for value in "AB"]
    one = found(*({**constant, "v": VECTOR} for constant in constants))
    columns, _, layout = described(one)
    assert not columns["c"].nullable
    assert layout.constants == {"i0": {"c": "A"}, "i1": {"c": "B"}}
    del one.mappings[1]["properties"]["c"]["value"]
    assert described(one)[0]["c"].nullable
