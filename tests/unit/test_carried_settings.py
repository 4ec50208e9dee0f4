"""What belongs to a collection beside its rows: functions, indexes, defaults, shards, databases."""

from __future__ import annotations

from typing import Any

import pytest

from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.fitting import fit_collections
from airlift.mapping import MappedCollection, map_collections
from airlift.milvus.capabilities import capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, Field, Function, SourceCollection

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
TEXT = Field(
    name="text",
    type=DataType.VARCHAR,
    max_length=100,
    params={"enable_analyzer": "true", "mmap_enabled": True},
)
YEAR = Field(
    name="year",
    type=DataType.INT32,
    default=7,
    clustering_key=True,
    index={"index_type": "BITMAP", "params": {}},
)
WORDS = Field(
    name="words", type=DataType.SPARSE_FLOAT_VECTOR, is_function_output=True, metric_type="BM25"
)
BM25 = Function(name="bm25", type="BM25", inputs=("text",), outputs=("words",))


def mapped(
    mapping: dict[str, Any] | None = None, rows: int = 10, **changes: Any
) -> MappedCollection:
    fields = (KEY, VECTOR, TEXT, YEAR, WORDS)
    schema = CollectionSchema(name="songs", fields=fields, functions=(BM25,), **changes)
    params = MigrationParams(staging_url="/s", mapping={"songs": mapping or {}})
    source = SourceCollection(collection_schema=schema, rows=rows)
    return map_collections([source], params, "m1")[0]


def fitted(version: str, **mapping: Any) -> MappedCollection:
    can = capabilities_of(ServerVersion.parse(version))
    assert can
    return fit_collections([mapped(mapping)], {}, can, f"Milvus {version}")[0]


def test_what_a_function_makes_is_neither_read_nor_written():
    one = mapped()
    assert "words" not in one.fields and "words" not in one.types
    assert [field.name for field in one.target.written] == ["id", "vector", "text", "year"]
    assert [field.name for field in one.target.vectors] == ["vector", "words"]
    assert one.target.functions == (BM25,)


def test_a_function_follows_the_names_of_its_fields():
    fields = [{"source": "text", "target": "body"}, {"source": "words", "target": "terms"}]
    [function] = mapped({"fields": fields}).target.functions
    assert (function.inputs, function.outputs) == (("body",), ("terms",))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"exclude": ["text"]}, r"'bm25' needs the fields \['text'\], which mapping leaves out"),
        ({"fields": [{"source": "text", "target": "$meta.text"}]}, r"needs the fields \['text'\]"),
        ({"fields": [{"source": "words", "type": "JSON"}]}, "it can only be renamed"),
    ],
)
def test_a_function_without_its_fields_is_refused(mapping, said):
    with pytest.raises(Refused, match=said):
        mapped(mapping)


def test_a_function_goes_with_what_it_makes():
    one = mapped({"exclude": ["text", "words"]})
    assert one.target.functions == ()
    assert any("the function 'bm25' is left out" in note for note in one.notes)


def test_newer_targets_take_all_of_it():
    one = fitted("v2.6.4")
    assert one.target.fields == (KEY, VECTOR, TEXT, YEAR, WORDS) and not one.notes


def test_what_an_older_target_does_not_know_is_told():
    with pytest.raises(Refused, match=r"no BM25 functions; leave out .*exclude \['words'\]"):
        fitted("v2.3.5")
    one = fitted("v2.3.5", exclude=["words"])
    text, year = one.target.fields[2:4]
    assert text.params == {} and (year.default, year.index) == (None, None)
    assert not year.clustering_key
    told = "\n".join(one.notes)
    for what in ("['enable_analyzer', 'mmap_enabled']", "no clustering keys", "no BITMAP index"):
        assert what in told
    assert "no default values" in told


@pytest.mark.parametrize(
    ("rows", "shards", "expected"),
    [(10, 1, 1), (10, 4, 4), (10**8, 1, 1), (10**8 + 1, 1, 2), (10**10, 1, 16), (10**8, 20, 20)],
)
def test_a_shard_for_each_hundred_million_rows(rows, shards, expected):
    assert mapped(rows=rows, shards=shards).target.shards == expected
    assert mapped({"shards": 3}, rows=rows).target.shards == 3


@pytest.mark.parametrize(
    ("schema", "mapping", "params", "full_name"),
    [
        ({}, {}, {}, "songs"),
        ({"name": "north.songs", "database": "north"}, {}, {}, "north.songs"),
        ({"name": "north.songs", "database": "north"}, {}, {"target_database": "d"}, "d.songs"),
        ({}, {"database": "own"}, {"target_database": "d"}, "own.songs"),
        ({"name": "a.b", "database": "a"}, {"database": "x", "target": "y"}, {}, "x.y"),
    ],
)
def test_the_database_of_the_target(schema, mapping, params, full_name):
    own = CollectionSchema(**{"name": "songs", "fields": (KEY, VECTOR), **schema})
    given = MigrationParams(staging_url="/s", mapping={own.name: mapping}, **params)
    [one] = map_collections([SourceCollection(collection_schema=own, rows=1)], given, "m")
    assert one.full_name == full_name and one.target.database == ""
    assert one.target.name == full_name.rpartition(".")[2]
