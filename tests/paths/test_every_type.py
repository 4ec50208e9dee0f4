"""Rows of every type into real targets, whatever source they come from.

Every test reads the rows back from the target by pymilvus' own client and compares them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.schema import CollectionSchema, Field
from airlift.sources.base import BadRows
from airlift.sparse_vectors import to_bytes
from tests.paths.arrow_source import ArrowSource, migration_of, run_from
from tests.paths.place import Place
from tests.paths.truth import count

KEY = Field(name="key", type=DataType.VARCHAR, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
ODD_KEYS = [
    "plain",
    "",
    " ",
    'quote"quote',
    "it's",
    "back\\slash",
    "\\",
    "\\n no newline",
    "new\nline",
    "tab\tand\rreturn",
    "bell\b\f\v\a",
    "漢字 ß 😀",
    'x","cat":"EVIL',
    "percent%_like",
    "a" * 500,
    "{}",
    "null",
]


def batch(schema: CollectionSchema, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=schema.arrow)


def vector(n: int) -> list[float]:
    return np.random.default_rng(n).standard_normal(4).astype(np.float32).tolist()


def rows_of(place: Place, name: str, key: str = "key") -> dict[Any, dict[str, Any]]:
    """All rows as pymilvus gives them, by primary key."""
    found = place.client.query(
        name,
        filter=f'{key} != "never"',
        output_fields=["*"],
        limit=16_000,
        consistency_level="Strong",
    )
    assert len(found) == count(place.client, name)
    return {row[key]: dict(row) for row in found}


SCALARS: dict[str, tuple[Field, list[Any]]] = {
    "bool": (Field(name="bool", type=DataType.BOOL), [True, False]),
    "int8": (Field(name="int8", type=DataType.INT8), [-128, 127]),
    "int16": (Field(name="int16", type=DataType.INT16), [-(2**15), 2**15 - 1]),
    "int32": (Field(name="int32", type=DataType.INT32), [-(2**31), 2**31 - 1]),
    "int64": (Field(name="int64", type=DataType.INT64), [-(2**63), 2**63 - 1, 2**53 + 1]),
    "float": (
        Field(name="float", type=DataType.FLOAT),
        [0.10000000149011612, -0.0, 3.0000000054977558e38],
    ),
    "double": (Field(name="double", type=DataType.DOUBLE), [0.1, 1e-300, -1.5e308]),
    "text": (
        Field(name="text", type=DataType.VARCHAR),
        ["", 'a"b\\c\nd', "漢字😀", "x" * 3000],
    ),
    "json": (
        Field(name="json", type=DataType.JSON),
        ['{"a":[1,null,{"b":"\\n\\""}],"n":9007199254740993}', "{}", '{"f":0.1,"漢":-1e-7}'],
    ),
    "ints": (
        Field(name="ints", type=DataType.ARRAY, element_type=DataType.INT64),
        [[1, -(2**62)], [], [7] * 40],
    ),
    "texts": (
        Field(name="texts", type=DataType.ARRAY, element_type=DataType.VARCHAR),
        [["a", 'b"c'], ["漢" * 200], []],
    ),
    "flags": (
        Field(name="flags", type=DataType.ARRAY, element_type=DataType.BOOL),
        [[True], [False, True]],
    ),
    "floats": (
        Field(name="floats", type=DataType.ARRAY, element_type=DataType.FLOAT),
        [[0.5, -1.25], [0.10000000149011612]],
    ),
}


def expected_value(name: str, value: Any) -> Any:
    return orjson.loads(value) if name == "json" and value is not None else value


def test_every_scalar_type_and_odd_keys_arrive_as_they_are(either):
    fields = (KEY, *(field for field, _ in SCALARS.values()), VECTOR)
    schema = CollectionSchema(name="every", fields=fields)
    rows = [
        {
            "key": key,
            "vector": vector(n),
            **{name: values[n % len(values)] for name, (_, values) in SCALARS.items()},
        }
        for n, key in enumerate(ODD_KEYS)
    ]
    halves = [[batch(schema, rows[:7])], [batch(schema, rows[7:])]]
    report = run_from(either, ArrowSource(schema, halves), verify="full")
    [collection] = report["collections"]
    assert collection["rows_counted"] == len(rows)
    assert collection["verification"]["compared"] == len(rows)
    found = rows_of(either, "every")
    for row in rows:
        arrived = found[row["key"]]
        for name in ("vector", *SCALARS):
            assert _plain(arrived[name]) == expected_value(name, row[name]), (row["key"], name)
    described = {one["name"]: one for one in either.client.describe_collection("every")["fields"]}
    assert int(described["key"]["params"]["max_length"]) == 1024
    assert int(described["text"]["params"]["max_length"]) == 8192
    assert int(described["ints"]["params"]["max_capacity"]) == 128
    # Milvus Lite does not tell the length of an array's items.
    assert int(described["texts"]["params"].get("max_length", 2048)) == 2048


def _plain(value: Any) -> Any:
    """Lists instead of protobuf's or numpy's own sequences; JSON as values."""
    if isinstance(value, bytes | str) or not hasattr(value, "__iter__") or isinstance(value, dict):
        return value
    return list(value)


def test_missing_values_arrive_as_nulls_or_as_missing_keys(either):
    nullable = [field.model_copy(update={"nullable": True}) for field, _ in SCALARS.values()]
    meta = Field(name="$meta", type=DataType.JSON)
    schema = CollectionSchema(
        name="gaps", fields=(KEY, *nullable, VECTOR, meta), dynamic_field=True
    )
    rows = []
    for n, key in enumerate(ODD_KEYS):
        values = {
            name: None if (n + place) % 3 == 0 else values[n % len(values)]
            for place, (name, (_, values)) in enumerate(SCALARS.items())
        }
        extra = {"n": n, "odd": key, "deep": {"a": [n, None]}} if n % 2 else {}
        rows.append({"key": key, "vector": vector(n), "$meta": extra, **values})
    given = [{**row, "$meta": orjson.dumps(row["$meta"]).decode()} for row in rows]
    report = run_from(either, ArrowSource(schema, [[batch(schema, given)]]), verify="full")
    assert report["collections"][0]["verification"]["compared"] == len(rows)
    found = rows_of(either, "gaps")
    for row in rows:
        arrived = found[row["key"]]
        for name in SCALARS:
            assert _plain(arrived.get(name)) == expected_value(name, row[name]), (row["key"], name)
        for name, value in row["$meta"].items():
            assert arrived[name] == value
        assert not ({"n", "odd", "deep"} - set(row["$meta"])) & set(arrived)
    # Filters find them by their names, wherever they are.
    name = "gaps"
    big = [row["key"] for row in rows if row["int64"] == 2**63 - 1]
    hits = either.client.query(name, filter=f"int64 == {2**63 - 1}", output_fields=["key"])
    assert sorted(hit["key"] for hit in hits) == sorted(big) and big


def test_sparse_vectors_into_milvus_lite(lite):
    sparse = Field(name="sparse", type=DataType.SPARSE_FLOAT_VECTOR, metric_type="IP")
    key = Field(name="key", type=DataType.INT64, primary_key=True)
    schema = CollectionSchema(name="sparse", fields=(key, sparse, VECTOR))
    random = np.random.default_rng(5)
    rows = [
        {
            "key": n,
            "sparse": to_bytes(
                {
                    int(at): float(np.float32(random.random() + 0.1))
                    for at in random.integers(0, 1 << 31, 5)
                }
            ),
            "vector": vector(n),
        }
        for n in range(100)
    ]
    report = run_from(
        lite, ArrowSource(schema, [[batch(schema, rows)]]), verify="full", index="autoindex"
    )
    verified = report["collections"][0]["verification"]
    assert verified["compared"] == 100 and verified["found_first"] == verified["searched"] == 40
    found = lite.client.query("sparse", filter="key >= 0", output_fields=["*"], limit=200)
    assert len(found) == 100
    for row in found:
        expected = rows[row["key"]]
        assert to_bytes(row["sparse"]) == expected["sparse"]
        assert list(row["vector"]) == expected["vector"]


def test_rows_without_a_vector_are_refused_where_they_would_become_zeros(either):
    """Milvus Lite takes them, and gives zeros back."""
    maybe = VECTOR.model_copy(update={"nullable": True})
    schema = CollectionSchema(name="maybe", fields=(KEY, maybe))
    rows = batch(schema, [{"key": "a", "vector": None}, {"key": "b", "vector": vector(1)}])
    with pytest.raises(Refused, match="'vector': .* has no vector fields without a value"):
        run_from(either, ArrowSource(schema, [[rows]]))
    assert not either.client.has_collection("maybe")


def test_texts_so_long_that_a_page_of_many_is_too_much_for_the_server(place):
    """180 MB in 3,000 rows: Milvus 2.3.5 sends at most 100 MB at once."""
    text = Field(name="text", type=DataType.VARCHAR)
    schema = CollectionSchema(name="long", fields=(KEY, text, VECTOR))
    batches = [
        batch(
            schema,
            [
                {"key": f"k{n:05d}", "text": chr(97 + n % 26) * 60_000, "vector": vector(n)}
                for n in range(start, start + 60)
            ],
        )
        for start in range(0, 3000, 60)
    ]
    report = run_from(place, ArrowSource(schema, [batches]), verify="full")
    verified = report["collections"][0]["verification"]
    assert verified["compared"] == 3000 and verified["sampled"] >= 1000


@pytest.mark.parametrize("page_rows", [1, 3])
def test_pages_end_at_any_key(place, monkeypatch, page_rows):
    monkeypatch.setattr("airlift.milvus.rows._MAX_PAGE_ROWS", page_rows)
    schema = CollectionSchema(name="paged", fields=(KEY, VECTOR))
    rows = [{"key": key, "vector": vector(n)} for n, key in enumerate(ODD_KEYS)]
    report = run_from(place, ArrowSource(schema, [[batch(schema, rows)]]), verify="full")
    assert report["collections"][0]["verification"]["compared"] == len(ODD_KEYS)


def test_rows_that_a_source_cannot_read_fail_or_are_set_aside(place):
    schema = CollectionSchema(name="bad", fields=(KEY, VECTOR))
    good = batch(schema, [{"key": f"k{n}", "vector": vector(n)} for n in range(20)])
    raw = pa.record_batch({"_id": ["b1", "b2"], "_source": ['{"v": "x"}', "{}"]})
    bad = BadRows(raw, ["b1", "b2"], ["field 'v': expected a number, found 'x'", "field 'v': none"])
    nan = batch(schema, [{"key": "nan", "vector": [float("nan")] * 4}])
    source = ArrowSource(schema, [[good, bad, nan]])
    with pytest.raises(AirliftError, match=r"2 rows can't be taken.*key b1: field 'v': expected"):
        run_from(place, source)
    assert not place.client.has_collection("bad")
    assert source.calls[-1] == "close"
    report = run_from(place, source, on_bad_row="set_aside", migration_id="aside", verify="full")
    [collection] = report["collections"]
    assert (collection["rows_planned"], collection["rows_set_aside"]) == (23, 3)
    assert set(rows_of(place, "bad")) == {f"k{n}" for n in range(20)}
    assert len([path for path in place.staged("aside") if "bad_rows/" in path]) == 2


def test_two_rows_with_one_key_are_refused_before_anything_is_written(either):
    schema = CollectionSchema(name="twice", fields=(KEY, VECTOR))
    chunks = [
        [batch(schema, [{"key": f"k{n}", "vector": vector(n)} for n in range(a, b)])]
        for a, b in ((0, 50), (49, 80))
    ]
    with pytest.raises(Refused, match=r"1 primary keys stand in several rows, such as \['k49'\]"):
        run_from(either, ArrowSource(schema, chunks, keys_unique=False))
    assert not either.client.has_collection("twice")
    own = {"mapping": {"twice": {"auto_id": True}}, "migration_id": "own"}
    if either.defaults["staging_url"].endswith("staging"):
        key = KEY.model_copy(update={"type": DataType.INT64})
        schema = CollectionSchema(name="twice", fields=(key, VECTOR))
        chunks = [
            [batch(schema, [{"key": n, "vector": vector(n)} for n in range(a, b)])]
            for a, b in ((0, 50), (49, 80))
        ]
        run_from(either, ArrowSource(schema, chunks, keys_unique=False), **own)
        assert count(either.client, "twice") == 81


def test_a_source_that_gives_other_rows_than_it_counted_fails(place):
    schema = CollectionSchema(name="moved", fields=(KEY, VECTOR))
    rows = batch(schema, [{"key": f"k{n}", "vector": vector(n)} for n in range(30)])
    with pytest.raises(AirliftError, match="gave 30 rows, the plan counted 25"):
        run_from(place, ArrowSource(schema, [[rows]], planned=25))
    assert not place.client.has_collection("moved")


def test_a_source_is_told_when_it_is_read_and_when_all_is_over(place):
    schema = CollectionSchema(name="calls", fields=(KEY, VECTOR))
    source = ArrowSource(schema, [[batch(schema, [{"key": "a", "vector": vector(1)}])]])
    run_from(place, source)
    assert source.calls == ["read 0", "finish", "close"]


def test_append_takes_what_the_fields_there_hold(either):
    """What is too long for them is a bad row, before anything is written."""
    text = Field(name="text", type=DataType.VARCHAR)
    schema = CollectionSchema(name="more", fields=(KEY, text, VECTOR))

    def source(*rows: tuple[str, int]) -> ArrowSource:
        given = [{"key": key, "text": "x" * size, "vector": vector(1)} for key, size in rows]
        return ArrowSource(schema, [[batch(schema, given)]])

    run_from(either, source(("a", 10)), migration_id="first")
    more = {"if_exists": "append"}
    with pytest.raises(AirliftError, match=r"'text': .* more than max_length \(256\)"):
        run_from(either, source(("b", 300)), migration_id="second", **more)
    run_from(either, source(("c", 256)), migration_id="third", **more)
    aside = {"on_bad_row": "set_aside", "migration_id": "fourth"}
    run_from(either, source(("d", 257), ("e", 5)), **aside, **more)
    run_from(either, source(("f", 999)), on_long_text="truncate", migration_id="fifth", **more)
    found = {key: len(row["text"]) for key, row in rows_of(either, "more").items()}
    assert found == {"a": 10, "c": 256, "e": 5, "f": 256}


TAGS = Field(name="tags", type=DataType.ARRAY, element_type=DataType.INT8, max_capacity=4)
NUMBER = Field(name="id", type=DataType.INT64, primary_key=True)


@pytest.mark.parametrize(
    ("there", "then", "params", "said"),
    [
        ((NUMBER, VECTOR), (KEY, VECTOR), {}, "to append needs"),
        (
            (NUMBER, VECTOR, TAGS),
            (NUMBER, VECTOR, TAGS.model_copy(update={"element_type": DataType.INT64})),
            {},
            "'tags': 'ARRAY of INT64'",
        ),
        (
            (NUMBER, VECTOR),
            (NUMBER, VECTOR.model_copy(update={"dim": 5})),
            {},
            "'vector': 'FLOAT_VECTOR(5)'",
        ),
        ((NUMBER, VECTOR), (NUMBER, VECTOR), {"auto_id": True}, "it has no autoID"),
    ],
)
def test_a_collection_that_can_not_be_appended_to_is_refused(lite, there, then, params, said):
    def source(fields: tuple[Field, ...]) -> ArrowSource:
        return ArrowSource(CollectionSchema(name="kinds", fields=fields), [])

    run_from(lite, source(there), migration_id="first")
    with pytest.raises(Refused) as refused:
        run_from(
            lite,
            source(then),
            migration_id="second",
            if_exists="append",
            mapping={"kinds": params},
        )
    assert said in str(refused.value)


def test_a_collection_that_makes_its_keys_is_appended_to_without_any(lite):
    schema = CollectionSchema(name="own", fields=(NUMBER, VECTOR))
    rows = batch(schema, [{"id": n, "vector": vector(n)} for n in range(9)])
    mapping = {"mapping": {"own": {"auto_id": True}}}
    run_from(lite, ArrowSource(schema, [[rows]]), migration_id="first", **mapping)
    more = {"if_exists": "append", "migration_id": "second"}
    with pytest.raises(Refused, match=r"\(autoID\); set auto_id in mapping"):
        run_from(lite, ArrowSource(schema, [[rows]]), **more)
    with pytest.raises(Refused, match="use verify sample"):
        run_from(lite, ArrowSource(schema, [[rows]]), **more, **mapping, verify="full")
    run_from(lite, ArrowSource(schema, [[rows]]), **more, **mapping)
    assert count(lite.client, "own") == 18


def test_a_killed_migration_goes_on_where_it_was(place):
    schema = CollectionSchema(name="again", fields=(KEY, VECTOR))
    chunks = [
        [batch(schema, [{"key": f"k{n}", "vector": vector(n)} for n in range(a, a + 30)])]
        for a in (0, 30)
    ]
    source = ArrowSource(schema, [chunks[0], [chunks[1][0].slice(1)]], planned=30)
    with pytest.raises(AirliftError):
        run_from(place, source)
    source.chunks = chunks
    with migration_of(place, source) as migration:
        from airlift.run import run

        run(migration)
    assert source.calls.count("read 0") == 1 and source.calls.count("read 1") == 2
    assert set(rows_of(place, "again")) == {f"k{n}" for n in range(60)}
