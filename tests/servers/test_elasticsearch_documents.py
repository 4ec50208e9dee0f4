"""Fields in every spelling, and values that stand elsewhere than in the document, on real servers.

What searches of the server itself answer (`fields`) is the truth that rows are compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from airlift.errors import Refused
from airlift.mapping_params import CollectionMapping
from airlift.schema import SourceCollection
from tests.servers.search_place import (
    make_index,
    planned,
    read_all,
    source_of,
    vector_field,
    vectors,
    write,
)

WHOLE = {"type": "long"}
VECTOR = [0.5, -1.0, 2.0, 0.25, 8.0, -0.125, 3.0, 1.5]


@pytest.fixture(params=["elasticsearch_7", "elasticsearch_8", "elasticsearch_9", "opensearch"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["elasticsearch_8", "elasticsearch_9"])
def newer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def moved(
    server: Any, tmp_path: Any, index: str, **params: Any
) -> tuple[SourceCollection, dict[str, dict[str, Any]], dict[str, str]]:
    """The collection, its rows by `_id`, and why others are bad."""
    source = source_of(server, tmp_path, [index], on_bad_row="set_aside", **params)
    collection, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    source.finish()
    return collection, rows, bad


def seen(server: Any, index: str) -> dict[str, dict[str, list[Any]]]:
    """Field -> its values, sorted, by document: as searches of the server see them."""
    found = server.request("POST", f"/{index}/_search", json={"size": 1000, "fields": ["*"]})
    return {
        hit["_id"]: {
            name: sorted(values)
            for name, values in (hit.get("fields") or {}).items()
            if name != "v"
        }
        for hit in found["hits"]["hits"]
    }


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Full names and single values of a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    elif value is not None:
        yield name, value


def arrived(collection: SourceCollection, row: dict[str, Any]) -> dict[str, list[Any]]:
    """As `seen`, from a row."""
    found: dict[str, list[Any]] = {}
    for field in collection.collection_schema.fields:
        value = row.get(field.name)
        if field.name in ("_id", "v") or value is None:
            continue
        value = json.loads(value) if field.type == "JSON" else value
        for name, leaf in leaves(value, "" if field.is_dynamic else field.name):
            found.setdefault(name, []).append(leaf)
    return {name: sorted(values) for name, values in found.items()}


FLAT = {"type": "object", "subobjects": False}
SPELLINGS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "a flat object": (
        {"m": {**FLAT, "properties": {"time": WHOLE, "time.max": WHOLE, "time.min": WHOLE}}},
        [
            {"m.time": 1, "m.time.max": 3, "m.time.min": 0},
            {"m.time.max": 3, "m.time": 1, "m": {"time.min": 0}},
            {"m": {"time": 1, "time.max": 3, "time.min": 0}},
            {"m": {"time": 1}, "m.time.max": 3},
            {"m": [{"time": 1}, {"time": 2}], "m.time": 3, "m.time.max": 4},
            {"m": None, "m.time": 1, "m.time.max": 2},
            {"m": {"time": {"max": 5}}, "m.time": 1, "m.time.min": 4},
        ],
    ),
    "a flat object in an object": (
        {
            "o": {
                "properties": {"p": WHOLE, "m": {**FLAT, "properties": {"t": WHOLE, "t.x": WHOLE}}}
            }
        },
        [
            {"o.m.t": 1, "o.m.t.x": 2, "o.p": 3},
            {"o": {"m.t": 1}, "o.m": {"t.x": 2}},
            {"o": {"m": {"t": 1}}, "o.m.t.x": 2, "o.m.t": 7},
        ],
    ),
    "objects": (
        {"a": {"properties": {"b": WHOLE, "c": {"properties": {"d": WHOLE, "e": WHOLE}}}}},
        [
            {"a.b": 1, "a": {"b": 2}},
            {"a": {"b": 2}, "a.b": 1},
            {"a.b": 1, "a": {"b": 1}},
            {"a": [{"b": 1}, {"b": 2}], "a.b": 3},
            {"a": [{"b": 1, "c": {"d": 4}}], "a.c.e": [5, 6]},
            {"a.b": [1, 2], "a": {"b": 3}},
            {"a.c.d": 1, "a.c": {"d": 2}, "a": {"c.d": 3}},
            {"a.c": {"d": 1}, "a.c.e": 2, "a.b": None},
            {"a": [], "a.b": 1},
            {"a": None, "a.b": 1},
            {"a": [[{"b": 7}]], "a.b": 8},
        ],
    ),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_no_spelling_overwrites_another(newer: Any, tmp_path: Any, kind: str) -> None:
    fields, documents = SPELLINGS[kind]
    make_index(
        newer, "spelled", fields | {"v": vector_field(newer)}, mappings={"dynamic": "strict"}
    )
    write(newer, "spelled", {str(n): {**one, "v": VECTOR} for n, one in enumerate(documents)})
    collection, rows, bad = moved(newer, tmp_path, "spelled")
    assert not bad
    truth = seen(newer, "spelled")
    assert len(truth) == len(documents)
    assert {key: arrived(collection, row) for key, row in rows.items()} == truth


ROOT = [
    {"m.time": 1, "m.time.max": 2},
    {"m": {"time": 1, "time.max": 2}},
    {"m": {"time": 1}, "m.time.max": 2},
    {"m": {"time": {"max": 3}}},
    {"m": [{"time": 1}, {"time": {"max": 2}}]},
    {"m.time": 1, "m": {"time": {"max": 7}}},
    {"m": {"time": 1}, "m.time": {"max": 7}},
    {"m": None, "m.time": 3},
    {"flags": {"a": "x", "b": {"c": "y"}}},
    {"flags.a": "x"},
]


def test_objects_are_found_where_the_document_itself_is_flat(newer: Any, tmp_path: Any) -> None:
    fields = {
        "m.time": WHOLE,
        "m.time.max": WHOLE,
        "flags.a": {"type": "keyword"},
        "flags.b": {"type": "flattened"},
        "e.v": vector_field(newer),
    }
    make_index(newer, "flat", fields, mappings={"subobjects": False, "dynamic": False})
    documents = {
        str(n): one | ({"e": {"v": VECTOR}} if n % 2 else {"e.v": VECTOR})
        for n, one in enumerate(ROOT)
    }
    others = {"u": {"v": {"w": 1}}, "u.v": 2, "m": {"time.zero": 0}, "e.v": VECTOR}
    twice = {"m.time": 1, "m": {"time": 5}, "e.v": VECTOR}
    write(newer, "flat", documents | {"others": others, "twice": twice})
    collection, rows, bad = moved(newer, tmp_path, "flat")
    assert not bad
    assert rows["twice"]["m.time"] == [1, 5]
    assert {row["e.v"] == VECTOR for row in rows.values()} == {True}
    assert json.loads(rows.pop("others")["$meta"]) == {
        "u": {"v": {"w": 1}},
        "u.v": 2,
        "m.time.zero": 0,
    }
    truth = seen(newer, "flat")
    for key, row in rows.items():
        wanted = {name: values for name, values in truth[key].items() if name != "e.v"}
        # The server answers for flattened fields with objects.
        if "flags.b" in wanted:
            wanted |= {"flags.b.c": ["y"]}
            del wanted["flags.b"]
        found = arrived(collection, row)
        del found["e.v"]
        assert found == wanted, key
    types = {field.name: field.type for field in collection.collection_schema.fields}
    assert (types["m.time"], types["flags.a"], types["e.v"]) == (
        "ARRAY",
        "VARCHAR",
        "FLOAT_VECTOR",
    )


def test_vectors_in_objects_are_found_in_every_spelling(server: Any, tmp_path: Any) -> None:
    inner = {
        "properties": {"m": {"type": "keyword"}, "x": {"properties": {"v": vector_field(server)}}}
    }
    make_index(server, "inner", {"in": inner})
    documents = {
        "objects": {"in": {"m": "k", "x": {"v": VECTOR}}},
        "dotted": {"in.x.v": VECTOR, "in.m": "k"},
        "dotted inside": {"in": {"x.v": VECTOR, "m": "k"}},
        "dotted outside": {"in.x": {"v": VECTOR}, "in": {"m": "k"}},
        "in a list": {"in": [{"m": "k"}, {"x": {"v": VECTOR}}]},
    }
    write(server, "inner", documents)
    _, rows, bad = moved(server, tmp_path, "inner")
    assert not bad
    assert {key: row["in.x.v"] for key, row in rows.items()} == dict.fromkeys(documents, VECTOR)
    for row in rows.values():
        assert [*leaves(json.loads(row["in"]), "in")] == [("in.m", "k")]


def test_fields_beside_a_named_one_in_an_unlisted_object(server: Any, tmp_path: Any) -> None:
    """A column that mapping makes of a part of an object takes that part only."""
    make_index(server, "beside", {"v": vector_field(server)}, mappings={"dynamic": False})
    documents = {
        "1": {"in": {"k": "a", "z": 1}, "v": VECTOR},
        "2": {"in.k": "b", "in": {"z": {"k": 2}}, "v": VECTOR},
        "3": {"in": [{"k": "c"}], "v": VECTOR},
    }
    write(server, "beside", documents)
    mapping = {"beside": CollectionMapping(fields=({"source": "in.k", "type": "VARCHAR"},))}
    _, rows, bad = moved(server, tmp_path, "beside", mapping=mapping)
    assert not bad
    assert {
        key: (row["in.k"], json.loads(row.get("$meta", "{}"))) for key, row in rows.items()
    } == {
        "1": ("a", {"in": {"z": 1}}),
        "2": ("b", {"in": {"z": {"k": 2}}}),
        "3": ("c", {}),
    }


def test_constants_stand_in_the_mapping(opensearch: Any, tmp_path: Any) -> None:
    constant = {"type": "constant_keyword"}
    for name, value in (("of-a", "A"), ("of-b", "B")):
        fields = {
            "kind": {**constant, "value": value},
            "stream": {"properties": {"set": {**constant, "value": value}, "n": WHOLE}},
            "v": vector_field(opensearch),
        }
        make_index(opensearch, name, fields)
    write(opensearch, "of-a", {"1": {"v": VECTOR}, "2": {"v": VECTOR, "stream": {"n": 2}}})
    write(opensearch, "of-b", {"3": {"v": VECTOR, "kind": "B", "stream.set": "B", "stream.n": 4}})
    source = source_of(opensearch, tmp_path, ["of-*"], into_collection="all")
    collection, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert {key: (row["kind"], json.loads(row["stream"])) for key, row in rows.items()} == {
        "1": ("A", {"set": "A"}),
        "2": ("A", {"set": "A", "n": 2}),
        "3": ("B", {"set": "B", "n": 4}),
    }
    assert not {one.name: one for one in collection.collection_schema.fields}["kind"].nullable
    source.finish()


def test_what_the_index_changes_or_ignores_is_noted(server: Any, tmp_path: Any) -> None:
    fields = {
        "n": {"type": "integer", "null_value": 3},
        "odd": {"type": "integer", "ignore_malformed": True},
        "o": {"properties": {"day": {"type": "date", "ignore_malformed": True}}},
        "short": {"type": "keyword", "ignore_above": 3},
        "all": {"type": "text"},
        "name": {"type": "keyword", "copy_to": ["all", "o.names"]},
        "v": vector_field(server),
    }
    fields["o"]["properties"]["names"] = {"type": "keyword"}
    make_index(server, "odds", fields)
    documents = {
        "null": {"n": None, "name": "x"},
        "long": {"n": 1, "short": "longer"},
        "malformed": {"odd": "abc"},
        "inside": {"o": {"day": "nope"}},
        "own": {"all": "its own"},
    }
    write(server, "odds", {key: {**one, "v": VECTOR} for key, one in documents.items()})
    write(server, "odds", {"routed": {"v": VECTOR}}, routing="there")
    collection, rows, bad = moved(server, tmp_path, "odds")
    assert bad == {"malformed": "field 'odd': expected a whole number, found \"abc\""}
    assert rows["null"]["n"] is None
    assert rows["long"]["short"] == "longer"
    assert rows["inside"]["o"] == '{"day":"nope"}'
    assert {key: row["all"] for key, row in rows.items() if row["all"]} == {"own": "its own"}
    for words in (
        "null_value ('n' by 3)",
        " of 6 documents have values that the index ignores",
        # Not every server counts what is too long.
        "(in 'o.day', 'odd'",
        "copies into 'all' from 'name' is in no document",
        "copies into 'o.names' from 'name' is in no document",
        "1 of 6 documents have a _routing",
    ):
        assert any(words in note for note in collection.notes), (words, collection.notes)


def test_other_names_and_forms_come_when_mapping_names_them(server: Any, tmp_path: Any) -> None:
    fields = {
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "heading": {"type": "alias", "path": "title"},
        "o": {
            "properties": {"when": {"type": "date"}, "seen": {"type": "alias", "path": "o.when"}}
        },
        "v": vector_field(server),
    }
    make_index(server, "names", fields)
    documents = {
        "1": {"title": "t", "o": {"when": "1970-01-01T00:00:01Z"}, "v": VECTOR},
        "2": {"title": ["u", "w"], "v": VECTOR},
    }
    write(server, "names", documents)
    collection, rows, bad = moved(server, tmp_path / "a", "names")
    assert "o.seen" not in rows["1"]
    for words in (
        "'heading' is left out: an alias of 'title'",
        "'o.seen' is left out: an alias of 'o.when'",
        "multi-fields of 'title'",
    ):
        assert any(words in note for note in collection.notes), words
    edits = ({"source": "heading"}, {"source": "title.raw"}, {"source": "o.seen"})
    arrays = tuple(
        one | {"type": "ARRAY", "element_type": "VARCHAR"} if n < 2 else one
        for n, one in enumerate(edits)
    )
    mapping = {"names": CollectionMapping(fields=(*arrays, {"source": "title", "type": "JSON"}))}
    collection, rows, bad = moved(server, tmp_path / "b", "names", mapping=mapping)
    assert not bad
    assert {
        key: (row["heading"], row["title.raw"], row["o.seen"]) for key, row in rows.items()
    } == {
        "1": (["t"], ["t"], 1000),
        "2": (["u", "w"], ["u", "w"], None),
    }
    assert not any("left out" in note for note in collection.notes)


def test_runtime_fields_without_a_script_stand_in_documents(newer: Any, tmp_path: Any) -> None:
    mappings = {"runtime": {"r": {"type": "long"}, "title": {"type": "keyword"}}}
    fields = {"title": {"type": "text"}, "v": vector_field(newer)}
    make_index(newer, "running", fields, mappings=mappings)
    write(newer, "running", {str(n): {"title": f"t{n}", "v": VECTOR} for n in range(1200)})
    write(newer, "running", {"600": {"title": "t600", "r": "12", "v": VECTOR}})
    write(newer, "running", {f"z{n}": {"title": f"t{n}", "v": VECTOR} for n in range(600)})
    collection, rows, bad = moved(newer, tmp_path, "running")
    assert not bad
    assert (rows["600"]["$meta"], rows["600"]["title"]) == ('{"r":"12"}', "t600")
    assert any("'r', 'title' have no script" in note for note in collection.notes)
    assert any("in place of the documents' own fields 'title'" in note for note in collection.notes)


def test_sparse_weights_that_the_server_shortens_are_noted(newer: Any, tmp_path: Any) -> None:
    fields = {"s": {"type": "sparse_vector"}, "v": vector_field(newer)}
    make_index(newer, "weights", fields)
    write(newer, "weights", {"1": {"s": {"7": 0.123456}, "v": VECTOR}})
    collection, rows, _ = moved(newer, tmp_path, "weights")
    [weight] = np.frombuffer(rows["1"]["s"], np.float32)[1:]
    is_whole = weight == np.float32(0.123456)
    assert is_whole or abs(weight - 0.123456) < 0.0005
    shortened = any("weights of the sparse vectors ['s']" in note for note in collection.notes)
    assert shortened == (not is_whole)


def test_computed_fields_of_opensearch(opensearch: Any, tmp_path: Any) -> None:
    script = {"source": "emit('x' + doc['k'].value)"}
    fields = {"k": {"type": "keyword"}, "v": vector_field(opensearch)}
    derived = {"made": {"type": "keyword", "script": script}}
    make_index(opensearch, "derived", fields, mappings={"derived": derived})
    write(opensearch, "derived", {key: {"k": key, "v": VECTOR} for key in "ab"})
    collection, rows, _ = moved(opensearch, tmp_path / "a", "derived")
    assert "made" not in rows["a"]
    assert any("'made' are computed by each search" in note for note in collection.notes)
    mapping = {"derived": CollectionMapping(fields=({"source": "made", "type": "VARCHAR"},))}
    collection, rows, _ = moved(opensearch, tmp_path / "b", "derived", mapping=mapping)
    assert {key: row["made"] for key, row in rows.items()} == {"a": "xa", "b": "xb"}
    assert not any("'made'" in note for note in collection.notes)


@pytest.mark.parametrize("name", ["elasticsearch_8", "elasticsearch_9", "opensearch"])
def test_vectors_that_source_leaves_out(
    request: pytest.FixtureRequest, tmp_path: Any, name: str
) -> None:
    server = request.getfixturevalue(name)
    fields = {
        "k": {"type": "keyword"},
        "gone": {"type": "keyword"},
        "gone too": {"type": "text", "store": True},
        "in": {"properties": {"w": vector_field(server), "s": {"type": "keyword"}}},
        "v": vector_field(server),
    }
    mappings = {"_source": {"excludes": ["v", "in.*", "go*"]}}
    make_index(server, "cut", fields, mappings=mappings)
    given = vectors(3, seed=5)
    documents = {
        str(n): {
            "k": "a",
            "gone": "g",
            "gone too": ["y", "x", "y"],
            "v": vector,
            "in": {"w": vector, "s": "x"},
        }
        for n, vector in enumerate(given)
    }
    write(server, "cut", documents | {"none": {"k": "b"}})
    collection, rows, bad = moved(server, tmp_path / "a", "cut", on_missing_vector="set_aside")
    wanted = np.array(given, np.float32).tolist()
    assert [(rows[key]["v"], rows[key]["in.w"]) for key in "012"] == [(v, v) for v in wanted]
    assert list(bad) == ["none"]
    assert "gone" not in rows["0"]
    assert rows["0"]["gone too"] == ["y", "x", "y"]
    for words in (
        "of the fields that its mapping lists: 'gone', 'gone too', 'in.s', 'in.w', 'v'",
        "the vectors 'in.w' are left out of _source",
    ):
        assert any(words in note for note in collection.notes), (words, collection.notes)
    asked = {"cut": CollectionMapping(fields=({"source": "gone", "type": "VARCHAR"},))}
    _, rows, _ = moved(server, tmp_path / "b", "cut", mapping=asked, on_missing_vector="set_aside")
    assert {row["gone"] for row in rows.values()} == {"g"}


def test_vectors_that_nobody_gives_back_are_refused(opensearch: Any, tmp_path: Any) -> None:
    fields = {"t": {"type": "text"}, "v": vector_field(opensearch)}
    make_index(opensearch, "lost", fields, mappings={"_source": {"excludes": ["t"]}})
    write(opensearch, "lost", {"1": {"t": "x", "v": VECTOR}})
    mapping = {"lost": CollectionMapping(fields=({"source": "t", "type": "VARCHAR"},))}
    source = source_of(opensearch, tmp_path, ["lost"], mapping=mapping)
    with pytest.raises(Refused, match="the values of 't' are not in _source"):
        source.describe()
    source.finish()


@pytest.mark.parametrize("where", ["mapping", "setting", "enabled"])
def test_an_index_without_source_is_refused(
    elasticsearch_8: Any, tmp_path: Any, where: str
) -> None:
    mappings: dict[str, Any] = {"_source": {"mode": "disabled"}} if where == "mapping" else {}
    if where == "enabled":
        mappings = {"_source": {"enabled": False}}
    settings = {"index.mapping.source.mode": "disabled"} if where == "setting" else {}
    fields = {"v": vector_field(elasticsearch_8)}
    make_index(elasticsearch_8, "sourceless", fields, mappings=mappings, settings=settings)
    source = source_of(elasticsearch_8, tmp_path, ["sourceless"], on_missing_vector="null")
    with pytest.raises(Refused, match="index 'sourceless' keeps no _source"):
        source.describe()
    source.finish()


@pytest.mark.parametrize("where", ["mapping", "setting", "logsdb"])
def test_a_synthetic_source_is_noted(elasticsearch_8: Any, tmp_path: Any, where: str) -> None:
    mappings = {"_source": {"mode": "synthetic"}} if where == "mapping" else {}
    settings = {"setting": {"index.mapping.source.mode": "synthetic"}}.get(where, {})
    if where == "logsdb":
        settings = {"index.mode": "logsdb"}
    fields = {
        "@timestamp": {"type": "date"},
        "tags": {"type": "keyword"},
        "n": {"type": "keyword", "null_value": "none"},
        "v": vector_field(elasticsearch_8),
    }
    make_index(elasticsearch_8, "synthetic", fields, mappings=mappings, settings=settings)
    document = {"@timestamp": 5, "tags": ["b", "a", "b"], "n": None, "v": VECTOR}
    server = elasticsearch_8
    # Data streams and their modes take new documents only.
    write(server, "synthetic", {"1": document}, op="create")
    collection, rows, bad = moved(server, tmp_path, "synthetic")
    assert not bad
    [row] = rows.values()
    assert row["tags"] == (["b", "a", "b"] if where == "logsdb" else ["a", "b"])
    assert row["@timestamp"] == 5
    assert any("has a synthetic _source" in note for note in collection.notes)
    assert not any("by its null_value" in note for note in collection.notes)
