"""Chunk files as JSON: into a real Milvus 2.3.5 row for row, and where others would lose a value.

Every test reads the rows back from the target by pymilvus' own client and compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.schema import CollectionSchema, Field
from airlift.sparse_vectors import to_bytes
from tests.emulators.rest_import import RestImportServer
from tests.paths.arrow_source import ArrowSource, run_from
from tests.paths.place import BIN_FLAT, Place
from tests.paths.test_rest_import import place_on
from tests.paths.truth import count

KEY = Field(name="key", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=4, metric_type="L2")
META = Field(name="$meta", type=DataType.JSON)
JSON_FILES = {"file_format": "json", "verify": "full"}


def vector(n: int) -> list[float]:
    return np.random.default_rng(n).standard_normal(4).astype(np.float32).tolist()


def source_of(name: str, fields: tuple[Field, ...], rows: list[dict[str, Any]]) -> ArrowSource:
    """Rows in two chunks; keys and vectors are made where the rows have none."""
    vectors = () if any(field.is_vector for field in fields) else (VECTOR,)
    meta = (META,) if META in fields else ()
    others = tuple(field for field in fields if field is not META)
    schema = CollectionSchema(
        name=name, fields=(KEY, *others, *vectors, *meta), dynamic_field=bool(meta)
    )
    whole = [{"key": n, "vector": vector(n), **row} for n, row in enumerate(rows)]
    half = len(whole) // 2
    parts = (whole[:half], whole[half:])
    chunks = [[pa.RecordBatch.from_pylist(part, schema=schema.arrow)] for part in parts]
    return ArrowSource(schema, chunks)


def rows_of(place: Place, name: str) -> dict[int, dict[str, Any]]:
    """All rows as pymilvus gives them, by primary key."""
    found = place.client.query(
        name,
        filter="key >= 0 or key < 0",
        output_fields=["*"],
        limit=16_000,
        consistency_level="Strong",
    )
    assert len(found) == count(place.client, name, key="key")
    return {row["key"]: dict(row) for row in found}


def only(report: dict[str, Any]) -> dict[str, Any]:
    [collection] = report["collections"]
    return collection


# --- Milvus 2.3.5, by bulk insert ----------------------------------------------------------------

FLOAT_MAX = float(np.finfo(np.float32).max)
WHOLE = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
TEXTS = [
    "",
    'a"b\\c',
    "\\u0041",
    "line\nbreak\ttab\0nul",
    "漢字😀é\u2028\ufeff",
    ',"$meta":',
    "</&>",
]
JSONS = [
    "{}",
    '{"a":[1,null,{"b":"\\n\\""}],"n":9007199254740993}',
    '{"big":9223372036854775807,"small":-9223372036854775808}',
    '{"f":0.1,"g":-1e-07,"h":1e+300,"漢":"😀"}',
    '{"html":"<a href=\\"x\\">&amp;</a>","path":"c:\\\\d"}',
]
METAS = [{}, {"n": 2**53 + 1, "m": -(2**63)}, {"deep": {"a": [1, None, 0.1]}}, {"漢": '"\\\n<&>'}]


def test_every_type_of_milvus_2_3_arrives_row_for_row(place):
    fields = (
        Field(name="flag", type=DataType.BOOL),
        *(Field(name=name, type=DataType(name.upper())) for name in WHOLE),
        Field(name="float", type=DataType.FLOAT),
        Field(name="double", type=DataType.DOUBLE),
        Field(name="text", type=DataType.VARCHAR),
        Field(name="json", type=DataType.JSON),
        Field(name="ints", type=DataType.ARRAY, element_type=DataType.INT64),
        Field(name="texts", type=DataType.ARRAY, element_type=DataType.VARCHAR),
        Field(name="flags", type=DataType.ARRAY, element_type=DataType.BOOL),
        Field(name="floats", type=DataType.ARRAY, element_type=DataType.FLOAT),
        Field(name="bytes", type=DataType.ARRAY, element_type=DataType.INT8),
        META,
    )
    limits = [0.10000000149011612, -0.0, 1.401298464324817e-45, FLOAT_MAX, -FLOAT_MAX]
    rows = [
        {
            "flag": n % 2 == 0,
            **{name: (-1 if n % 3 else 1) * (2 ** (bits - 1) - 1) for name, bits in WHOLE.items()},
            "float": limits[n % 5],
            "double": [0.1, 5e-324, -1.7976931348623157e308, -0.0][n % 4],
            "text": TEXTS[n % len(TEXTS)] * (n + 1),
            "json": JSONS[n % len(JSONS)],
            "ints": [[], [2**63 - 1, -(2**62)], [n] * 40][n % 3],
            "texts": [TEXTS, [], [""]][n % 3],
            "flags": [[True, False], []][n % 2],
            "floats": [limits, [], [0.5]][n % 3],
            "bytes": [[-128, 127], [], [0]][n % 3],
            "$meta": METAS[n % len(METAS)],
        }
        for n in range(60)
    ]
    given = [{**row, "$meta": orjson.dumps(row["$meta"]).decode()} for row in rows]
    report = run_from(place, source_of("every", fields, given), keep_staging=True, **JSON_FILES)
    assert only(report)["file_format"] == "json" and only(report)["way"] == "grpc_bulk_insert"
    assert only(report)["verification"]["compared"] == 60
    assert len([path for path in place.staged() if path.endswith("/data.json")]) == 2
    found = rows_of(place, "every")
    for n, row in enumerate(rows):
        arrived = found[n]
        for field in fields[:-1]:
            value, expected = arrived[field.name], row[field.name]
            if field.type is DataType.JSON:
                expected = orjson.loads(expected)
            value = list(value) if field.element_type else value
            assert repr(value) == repr(expected), (n, field.name)  # -0.0 is not 0.0
        assert {name: arrived[name] for name in row["$meta"]} == row["$meta"]
        assert set(arrived) == {"key", "vector", *row} - {"$meta"} | set(row["$meta"])


def test_arrays_of_doubles_are_refused_which_milvus_2_3_would_round(place):
    field = Field(name="doubles", type=DataType.ARRAY, element_type=DataType.DOUBLE)
    rows = [{"doubles": value} for value in ([0.1, -0.0], [], [1e300, 5e-324])]
    source = source_of("doubles", (field,), rows)
    with pytest.raises(Refused, match=r"json files rounds the items of \['doubles'\]"):
        run_from(place, source, **JSON_FILES)
    report = run_from(place, source, verify="full")
    assert only(report)["file_format"] == "parquet"
    found = rows_of(place, "doubles")
    assert [repr(list(found[n]["doubles"])) for n in range(3)] == [
        repr(row["doubles"]) for row in rows
    ]


def test_floats_of_any_bits_arrive_bit_for_bit(place):
    """Random bits: numbers of every size, also those with the longest texts."""
    random = np.random.default_rng(7)
    bits = random.integers(0, 1 << 32, 3000 * 32, np.uint32)
    numbers = bits.view(np.float32)
    numbers[~np.isfinite(numbers)] = -0.0
    numbers = numbers.reshape(3000, 32)
    doubles = random.integers(0, 1 << 64, 3000, np.uint64).view(np.float64)
    doubles[~np.isfinite(doubles)] = -0.0
    fields = (
        Field(name="single", type=DataType.FLOAT),
        Field(name="double", type=DataType.DOUBLE),
        Field(name="vector", type=DataType.FLOAT_VECTOR, dim=32, metric_type="L2"),
    )
    rows = [
        {"single": float(row[0]), "double": float(double), "vector": row.tolist()}
        for row, double in zip(numbers, doubles, strict=True)
    ]
    # Distances of such numbers overflow, so searching for them proves nothing.
    run_from(place, source_of("bits", fields, rows), file_format="json", verify="counts")
    found = rows_of(place, "bits")
    keys = range(3000)
    vectors = np.array([found[key]["vector"] for key in keys], np.float32)
    assert vectors.tobytes() == numbers.tobytes()
    singles = np.array([found[key]["single"] for key in keys], np.float32)
    assert singles.tobytes() == numbers[:, 0].tobytes()
    assert np.array([found[key]["double"] for key in keys]).tobytes() == doubles.tobytes()


def test_binary_vectors_arrive(place):
    field = Field(name="vector", type=DataType.BINARY_VECTOR, dim=64, metric_type="HAMMING")
    random = np.random.default_rng(8)
    rows = [{"vector": random.bytes(8)} for _ in range(400)]
    run_from(place, source_of("bytes", (field,), rows), index=BIN_FLAT, **JSON_FILES)
    found = rows_of(place, "bytes")
    for n, row in enumerate(rows):
        [raw] = found[n]["vector"] if isinstance(found[n]["vector"], list) else [found[n]["vector"]]
        assert bytes(raw) == row["vector"]


@pytest.mark.parametrize("file_format", ["json", "parquet"])
def test_an_empty_list_and_a_missing_one_stay_apart_without_nullable_fields(place, file_format):
    """Milvus 2.3 has no nullable fields: the array goes into the dynamic field."""
    field = Field(name="tags", type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True)
    rows = [{"tags": value} for value in ([], None, ["a"], [], None, [""])]
    run_from(place, source_of("tagged", (field,), rows), file_format=file_format, verify="full")
    found = rows_of(place, "tagged")
    for n, row in enumerate(rows):
        assert found[n].get("tags", None) == row["tags"]


BAD = [
    {"vector": [float("nan"), 0, 0, 0]},
    {"vector": [0, 0, 0, float("-inf")]},
    {"tags": ["a", None]},
    {"tags": ["too long"]},
    {"tags": ["a"] * 5},
    {"text": "more than eight"},
    {"text": "漢字漢"},
    {"number": float("inf")},
    {"number": float("nan")},
]


@pytest.mark.parametrize(
    ("file_format", "write_mode"),
    [("json", "bulk_insert"), ("parquet", "bulk_insert"), ("parquet", "insert")],
)
def test_bad_rows_are_set_aside_whatever_the_format_and_the_way(place, file_format, write_mode):
    """Milvus 2.3.5 takes most of them."""
    fields = (
        Field(name="text", type=DataType.VARCHAR, max_length=8),
        Field(
            name="tags",
            type=DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_length=4,
            max_capacity=4,
        ),
        Field(name="number", type=DataType.FLOAT),
    )
    good = {"text": "12345678", "tags": ["1234", "é"], "number": 1.5}
    rows = [good, *({**good, **bad} for bad in BAD), good]
    report = run_from(
        place,
        source_of("bad", fields, rows),
        file_format=file_format,
        write_mode=write_mode,
        on_bad_row="set_aside",
        verify="full",
    )
    assert only(report)["rows_set_aside"] == len(BAD)
    assert set(rows_of(place, "bad")) == {0, len(rows) - 1}


# --- newer servers, by REST: an empty list in a nullable ARRAY ------------------------------------

NUMBERS = Field(name="numbers", type=DataType.ARRAY, element_type=DataType.INT64, nullable=True)
WORDS = Field(name="words", type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True)
FLAGS = Field(name="flags", type=DataType.ARRAY, element_type=DataType.BOOL, nullable=True)
SPARSE = Field(name="sparse", type=DataType.SPARSE_FLOAT_VECTOR, metric_type="IP")
SPARSE_INDEX = {"index_type": "SPARSE_INVERTED_INDEX"}
LISTS = [
    {"numbers": [], "words": [], "flags": []},
    {"numbers": None, "words": None, "flags": None},
    {"numbers": [1], "words": [""], "flags": [False]},
    {"numbers": [], "words": None, "flags": [True, False]},
    {"numbers": [2**63 - 1, 0], "words": [], "flags": None},
    {"numbers": None, "words": ['"[]"', "null"], "flags": []},
]
ARRAYS = (NUMBERS, WORDS, FLAGS)
EMPTY = {n for n, row in enumerate(LISTS) if [] in row.values()}


@pytest.fixture(params=["2.5.27", "2.6.20"])
def rest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The emulator of a newer server's import jobs, as recorded (none can run here)."""
    staging = tmp_path / "server" / "bucket" / "staging"
    with (
        RestImportServer(tmp_path / "server", version=request.param) as server,
        place_on(server, tmp_path / "none", str(staging)) as place,
    ):
        yield place


def lists_of(place: Place, name: str) -> list[dict[str, Any]]:
    found = rows_of(place, name)
    return [
        {
            field.name: None if found[n][field.name] is None else list(found[n][field.name])
            for field in ARRAYS
        }
        for n in sorted(found)
    ]


@pytest.mark.parametrize("file_format", ["auto", "json"])
def test_an_empty_list_stays_one(rest, file_format):
    source = source_of("lists", ARRAYS, LISTS)
    report = run_from(rest, source, file_format=file_format, verify="full")
    assert only(report)["file_format"] == "json" and only(report)["way"] == "rest_import"
    assert lists_of(rest, "lists") == LISTS
    told = [note for note in only(report)["notes"] if "stores null for an empty list" in note]
    assert len(told) == (file_format == "auto")


def test_in_parquet_that_was_asked_for_it_is_a_bad_row(rest):
    source = source_of("lists", ARRAYS, LISTS)
    message = r"key 0: field 'numbers': the list is empty.*file_format auto or json.*allow_lossy"
    with pytest.raises(AirliftError, match=message):
        run_from(rest, source, file_format="parquet")
    assert not rest.client.has_collection("lists")
    report = run_from(
        rest,
        source,
        file_format="parquet",
        on_bad_row="set_aside",
        verify="full",
        migration_id="aside",
    )
    assert only(report)["rows_set_aside"] == len(EMPTY)
    assert set(rows_of(rest, "lists")) == set(range(len(LISTS))) - EMPTY


def test_with_allow_lossy_it_becomes_null_and_the_report_says_so(rest):
    source = source_of("lists", ARRAYS, LISTS)
    report = run_from(rest, source, file_format="parquet", allow_lossy=True, verify="full")
    assert lists_of(rest, "lists") == [
        {name: value or None for name, value in row.items()} for row in LISTS
    ]
    [note] = [note for note in only(report)["notes"] if "allow_lossy" in note]
    assert "an empty list in ['numbers', 'words', 'flags'] arrives as null" in note


def test_lists_go_into_a_collection_that_is_there_with_a_nullable_array(rest):
    """No row of the source lacks its list, so the source has no nullable field."""
    first = source_of("there", (NUMBERS,), [{"key": 100, "numbers": None}])
    run_from(rest, first, migration_id="first")
    always = NUMBERS.model_copy(update={"nullable": False})
    rows = [{"numbers": value} for value in ([], [1], [], [2, 3])]
    source = source_of("there", (always,), rows)
    report = run_from(rest, source, if_exists="append", verify="full")
    assert only(report)["file_format"] == "json" and only(report)["way"] == "rest_import"
    found = {key: row["numbers"] for key, row in rows_of(rest, "there").items()}
    assert found == {100: None, 0: [], 1: [1], 2: [], 3: [2, 3]}


def test_rows_that_are_sent_in_requests_need_no_json(rest):
    source = source_of("lists", ARRAYS, LISTS)
    report = run_from(rest, source, write_mode="insert", verify="full")
    assert only(report)["file_format"] == "parquet"
    assert lists_of(rest, "lists") == LISTS


def test_json_files_with_sparse_vectors_json_and_the_dynamic_field(rest):
    json = Field(name="json", type=DataType.JSON, nullable=True)
    random = np.random.default_rng(9)
    rows = [
        {
            "json": [*JSONS, None, "[1,[]]", '"text"', "5", "null"][n % 10],
            "sparse": {
                int(at): float(np.float32(random.random() + 0.1))
                for at in random.integers(0, (1 << 32) - 1, 5)
            },
            "$meta": METAS[n % len(METAS)],
        }
        for n in range(50)
    ]
    given = [
        {
            **row,
            "sparse": to_bytes(row["sparse"]),
            "$meta": orjson.dumps(row["$meta"]).decode(),
        }
        for row in rows
    ]
    source = source_of("mixed", (json, SPARSE, META), given)
    report = run_from(rest, source, index=SPARSE_INDEX, **JSON_FILES)
    assert only(report)["verification"]["compared"] == 50
    found = rows_of(rest, "mixed")
    for n, row in enumerate(rows):
        assert found[n]["sparse"] == row["sparse"]
        assert {name: found[n][name] for name in row["$meta"]} == row["$meta"]
        expected = None if row["json"] is None else orjson.loads(row["json"])
        assert found[n]["json"] == expected


BAD_SPARSE = [
    {1: -0.5},
    {1: 0.5, 7: -1e-30},
    {(1 << 32) - 1: 1.0},
    {1: float("nan")},
    {1: float("inf"), 2: 1.0},
]


def test_sparse_vectors_that_the_server_refuses_never_reach_a_job(rest):
    rows = [{"sparse": to_bytes(one)} for one in ({1: 0.5}, *BAD_SPARSE, {2: 0.25})]
    source = source_of("sparse", (SPARSE,), rows)
    with pytest.raises(AirliftError, match=r"key 1: field 'sparse': .*negative value"):
        run_from(rest, source, index=SPARSE_INDEX)
    assert not rest.client.has_collection("sparse")
    report = run_from(
        rest,
        source,
        index=SPARSE_INDEX,
        on_bad_row="set_aside",
        verify="full",
        migration_id="aside",
    )
    assert only(report)["rows_set_aside"] == len(BAD_SPARSE)
    assert set(rows_of(rest, "sparse")) == {0, 6}


def test_sparse_vectors_that_milvus_lite_does_not_keep_are_bad_rows(lite):
    """It leaves zeros out without a word, and refuses what is empty then."""
    bad = [{}, {1: 0.0}, {1: -0.0}, {1: 0.5, 2: 0.0}, {0: 0.0, 9: 0.5}]
    rows = [{"sparse": to_bytes(one)} for one in ({1: 0.5}, *bad, {0: 1e-45, 7: 3.0})]
    report = run_from(
        lite,
        source_of("zeros", (SPARSE,), rows),
        index="autoindex",
        on_bad_row="set_aside",
        verify="counts",
    )
    assert only(report)["rows_set_aside"] == len(bad)
    found = {key: row["sparse"] for key, row in rows_of(lite, "zeros").items()}
    assert {key: to_bytes(value) for key, value in found.items()} == {
        0: rows[0]["sparse"],
        6: rows[6]["sparse"],
    }
