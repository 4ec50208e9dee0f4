"""What `mapping` makes of rows, into real targets; every test reads the rows back."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.schema import CollectionSchema, Field
from tests.paths.arrow_source import ArrowSource, run_from
from tests.paths.place import Place
from tests.paths.truth import count

KEY = Field(name="key", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
CITY = Field(name="city", type=DataType.VARCHAR)
META = Field(name="$meta", type=DataType.JSON)
CITIES = ("Köln", "Oslo", "", "漢字")


def vector(n: int) -> list[float]:
    return np.random.default_rng(n).standard_normal(4).astype(np.float32).tolist()


def source_of(
    name: str, fields: tuple[Field, ...], rows: list[dict[str, Any]], **more: Any
) -> ArrowSource:
    """Rows in two chunks; keys and vectors are made where the rows have none."""
    schema = CollectionSchema(name=name, fields=(KEY, *fields, VECTOR), **more)
    if META in fields:
        schema = schema.model_copy(
            update={"fields": (KEY, *fields[:-1], VECTOR, META), "dynamic_field": True}
        )
    whole = [{"key": n, "vector": vector(n), **row} for n, row in enumerate(rows)]
    half = len(whole) // 2
    chunks = [
        [pa.RecordBatch.from_pylist(part, schema=schema.arrow)]
        for part in (whole[:half], whole[half:])
    ]
    return ArrowSource(schema, chunks)


def rows_of(place: Place, name: str, key: str = "key") -> dict[int, dict[str, Any]]:
    """All rows as pymilvus gives them, by primary key."""
    found = place.client.query(
        name,
        filter=f"{key} >= 0 or {key} < 0",
        output_fields=["*"],
        limit=16_000,
        consistency_level="Strong",
    )
    assert len(found) == count(place.client, name)
    return {row[key]: dict(row) for row in found}


def described(place: Place, name: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in place.client.describe_collection(name)["fields"]}


# --- the partition key ---------------------------------------------------------------------------


def test_upsert_into_a_partition_key_is_refused_where_rows_would_be_missed(place: Place) -> None:
    """Milvus 2.3.5 hashes another field, and a filter on the key finds nothing."""
    source = source_of("keyed", (CITY,), [{"city": "a"}, {"city": "b"}])
    mapping = {"keyed": {"fields": [{"source": "city", "partition_key": True}]}}
    with pytest.raises(Refused, match="upsert on .* puts rows into wrong partitions"):
        run_from(place, source, mapping=mapping, write_mode="upsert")
    assert not place.client.has_collection("keyed")


@pytest.mark.parametrize(
    ("target", "write_mode"),
    [("place", "bulk_insert"), ("place", "insert"), ("lite", "insert"), ("lite", "upsert")],
)
def test_rows_with_a_partition_key(
    request: pytest.FixtureRequest, target: str, write_mode: str
) -> None:
    either: Place = request.getfixturevalue(target)
    rows = [{"city": CITIES[n % 4]} for n in range(300)]
    mapping = {"keyed": {"fields": [{"source": "city", "partition_key": True}]}}
    report = run_from(
        either,
        source_of("keyed", (CITY,), rows),
        mapping=mapping,
        write_mode=write_mode,
        verify="full",
    )
    [collection] = report["collections"]
    assert collection["rows_counted"] == 300 and collection["verification"]["compared"] == 300
    assert described(either, "keyed")["city"]["is_partition_key"]
    found = rows_of(either, "keyed")
    assert {key: row["city"] for key, row in found.items()} == {
        n: row["city"] for n, row in enumerate(rows)
    }
    assert all(list(row["vector"]) == vector(key) for key, row in found.items())
    oslo = either.client.query("keyed", filter='city == "Oslo"', output_fields=["key"])
    assert {row["key"] for row in oslo} == set(range(1, 300, 4))


def test_appending_to_a_collection_with_a_partition_key(either: Place) -> None:
    number = Field(name="tenant", type=DataType.INT64)
    mapping = {"more": {"fields": [{"source": "tenant", "partition_key": True}]}}
    first = source_of("more", (number,), [{"tenant": n % 7} for n in range(40)])
    run_from(either, first, mapping=mapping, migration_id="first")
    second = source_of("more", (number,), [{"key": n, "tenant": n} for n in range(40, 90)])
    with pytest.raises(Refused, match=r"has the partition key \['tenant'\], to append needs \[\]"):
        run_from(either, second, migration_id="second", if_exists="append")
    run_from(either, second, mapping=mapping, migration_id="third", if_exists="append")
    found = {key: row["tenant"] for key, row in rows_of(either, "more").items()}
    assert found == {n: n % 7 if n < 40 else n for n in range(90)}


def test_a_row_without_its_partition_key_is_a_bad_row(either: Place) -> None:
    maybe = CITY.model_copy(update={"nullable": True})
    source = source_of("holes", (maybe,), [{"city": None if n == 5 else "a"} for n in range(20)])
    mapping = {"holes": {"fields": [{"source": "city", "partition_key": True}]}}
    with pytest.raises(AirliftError, match="primary key 5: field 'city': there is no value"):
        run_from(either, source, mapping=mapping)
    assert not either.client.has_collection("holes")
    report = run_from(either, source, mapping=mapping, migration_id="b", on_bad_row="set_aside")
    assert report["collections"][0]["rows_set_aside"] == 1
    assert set(rows_of(either, "holes")) == set(range(20)) - {5}


# --- fields of other origins ---------------------------------------------------------------------


def test_fields_are_filled_added_promoted_and_demoted(either: Place) -> None:
    year = Field(name="year", type=DataType.INT64, nullable=True)
    score = Field(name="score", type=DataType.DOUBLE)
    label = Field(name="label", type=DataType.VARCHAR, nullable=True)
    metas = ['{"colour":"rot","n":1}', '{"colour":"","deep":{"a":[1]}}', "{}", '{"colour":null}']
    rows = [
        {
            "year": None if n % 3 == 0 else 1900 + n,
            "score": n / 4,
            "label": None if n % 2 else f"l{n}",
            "$meta": metas[n % 4],
        }
        for n in range(40)
    ]
    fields = [
        {"source": "year", "type": "INT16", "default": -1},
        {"source": "score", "target": "$meta.points"},
        {"source": "label", "default": "none"},
        {"source": "$meta.colour", "type": "VARCHAR", "target": "hue", "default": "grey"},
        {"source": "$meta.n", "type": "INT8", "default": 0},
        {"target": "origin", "type": "VARCHAR", "value": "old cluster"},
        {"target": "weight", "type": "FLOAT", "value": 0.1},
        {"target": "checked", "type": "BOOL", "value": False},
    ]
    report = run_from(
        either,
        source_of("mixed", (year, score, label, META), rows),
        mapping={"mixed": {"fields": fields}},
        verify="full",
    )
    assert report["collections"][0]["verification"]["compared"] == 40
    found = rows_of(either, "mixed")
    for n, row in enumerate(rows):
        expected = {
            "year": -1 if n % 3 == 0 else 1900 + n,
            "points": n / 4,
            "label": "none" if n % 2 else f"l{n}",
            "hue": ("rot", "", "grey", "grey")[n % 4],
            "n": 1 if n % 4 == 0 else 0,
            "origin": "old cluster",
            "weight": float(np.float32(0.1)),
            "checked": False,
        }
        arrived = found[n]
        assert {name: arrived[name] for name in expected} == expected
        assert "colour" not in arrived and ("deep" in arrived) == (n % 4 == 1), row
    names = list(described(either, "mixed"))
    assert names == ["key", "year", "label", "vector", "hue", "n", "origin", "weight", "checked"]
    notes = " ".join(report["collections"][0]["notes"])
    if "has no default values" not in notes:
        row = {"key": 99, "vector": vector(99), "origin": "o", "weight": 1.0, "checked": True}
        either.client.insert("mixed", [row])
        later = rows_of(either, "mixed")[99]
        assert (later["year"], later["hue"], later["n"], later["label"]) == (-1, "grey", 0, "none")


def test_a_promoted_key_may_be_missing(either: Place) -> None:
    """Where the target has no nullable fields, it stays in the dynamic field under the new name."""
    rows = [{"$meta": '{"colour":"rot"}' if n % 2 else "{}"} for n in range(20)]
    edit = {"source": "$meta.colour", "target": "hue", "type": "VARCHAR", "nullable": True}
    source = source_of("maybe", (META,), rows)
    run_from(either, source, mapping={"maybe": {"fields": [edit]}}, verify="full")
    found = rows_of(either, "maybe")
    assert {n: row.get("hue") for n, row in found.items()} == {
        n: "rot" if n % 2 else None for n in range(20)
    }
    assert not any("colour" in row for row in found.values())


def test_new_keys_with_the_old_ones_beside_them(either: Place) -> None:
    rows = [{"city": f"c{n}"} for n in range(60)]
    mapping = {"renumbered": {"auto_id": True, "keep_key_as": "old_id"}}
    report = run_from(either, source_of("renumbered", (CITY,), rows), mapping=mapping)
    assert report["collections"][0]["rows_counted"] == 60
    found = rows_of(either, "renumbered")
    assert {row["old_id"]: row["city"] for row in found.values()} == {n: f"c{n}" for n in range(60)}
    assert all(list(row["vector"]) == vector(row["old_id"]) for row in found.values())


# --- values that don't fit -----------------------------------------------------------------------


def test_values_that_do_not_fit_are_set_aside_with_their_keys(either: Place) -> None:
    year = Field(name="year", type=DataType.INT64)
    number = Field(name="number", type=DataType.VARCHAR)
    rows = [{"year": n, "number": str(-n), "$meta": f'{{"age":{n}}}'} for n in range(40)]
    rows[3]["year"], rows[11]["number"], rows[30]["$meta"] = 128, "007", '{"age":"9"}'
    fields = [
        {"source": "year", "type": "INT8"},
        {"source": "number", "type": "INT64"},
        {"source": "$meta.age", "type": "INT32"},
        {"source": "key", "type": "VARCHAR"},
    ]
    source = source_of("tight", (year, number, META), rows)
    mapping = {"tight": {"fields": fields}}
    with pytest.raises(
        AirliftError,
        match=r"collection 'tight': 2 rows .*key 3: field 'year': the value 128 does not fit INT8",
    ):
        run_from(either, source, mapping=mapping)
    assert not either.client.has_collection("tight")
    report = run_from(
        either,
        source,
        mapping=mapping,
        on_bad_row="set_aside",
        migration_id=f"{either.migration_id}_aside",
        verify="full",
    )
    assert report["collections"][0]["rows_set_aside"] == 3
    found = either.client.query("tight", filter='key != ""', output_fields=["*"], limit=100)
    assert {row["key"]: (row["year"], row["number"], row["age"]) for row in found} == {
        str(n): (n, -n, n) for n in range(40) if n not in (3, 11, 30)
    }
    migration_id = f"{either.migration_id}_aside"
    files = [one for one in either.staged(migration_id) if "bad_rows/" in one]
    tables = [pq.read_table(f"{either.staging_url}/{migration_id}/{one}") for one in files]
    aside = {row["key"]: row for table in tables for row in table.to_pylist()}
    assert {key: row["reason"] for key, row in aside.items()} == {
        3: "field 'year': the value 128 does not fit INT8",
        11: "field 'number': the value '007' does not fit INT64",
        30: "field '$meta.age': the value '9' does not fit INT32",
    }
    assert aside[11]["number"] == "007" and aside[30]["$meta"] == '{"age":"9"}'


# --- the user's own function ---------------------------------------------------------------------


def louder(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What a user might write."""
    at = batch.schema.get_field_index("city")
    return batch.set_column(at, batch.schema.field(at), pc.utf8_upper(batch.column(at)))


def shorter(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What a user must not write."""
    return batch.slice(1)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both functions, as a distribution would declare them."""
    monkeypatch.setitem(
        __import__("sys").modules,
        "users_own",
        __import__("types").SimpleNamespace(louder=louder, shorter=shorter),
    )
    entries = EntryPoints(
        EntryPoint(name, f"users_own:{name}", "airlift.transforms")
        for name in ("louder", "shorter")
    )
    monkeypatch.setattr("airlift.user_transforms.entry_points", lambda group: entries)


def test_lists_longer_than_an_array_may_be_become_json(either: Place) -> None:
    """A collection that has a list of 5,000 items: as ARRAY a bad row, as JSON carried."""
    tags = Field(name="tags", type=DataType.ARRAY, element_type=DataType.INT16)
    rows = [{"tags": list(range(size))} for size in (0, 3, 5_000, 4_097, 4_096, 1)]
    refused = source_of("tagged", (tags,), rows)
    with pytest.raises(AirliftError, match=r"5,000 items, more than max_capacity \(4,096\)"):
        run_from(either, refused, migration_id="array")
    mapping = {"tagged": {"fields": [{"source": "tags", "type": "JSON"}]}}
    report = run_from(either, source_of("tagged", (tags,), rows), mapping=mapping, verify="full")
    [collection] = report["collections"]
    assert collection["rows_counted"] == 6 and not collection.get("bad_rows")
    found = rows_of(either, "tagged")
    assert {key: row["tags"] for key, row in found.items()} == {
        n: row["tags"] for n, row in enumerate(rows)
    }


@pytest.mark.usefixtures("installed")
def test_rows_go_through_the_users_own_function(either: Place) -> None:
    source = source_of("heard", (CITY,), [{"city": f"köln {n}"} for n in range(30)])
    mapping = {"heard": {"transform": "louder", "fields": [{"source": "city", "target": "town"}]}}
    run_from(either, source, mapping=mapping, verify="full")
    found = {key: row["town"] for key, row in rows_of(either, "heard").items()}
    assert found == {n: f"KÖLN {n}" for n in range(30)}
    with pytest.raises(AirliftError, match=r"'shorter' must keep the rows: 15 became 14"):
        run_from(
            either,
            source,
            mapping={"heard": {"transform": "shorter", "target": "b"}},
            migration_id="b",
        )
    assert not either.client.has_collection("b")
    with pytest.raises(Refused, match=r"no transform named 'x' .*\['louder', 'shorter'\]"):
        run_from(either, source, mapping={"heard": {"transform": "x"}}, migration_id="c")
