"""What the target does not take is refused in `plan`, before a row is converted: on real servers.

A collection like the planned one is made and dropped again; the server's own answer counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import Refused
from airlift.milvus.database import MilvusDatabase
from airlift.schema import CollectionSchema, Field
from localservers import Milvus, MilvusLite
from tests.paths.arrow_source import ArrowSource, run_from
from tests.paths.place import Place, lite_place, local_place

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="v", type=DataType.FLOAT_VECTOR, dim=8, metric_type="L2")
BITS = Field(name="b", type=DataType.BINARY_VECTOR, dim=16, metric_type="HAMMING")


def source_of(*fields: Field, **more: Any) -> ArrowSource:
    """A collection of three rows."""
    schema = CollectionSchema(name="docs", fields=(KEY, *fields), **more)
    rows = [{"id": n} | {field.name: value_of(field, n) for field in fields} for n in range(3)]
    return ArrowSource(schema, [[pa.RecordBatch.from_pylist(rows, schema=schema.arrow)]])


def value_of(field: Field, n: int) -> Any:
    if field.type is DataType.BINARY_VECTOR:
        return bytes([n] * (field.dim // 8))
    return [float(n + 1)] * field.dim if field.is_vector else n


def scalars(count: int) -> list[Field]:
    return [Field(name=f"f{n}", type=DataType.INT8) for n in range(count)]


@pytest.fixture
def place(milvus: Milvus, tmp_path: Path) -> Iterator[Place]:
    with local_place(milvus, tmp_path) as place:
        place.defaults["write_mode"] = "insert"
        yield place


@pytest.fixture
def on_lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    with lite_place(milvus_lite, tmp_path / "none") as place:
        yield place


def hnsw(**params: Any) -> dict[str, Any]:
    return {"index_type": "HNSW", "params": params}


TOO_MUCH: list[tuple[ArrowSource, dict[str, Any], str]] = [
    (source_of(VECTOR, *scalars(79)), {}, "it has 81 fields, Milvus 2.3.5 takes at most 64"),
    (source_of(VECTOR, VECTOR.model_copy(update={"name": "w"})), {}, "2 vector fields ['v', 'w']"),
    (source_of(VECTOR.model_copy(update={"dim": 32_769})), {}, "32,769 dimensions"),
    (source_of(VECTOR, shards=17), {}, "17 shards, Milvus 2.3.5 takes at most 16"),
    (
        source_of(VECTOR, Field(name="RowID", type=DataType.INT32)),
        {},
        "field 'RowID': Milvus 2.3.5 keeps this name for itself",
    ),
    (source_of(VECTOR), {"index": {"index_type": "hnsw"}}, "did you mean HNSW?"),
    (source_of(VECTOR), {"index": hnsw(M=16)}, "it needs the param 'efConstruction'"),
    (source_of(VECTOR), {"index": {"index_type": "GPU_CAGRA"}}, "no index type 'GPU_CAGRA'"),
    (source_of(VECTOR), {"index": {"index_type": "IVF_RABITQ"}}, "no index type 'IVF_RABITQ'"),
    (
        source_of(VECTOR),
        {"index": {"index_type": "IVF_PQ", "params": {"nlist": 2, "m": 3}}},
        "m is 3, which does not divide the dimension 8",
    ),
    (
        source_of(BITS),
        {"index": hnsw(M=8, efConstruction=9)},
        "HNSW is not for BINARY_VECTOR fields",
    ),
]


@pytest.mark.parametrize(("source", "params", "said"), TOO_MUCH)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_it_does_not_take_is_refused_before_anything_is_read(
    place, source, params, said, dry_run
):
    source.calls.clear()
    before = set(place.client.list_collections())
    with pytest.raises(Refused) as refused:
        run_from(place, source, dry_run=dry_run, **params)
    assert any(said in reason for reason in refused.value.reasons), refused.value.reasons
    assert [call for call in source.calls if call.startswith("read")] == []
    assert set(place.client.list_collections()) == before
    assert not [path for path in place.staged() if "probe-" in path]


def test_what_the_server_alone_refuses(place):
    """An index on a scalar field, of a type that this version has for other fields."""
    held = Field(name="year", type=DataType.INT32, index={"index_type": "Trie", "params": {}})
    with_index = VECTOR.model_copy(update={"index": {"index_type": "FLAT", "params": {}}})
    source = source_of(with_index, held)
    with pytest.raises(Refused) as refused:
        run_from(place, source, index="source")
    [reason] = refused.value.reasons
    assert "the target refuses the index Trie on the field 'year'" in reason
    assert "expected=STL_SORT" in reason
    assert place.client.list_collections() == []


def test_a_server_that_takes_more_than_is_usual(place):
    """The tests' server is set to take 80 fields."""
    source = source_of(VECTOR, *scalars(78))
    with pytest.raises(Refused, match="at most 64; .*dry_run_probe true asks it itself"):
        run_from(place, source, dry_run=True)
    assert place.client.list_collections() == []
    planned = run_from(place, source, dry_run=True, dry_run_probe=True)
    assert planned["state"] == "planned" and place.client.list_collections() == []
    assert not [told for told in planned["assessment"]["untried"] if "dry_run_probe" in told]
    [done] = run_from(place, source)["collections"]
    [note] = [note for note in done["notes"] if "at most 64" in note]
    assert note.endswith("This server has taken it nevertheless")
    rows = place.client.query("docs", filter="id >= 0", output_fields=["*"])
    assert {row["id"] for row in rows} == {0, 1, 2}
    assert all(row[f"f{n}"] == row["id"] for row in rows for n in range(78))


def test_dry_run_probe_asks_the_server(place):
    with pytest.raises(Refused, match=r"at most 64; .*\(it said: .*limited to 80"):
        run_from(place, TOO_MUCH[0][0], dry_run=True, dry_run_probe=True)
    assert place.client.list_collections() == []


def test_an_index_is_built_on_the_fields_that_it_is_for(on_lite):
    """The definition is for dense vectors; the sparse ones get what the target has for them."""
    sparse = Field(name="s", type=DataType.SPARSE_FLOAT_VECTOR, metric_type="IP")
    source = source_of(VECTOR)
    schema = source.schema.model_copy(update={"fields": (*source.schema.fields, sparse)})
    rows = [
        {"id": n, "v": [float(n)] * 8, "s": bytes([n + 1, 0, 0, 0, 0, 0, 128, 63])}
        for n in range(3)
    ]
    source = ArrowSource(schema, [[pa.RecordBatch.from_pylist(rows, schema=schema.arrow)]])
    [done] = run_from(on_lite, source, index=hnsw(M=8, efConstruction=64), verify="full")[
        "collections"
    ]
    assert {
        on_lite.client.describe_index("docs", name)["index_type"]
        for name in on_lite.client.list_indexes("docs")
    } == {"HNSW", "SPARSE_INVERTED_INDEX"}
    assert any("HNSW is not for SPARSE_FLOAT_VECTOR fields" in note for note in done["notes"])


@pytest.mark.parametrize("where", ["on_lite", "place"])
def test_a_key_called_as_a_word_of_filters_gets_another_name(request, where):
    place = request.getfixturevalue(where)
    key = KEY.model_copy(update={"name": "not"})
    schema = CollectionSchema(name="docs", fields=(key, VECTOR))
    rows = [{"not": n, "v": value_of(VECTOR, n)} for n in range(3)]
    source = ArrowSource(schema, [[pa.RecordBatch.from_pylist(rows, schema=schema.arrow)]])
    with pytest.raises(Refused, match="primary key 'not'.*rename it with mapping"):
        run_from(place, source)
    assert place.client.list_collections() == []
    mapping = {"docs": {"fields": [{"source": "not", "target": "key"}]}}
    run_from(place, source, mapping=mapping, verify="full", migration_id="again")
    found = place.client.query("docs", filter="key >= 0", output_fields=["v"])
    assert {row["key"]: row["v"] for row in found} == {n: value_of(VECTOR, n) for n in range(3)}


@pytest.mark.parametrize("database", ["", "later"])
def test_equal_collections_are_tried_once(place, monkeypatch, database):
    """Also where the database is only made later: then in the connection's own."""
    made: list[str] = []
    create = MilvusDatabase.create

    def recorded(self: MilvusDatabase, schema: CollectionSchema, mark: str = "") -> None:
        made.append(schema.name)
        create(self, schema, mark)

    monkeypatch.setattr(MilvusDatabase, "create", recorded)
    run_from(place, source_of(VECTOR), target_database=database)
    run_from(place, source_of(VECTOR), target_database=database)  # goes on: nothing is to be made
    assert [name for name in made if name.startswith("airlift_probe_")] == made[:1]
    if database:
        with place.database("later") as later:
            assert later.list_collections() == ["docs"]
