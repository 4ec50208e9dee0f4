"""Every field type of real servers, with the odd values that they take."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airlift.mapping_params import CollectionMapping
from localservers import LocalServerError
from tests.servers.search_place import (
    eight,
    make_index,
    planned,
    read_all,
    source_of,
    vector_field,
    vectors,
    write,
)

# Field: definition, and (value in the document, value in the row) pairs; "BAD …" for a bad row.
COMMON: dict[str, tuple[dict[str, Any], list[tuple[Any, Any]]]] = {
    "keyword": (
        {"type": "keyword"},
        [("a", "a"), (7, "7"), (1.5, "1.5"), (True, "true"), (["x"], "x"), ([], None), ("", "")],
    ),
    "text": ({"type": "text"}, [('ß 漢 " \\ \n', 'ß 漢 " \\ \n'), ([None], None)]),
    "byte": ({"type": "byte"}, [(-128, -128), ("127", 127), (3.0, 3), (2.5, "BAD whole number")]),
    "short": ({"type": "short"}, [(32767, 32767), ("-5", -5)]),
    "integer": ({"type": "integer"}, [(2**31 - 1, 2**31 - 1), ([4], 4), ("5.0", 5)]),
    "long": ({"type": "long"}, [(2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), ("12", 12)]),
    "half_float": ({"type": "half_float"}, [(0.1, 0.10000000149011612), ("2.5", 2.5)]),
    "float": ({"type": "float"}, [(3.4028234663852886e38, 3.4028234663852886e38), (0.5, 0.5)]),
    "double": ({"type": "double"}, [(0.1, 0.1), (1.7976931348623157e308, 1.7976931348623157e308)]),
    "scaled_float": ({"type": "scaled_float", "scaling_factor": 100}, [(9.99, 9.99), (3, 3.0)]),
    "boolean": ({"type": "boolean"}, [(True, True), ("false", False), ("", False)]),
    "date": (
        {"type": "date"},
        [
            ("2024-02-29T12:00:00.123Z", 1709208000123),
            ("2024-02-29", 1709164800000),
            (1709208000123, 1709208000123),
            ("2024-02-29T12:00:00+01:30", 1709202600000),
        ],
    ),
    "day": (
        {"type": "date", "format": "yyyy/MM/dd||epoch_second"},
        [("1969/12/31", -86400000), (1, 1000)],
    ),
    "odd_date": ({"type": "date", "format": "EEE, d MMM yyyy"}, [(None, None)]),
    "date_nanos": (
        {"type": "date_nanos"},
        [("2024-02-29T12:00:00.123456789Z", "2024-02-29T12:00:00.123456789Z")],
    ),
    "ip": ({"type": "ip"}, [("10.0.0.1", "10.0.0.1"), ("::1", "::1")]),
    "binary": ({"type": "binary"}, [("aGVsbG8=", "aGVsbG8=")]),
    "tags": ({"type": "keyword"}, [(["a", "b"], ["a", "b"]), ("c", ["c"]), (["d"], ["d"])]),
    "scores": ({"type": "float"}, [([0.5, 1], [0.5, 1.0]), (2, [2.0])]),
    "days": ({"type": "date"}, [(["1970-01-02", 5], [86400000, 5])]),
    "object": (
        {"properties": {"a": {"type": "integer"}, "b": {"properties": {"c": {"type": "text"}}}}},
        [
            ({"b": {"c": "x"}, "a": 1}, '{"a":1,"b":{"c":"x"}}'),
            ([{"a": 1}, {"a": 2}], '[{"a":1},{"a":2}]'),
        ],
    ),
    "nested": (
        {"type": "nested", "properties": {"q": {"type": "integer"}}},
        [([{"q": 1}, {"q": 2}], '[{"q":1},{"q":2}]')],
    ),
    "off": (
        {"type": "object", "enabled": False},
        [("anything", '"anything"'), ([1, {}], "[1,{}]")],
    ),
    "point": (
        {"type": "geo_point"},
        [({"lat": 1.5, "lon": 2}, '{"lat":1.5,"lon":2}'), ("1.5,2", '"1.5,2"')],
    ),
    "range": ({"type": "integer_range"}, [({"gte": 1, "lt": 5}, '{"gte":1,"lt":5}')]),
    "half_missing": ({"type": "integer", "null_value": 3}, [(None, None)]),
}


def ids_of(table: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    return [
        (f"{name}-{n}", name, given, wanted)
        for name, (_, pairs) in table.items()
        for n, (given, wanted) in enumerate(pairs)
    ]


@pytest.fixture(params=["elasticsearch_7", "elasticsearch_8", "elasticsearch_9", "opensearch"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def known_to(server: Any, table: dict[str, Any]) -> dict[str, Any]:
    """The part of the table that the server has: the zips lack modules."""
    there = dict(table)
    while there:
        try:
            make_index(
                server, "probe", {name: definition for name, (definition, _) in there.items()}
            )
        except LocalServerError as error:
            unknown = re.search(r"type \[\w+\] declared on field \[(\w+)\]", str(error))
            assert unknown, error
            del there[unknown[1]]
        else:
            server.request("DELETE", "/probe")
            break
    return there


def test_every_type_with_odd_values(server: Any, tmp_path: Any) -> None:
    table = known_to(server, COMMON)
    assert len(table) > 20
    fields = {name: definition for name, (definition, _) in table.items()}
    make_index(server, "types", fields | {"v": vector_field(server)})
    [vector] = vectors(1)
    rows = ids_of(table)
    write(server, "types", {key: {name: given, "v": vector} for key, name, given, _ in rows})
    source = source_of(server, tmp_path, ["types"], on_bad_row="set_aside")
    collection, chunks = planned(source)
    found, bad = read_all(source, chunks)
    for key, name, given, wanted in rows:
        if isinstance(wanted, str) and wanted.startswith("BAD"):
            assert wanted[4:] in bad.pop(key), key
        else:
            assert found[key][name] == wanted, (key, given)
    assert not bad
    types = {one.name: one for one in collection.collection_schema.fields}
    assert types["tags"].element_type == "VARCHAR"
    assert types["days"].element_type == "INT64"
    assert types["odd_date"].type == "VARCHAR"
    assert "the dates of 'odd_date' come as text" in collection.notes
    source.finish()


def test_dates_as_text_and_arrays_as_json(server: Any, tmp_path: Any) -> None:
    fields = {"when": {"type": "date"}, "tags": {"type": "keyword"}, "v": vector_field(server)}
    make_index(server, "texts", fields)
    [vector] = vectors(1)
    docs = {
        "1": {"when": "2024-01-01", "tags": ["a", None], "v": vector},
        "2": {"when": 5, "tags": "b", "v": vector},
    }
    write(server, "texts", docs)
    mapping = {"texts": CollectionMapping(fields=({"source": "tags", "type": "JSON"},))}
    source = source_of(server, tmp_path, ["texts"], dates="text", mapping=mapping)
    _, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert {key: (row["when"], row["tags"]) for key, row in rows.items()} == {
        "1": ("2024-01-01", '["a",null]'),
        "2": ("5", '"b"'),
    }
    source.finish()


@pytest.mark.parametrize("how", ["dynamic", "leave_out", "refuse"])
def test_fields_that_the_mapping_does_not_list(server: Any, tmp_path: Any, how: str) -> None:
    name = f"open-{how.replace('_', '-')}"
    make_index(server, name, {"v": vector_field(server)}, mappings={"dynamic": False})
    [vector] = vectors(1)
    docs = {
        "1": {"v": vector, "x": 1, "y": {"z": [1, 2]}, "none": None, "empty": []},
        "2": {"v": vector},
        "3": {"v": vector, "a.b": 12345678901234567890123},
    }
    write(server, name, docs)
    source = source_of(server, tmp_path, [name], other_fields=how, on_bad_row="set_aside")
    collection, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    schema = collection.collection_schema
    if how == "dynamic":
        assert schema.dynamic_field
        assert schema.fields[-1].name == "$meta"
        assert json.loads(rows["1"]["$meta"]) == {"x": 1, "y": {"z": [1, 2]}}
        assert "$meta" not in rows["2"]
        # As it is: whether it can be carried is decided where it is known whether it shall be.
        assert rows["3"]["$meta"] == '{"a.b":12345678901234567890123}' and not bad
    elif how == "refuse":
        assert set(rows) == {"2"}
        assert "field 'x': the mapping of the index does not list it" in bad["1"]
    else:
        assert set(rows) == {"1", "2", "3"}
        assert not schema.dynamic_field
        assert any("are left out, as other_fields asks" in note for note in collection.notes)
    source.finish()


def test_dotted_names_multi_fields_copies_and_aliases(server: Any, tmp_path: Any) -> None:
    named = {"properties": {"name": {"type": "keyword", "copy_to": "all"}}}
    fields = {
        "first": named,
        "all": {"type": "text"},
        "title": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
        "heading": {"type": "alias", "path": "title"},
        "v": vector_field(server),
    }
    make_index(server, "dotted", fields)
    [vector] = vectors(1)
    docs = {
        "1": {"first.name": "x", "title": "t", "v": vector},
        "2": {"first": {"name": "y"}, "title": "u", "v": vector},
    }
    write(server, "dotted", docs)
    source = source_of(server, tmp_path, ["dotted"])
    collection, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert [rows[key]["first"] for key in "12"] == ['{"name":"x"}', '{"name":"y"}']
    fields_there = {one.name: one for one in collection.collection_schema.fields}
    assert "heading" not in fields_there
    assert fields_there["all"].nullable  # it is in the index, and in no document
    assert not fields_there["title"].nullable
    assert any("'heading' is left out: an alias" in note for note in collection.notes)
    assert any("multi-fields of 'title'" in note for note in collection.notes)
    source.finish()


def test_vectors_of_bytes_and_bits_and_inside_objects(
    elasticsearch_8: Any, opensearch: Any, tmp_path: Any
) -> None:
    for place, server in enumerate((elasticsearch_8, opensearch)):
        is_elastic = eight(server)
        if is_elastic:
            fields = {
                "f": {"type": "dense_vector", "dims": 4, "similarity": "dot_product"},
                "b": {"type": "dense_vector", "dims": 4, "element_type": "byte"},
                "bits": {"type": "dense_vector", "dims": 16, "element_type": "bit"},
                "in": {
                    "properties": {
                        "v": {"type": "dense_vector", "dims": 2},
                        "m": {"type": "keyword"},
                    }
                },
            }
            settings: dict[str, Any] = {}
        else:
            # A k-NN index and methods need a native library, which the zip lacks: the node dies.
            fields = {
                "f": {"type": "knn_vector", "dimension": 4},
                "b": {"type": "knn_vector", "dimension": 4, "data_type": "byte"},
                "in": {
                    "properties": {
                        "v": {"type": "knn_vector", "dimension": 2},
                        "m": {"type": "keyword"},
                    }
                },
            }
            settings = {"index.knn": False}
        try:
            make_index(server, "kinds", fields, settings=settings)
        except LocalServerError as error:
            pytest.fail(str(error))
        doc: dict[str, Any] = {
            "f": [0.5, 0.5, 0.5, 0.5],
            "b": [-128, 127, 0, 5],
            "bits": [1, -1],
            "in": {"v": [1.5, 2], "m": "x"},
        }
        docs = {"1": doc}
        if not is_elastic:
            del doc["bits"]
        else:
            docs["2"] = {**doc, "b": "807f0005", "bits": "01ff"}
        write(server, "kinds", docs)
        source = source_of(server, tmp_path / str(place), ["kinds"])
        collection, chunks = planned(source)
        rows, bad = read_all(source, chunks)
        assert not bad
        for row in rows.values():
            assert row["f"] == doc["f"]
            assert row["b"] == doc["b"]
            assert row.get("bits", b"\x01\xff") == b"\x01\xff"
            assert row["in.v"] == [1.5, 2.0]
            assert row["in"] == '{"m":"x"}'
        found = {one.name: one for one in collection.collection_schema.fields}
        assert (found["f"].type, found["f"].dim) == ("FLOAT_VECTOR", 4)
        assert found["f"].metric_type == ("IP" if is_elastic else None)
        assert (found["b"].type, found["b"].dim) == ("INT8_VECTOR", 4)
        if is_elastic:
            assert (found["bits"].type, found["bits"].dim) == ("BINARY_VECTOR", 16)
            assert found["bits"].metric_type == "HAMMING"
        source.finish()


def test_sparse_vectors_by_number_and_by_word(elasticsearch_8: Any, tmp_path: Any) -> None:
    server = elasticsearch_8
    known = known_to(server, {"s": ({"type": "sparse_vector"}, [])})
    kind = {"type": "sparse_vector"} if known else {"type": "object", "enabled": False}
    fields = {"numbered": kind, "worded": kind, "v": vector_field(server)}
    make_index(server, "sparse", fields)
    [vector] = vectors(1)
    doc = {"numbered": {"7": 0.5, "3": 2}, "worded": {"hello": 0.5}, "v": vector}
    write(server, "sparse", {"1": doc})
    edits = () if known else ({"source": "numbered", "type": "SPARSE_FLOAT_VECTOR"},)
    mapping = {"sparse": CollectionMapping(fields=edits)}
    source = source_of(server, tmp_path, ["sparse"], mapping=mapping)
    _, chunks = planned(source)
    rows, bad = read_all(source, chunks)
    assert not bad
    assert rows["1"]["numbered"].hex() == "0300000000000040070000000000003f"
    assert rows["1"]["worded"] == '{"hello":0.5}'
    source.finish()
