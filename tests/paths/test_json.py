"""JSON on its way into real targets: carried exactly, or a bad row; and what differs is found.

What the target holds is read from its answers' own texts here, by pymilvus' messages.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import DataType as MilvusType
from pymilvus import MilvusClient
from pymilvus.client.call_context import _api_level_md
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from airlift.connections import MilvusConnection
from airlift.datatypes import DataType
from airlift.errors import AirliftError, Mismatch
from airlift.run import run
from airlift.schema import CollectionSchema, Field
from airlift.steps.verify import verify
from airlift.storage import open_storage
from localservers import Milvus, MilvusLite, S3Server
from samples.faiss_indexes import write_index
from samples.milvus_backups import BackupCollection, BackupField, BackupSegment, write_backup
from tests.paths.arrow_source import ArrowSource, migration_of, run_from
from tests.paths.place import Place, SourceKind, bucket_of, lite_place

KEY = Field(name="key", type=DataType.INT64, primary_key=True)
VECTOR = Field(name="vector", type=DataType.FLOAT_VECTOR, dim=2, metric_type="L2")
JSON = Field(name="json", type=DataType.JSON)
META = Field(name="$meta", type=DataType.JSON)
SCHEMA = CollectionSchema(name="c", fields=(KEY, VECTOR, JSON, META), dynamic_field=True)
FIELDS = [field.name for field in SCHEMA.fields]

GOOD = [
    '{"a":1,"b":1.0,"c":-0.0}',
    '{"n":18446744073709551615,"m":-9223372036854775808}',
    '{ "z" : [0.30000000000000004, 5e-324, 1.7976931348623157e308], "a": null }',
    '{"t":"\\ud83d\\ude00 123456789012345678901234567890","u":"1e400"}',
    '{"exact":0.1000000000000000055511151231257827}',
    "{}",
]
BAD = {
    '{"a":123456789012345678901234567890}': "whole number 123456789012345678901234567890",
    '{"a":{"b":[-9223372036854775809]}}': "whole number -9223372036854775809",
    '{"a":0.1234567890123456789}': "number 0.1234567890123456789",
    '{"a":[1,{"b":1e400}]}': "number 1e400",
    '{"a":[NaN]}': "NaN",
    '{"a":-Infinity}': "-Infinity",
    '{"a":1,"a":2}': "key 'a' more than once",
    '{"a":"\\ud83d"}': "half of a surrogate pair",
    '{"a":': "is no JSON",
    '{"a":' + "[" * 300 + "]" * 300 + "}": "nested deeper",
}


def batch(texts: list[str], metas: list[str], first: int = 0) -> pa.RecordBatch:
    keys = list(range(first, first + len(texts)))
    vectors = pa.array([[float(key), 1.0] for key in keys], VECTOR.arrow.type)
    columns = [pa.array(keys), vectors, pa.array(texts), pa.array(metas)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA.arrow)


def call(client: Any, request: Any, method: str) -> Any:
    stub = client._get_connection()._stub
    metadata = _api_level_md(client._generate_call_context())
    return getattr(stub, method)(request, timeout=60, metadata=metadata)


def texts_of(client: Any, name: str, fields: tuple[str, ...] = ("json", "$meta")) -> dict[int, Any]:
    """By primary key, the texts of JSON as the server sends them."""
    client.load_collection(name)
    request = milvus_pb2.QueryRequest(
        collection_name=name,
        expr="key >= 0",
        output_fields=["key", *fields],
        consistency_level=0,
        query_params=[],
    )
    answer = call(client, request, "Query")
    check_status(answer.status)
    columns = {data.field_name: data.scalars for data in answer.fields_data}
    texts = [[text.decode() for text in columns[field].json_data.data] for field in fields]
    keys = list(columns["key"].long_data.data)
    return dict(zip(keys, zip(*texts, strict=True), strict=True))


def write(client: Any, name: str, key: int, text: str, meta: str = "{}") -> None:
    """Writes a row over the one with its key, with JSON of any kind."""
    key_data = schema_pb2.FieldData(type=schema_pb2.Int64, field_name="key")
    key_data.scalars.long_data.data.append(key)
    vector = schema_pb2.FieldData(type=schema_pb2.FloatVector, field_name="vector")
    vector.vectors.dim = 2
    vector.vectors.float_vector.data.extend([float(key), 1.0])
    fields = [key_data, vector]
    for field, value in (("json", text), ("$meta", meta)):
        data = schema_pb2.FieldData(
            type=schema_pb2.JSON, field_name=field, is_dynamic=field == "$meta"
        )
        data.scalars.json_data.data.append(value.encode())
        fields.append(data)
    request = milvus_pb2.UpsertRequest(collection_name=name, num_rows=1, fields_data=fields)
    check_status(call(client, request, "Upsert").status)


def said(text: str) -> Any:
    """What a text says: whole numbers apart from others, and these bit for bit."""
    return json.loads(
        text,
        parse_float=lambda token: ("float", float(token).hex()),
        parse_int=lambda token: ("int", int(token)),
    )


def set_aside(place: Place, name: str = "c", migration_id: str | None = None) -> dict[int, Any]:
    """The rows that were set aside, by primary key."""
    folder = open_storage(
        f"{place.staging_url}/{migration_id or place.migration_id}/{name}/bad_rows",
        place.connections.buckets.get("other"),
    )
    rows: list[Any] = []
    for path in folder.list():
        with folder.open_input(path) as stream:
            rows += pq.read_table(stream).to_pylist()
    return {row["key"]: row for row in rows}


@pytest.fixture
def elsewhere(place: Place, s3_server: S3Server) -> Place:
    """Milvus 2.3.5, and staging that it can't read."""
    bucket = f"b{uuid.uuid4().hex}"
    s3_server.make_bucket(bucket)
    place.connections.buckets["other"] = bucket_of(s3_server)
    url = f"s3://{bucket}/staging"
    other = Place(place.folder, url, place.client, place.connections)
    other.defaults = {**place.defaults, "staging_url": url, "staging_conn_id": "other"}
    return other


# --- from any source -----------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["json", "$meta"])
def test_what_cannot_be_held_is_set_aside_and_the_rest_arrives(either, field):
    """Each value once in the JSON field, and once in the dynamic one."""
    texts = [*GOOD, *BAD]
    empty = ["{}"] * len(texts)
    given = batch(texts, empty) if field == "json" else batch(empty, texts)
    source = ArrowSource(SCHEMA, [[given]])
    report = run_from(either, source, on_bad_row="set_aside", max_bad_rows=len(BAD), verify="full")
    [collection] = report["collections"]
    assert (collection["rows_counted"], collection["rows_set_aside"]) == (len(GOOD), len(BAD))
    place = 0 if field == "json" else 1
    found = texts_of(either.client, "c")
    assert {key: said(pair[place]) for key, pair in found.items()} == dict(
        enumerate(map(said, GOOD))
    )
    aside = set_aside(either)
    assert sorted(aside) == list(range(len(GOOD), len(texts)))
    for key, (text, reason) in enumerate(BAD.items(), len(GOOD)):
        assert aside[key][field] == text
        assert aside[key]["reason"].startswith(f"field {field!r}: the value '{text[:6]}")
        assert reason in aside[key]["reason"]


PLAIN = ['"text"', '"{}"', '""', "7", "-0.5", "true", "null"]
LISTS = ["[]", "[1,[2.5]]", '[{"a":"b"}]']


@pytest.mark.parametrize(
    ("target", "write_mode", "bad", "why"),
    [
        ("lite", "insert", PLAIN, "neither an object nor a list"),
        ("lite", "upsert", PLAIN, "neither an object nor a list"),
        ("place", "insert", [*PLAIN, *LISTS], "no object"),
        ("place", "upsert", [*PLAIN, *LISTS], "no object"),
        ("place", "bulk_insert", [], ""),
        ("place", "auto", [], ""),
        ("elsewhere", "auto", [*PLAIN, *LISTS], "no object"),
    ],
)
def test_json_that_is_no_object_is_kept_or_told(request, target, write_mode, bad, why):
    """Milvus Lite refuses or changes what is no list either, inserts into 2.3 take objects only.

    With `verify counts` nobody else sees that `"{}"` has become `{}`.
    """
    place = request.getfixturevalue(target)
    texts = ["{}", *PLAIN, '{"a":["x"]}', *LISTS]
    source = ArrowSource(SCHEMA, [[batch(texts, ["{}"] * len(texts))]])
    options = {"on_bad_row": "set_aside", "max_bad_rows": len(texts), "verify": "counts"}
    run_from(place, source, write_mode=write_mode, **options)
    found = {key: said(pair[0]) for key, pair in texts_of(place.client, "c").items()}
    assert found == {key: said(text) for key, text in enumerate(texts) if text not in bad}
    aside = set_aside(place)
    assert {row["json"] for row in aside.values()} == set(bad)
    assert all(row["reason"].startswith("field 'json': the JSON is ") for row in aside.values())
    assert all(why in row["reason"] for row in aside.values())


def test_it_is_noted_how_few_rows_with_json_get_in(place, elsewhere):
    """With staging that the target reads they are bulk inserted, else inserted."""
    source = ArrowSource(SCHEMA, [[batch(["{}"], ["{}"])]])
    for where, told in ((place, "the rows are bulk inserted"), (elsewhere, "it can't read")):
        [collection] = run_from(where, source, write_mode="auto")["collections"]
        [note] = [note for note in collection["notes"] if "do not take every value" in note]
        assert "['json']" in note and told in note
        where.client.drop_collection("c")
    # The dynamic field holds objects only.
    without = CollectionSchema(name="c", fields=(KEY, VECTOR, META), dynamic_field=True)
    given = batch(["{}"], ["{}"]).select(["key", "vector", "$meta"])
    [collection] = run_from(
        place, ArrowSource(without, [[given]]), write_mode="auto", migration_id="other"
    )["collections"]
    assert not [note for note in collection["notes"] if "do not take" in note]


@pytest.mark.parametrize("text", BAD)
def test_without_setting_aside_the_row_is_named(lite, text):
    given = batch([GOOD[0], text], ["{}", "{}"], first=41)
    with pytest.raises(AirliftError) as caught:
        run_from(lite, ArrowSource(SCHEMA, [[given]]))
    assert "primary key 42: field 'json': the value" in str(caught.value)
    assert BAD[text] in str(caught.value)
    assert not lite.client.has_collection("c")


def test_what_is_left_out_is_not_looked_at(lite):
    """Also the field that the mapping makes of a key of the dynamic field is the only one."""
    texts = list(BAD)
    empty = ["{}"] * len(texts)
    left_out = {"c": {"exclude": ["json"]}}
    report = run_from(
        lite, ArrowSource(SCHEMA, [[batch(texts, empty)]]), mapping=left_out, verify="full"
    )
    assert report["collections"][0]["rows_counted"] == len(BAD)
    lite.client.drop_collection("c")
    left_out = {"c": {"exclude": ["$meta"]}}
    report = run_from(
        lite,
        ArrowSource(SCHEMA, [[batch(empty, texts)]]),
        mapping=left_out,
        verify="full",
        migration_id=f"{lite.migration_id}meta",
    )
    assert report["collections"][0]["rows_counted"] == len(BAD)


def test_as_text_the_number_stays_as_it_was_written(lite):
    texts = [text for text in BAD if "NaN" not in text and "Inf" not in text and "u" not in text]
    as_text = {"c": {"fields": [{"source": "json", "type": "VARCHAR", "max_length": 700}]}}
    whole = [text for text in texts if text.count("{") == text.count("}")]
    given = batch([*whole, GOOD[2]], ["{}"] * (len(whole) + 1))
    run_from(lite, ArrowSource(SCHEMA, [[given]]), mapping=as_text, verify="full")
    found = lite.client.query("c", filter="key >= 0", output_fields=["json"], limit=100)
    assert {row["key"]: row["json"] for row in found if row["key"] < len(whole)} == dict(
        enumerate(whole)
    )


# --- what the target answers ----------------------------------------------------------------------

TAMPERED = [
    ('{"a":1}', '{"a":1.0}'),
    ('{"a":18446744073709551615}', '{"a":18446744073709551616}'),
    ('{"a":9007199254740993}', '{"a":9007199254740992}'),
    ('{"a":0.1}', '{"a":0.1000000000000000155}'),
    ('{"a":0.0}', '{"a":-0.0}'),
    ('{"a":2}', '{"a":1,"a":2}'),
    ('{"a":1e19}', '{"a":10000000000000000000}'),
    ('{"a":"\\ufffd"}', '{"a":"\\ud83d"}'),
    ('{"a":[[]]}', '{"a":' + "[" * 300 + "]" * 300 + "}"),
]
ONLY_LITE = [
    ('{"a":null}', '{"a":NaN}'),
    ('{"a":null}', '{"a":Infinity}'),
    ("{}", "{"),
    ('{"a":1}', ""),
]
"""Which Milvus 2.3 refuses."""


def changes_for(place: Place, field: str) -> list[tuple[str, str]]:
    """What can be made of a text on that target, and is still there afterwards."""
    if not place.client.get_server_version().startswith("milvus_lite"):
        return TAMPERED
    # It reads JSON and writes it anew, and so loses some by itself.
    lost = {'{"a":0.1000000000000000155}', '{"a":1,"a":2}', '{"a":"\\ud83d"}'}
    kept = [pair for pair in TAMPERED if pair[1] not in lost]
    return [*kept, *ONLY_LITE] if field == "json" else kept


def rows_with(field: str, texts: list[str]) -> pa.RecordBatch:
    empty = ["{}"] * len(texts)
    return batch(texts, empty) if field == "json" else batch(empty, texts)


@pytest.mark.parametrize("field", ["json", "$meta"])
def test_whatever_text_the_target_has_instead_is_told(either, field):
    changes = changes_for(either, field)
    source = ArrowSource(SCHEMA, [[rows_with(field, [before for before, _ in changes])]])
    with migration_of(either, source, verify="sample") as migration:
        run(migration)
        for key, (_, text) in enumerate(changes):
            write(either.client, "c", key, *((text, "{}") if field == "json" else ("{}", text)))
        with pytest.raises(Mismatch) as caught:
            verify(migration)
    count = len(changes)
    assert f"the field {field!r} differs in {count} of {count} sampled rows" in str(caught.value)


def test_each_text_alone_is_a_difference_of_all_rows(lite):
    changes = changes_for(lite, "json")
    source = ArrowSource(SCHEMA, [[rows_with("json", [before for before, _ in changes])]])
    with migration_of(lite, source, verify="full") as migration:
        run(migration)
        for key, (before, after) in enumerate(changes):
            write(lite.client, "c", key, after)
            with pytest.raises(Mismatch):
                verify(migration)
            lite.client.load_collection("c")
            write(lite.client, "c", key, before)
        verify(migration)


# --- from a running Milvus ------------------------------------------------------------------------

MILVUS = SourceKind("milvus", lambda folder, specs: None, lambda folder: {})


@pytest.fixture
def from_milvus(milvus: Milvus) -> Iterator[MilvusClient]:
    """A client of the Milvus 2.3.5 that is the source; what is made there is dropped."""
    with closing(milvus.client()) as client:
        before = set(client.list_collections())
        yield client
        for name in set(client.list_collections()) - before:
            client.drop_collection(name)


@pytest.fixture
def to_lite(milvus_lite: MilvusLite, tmp_path: Path) -> Iterator[Place]:
    """From a Milvus into Milvus Lite."""
    with lite_place(milvus_lite, tmp_path / "none", MILVUS) as place:
        yield place


def make(client: Any, name: str) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("key", MilvusType.INT64, is_primary=True)
    schema.add_field("vector", MilvusType.FLOAT_VECTOR, dim=2)
    schema.add_field("json", MilvusType.JSON)
    client.create_collection(name, schema=schema)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_index(name, index)
    client.load_collection(name)


@pytest.mark.parametrize("field", ["json", "$meta"])
def test_what_a_milvus_holds_but_json_does_not(from_milvus, milvus, to_lite, field):
    """Milvus 2.3 keeps whatever Go's parser takes."""
    to_lite.connections.servers["milvus_source"] = MilvusConnection(uri=milvus.uri)
    make(from_milvus, "odd")
    bad = [text for text in BAD if not any(word in text for word in ("NaN", "Inf", "1e400"))]
    bad.remove('{"a":')
    for key, text in enumerate([*GOOD, *bad]):
        write(from_milvus, "odd", key, *((text, "{}") if field == "json" else ("{}", text)))
    kept = {key: said(pair[field != "json"]) for key, pair in texts_of(from_milvus, "odd").items()}
    params = {"collections": ["odd"], "verify": "full"}
    with pytest.raises(
        AirliftError, match=rf"primary key \d+: field '{re.escape(field)}': the value"
    ):
        to_lite.run(**params, migration_id=f"{to_lite.migration_id}strict")
    left = {"odd": {"exclude": [field], "target": "left"}}
    report = to_lite.run(**params, mapping=left, migration_id=f"{to_lite.migration_id}left")
    assert report["collections"][0]["rows_counted"] == len(kept)
    to_lite.run(**params, on_bad_row="set_aside", max_bad_rows=len(bad))
    found = {
        key: said(pair[field != "json"]) for key, pair in texts_of(to_lite.client, "odd").items()
    }
    assert found == {key: kept[key] for key in range(len(GOOD))}
    aside = set_aside(to_lite, "odd")
    assert {key: row[field] for key, row in aside.items()} == dict(enumerate(bad, len(GOOD)))
    assert all(BAD[row[field]] in row["reason"] for row in aside.values())


def test_what_milvus_lite_holds_but_json_does_not(milvus_lite, to_lite):
    """NaN, infinities, and a text that is no JSON at all: Milvus Lite keeps them."""
    to_lite.connections.servers["milvus_source"] = MilvusConnection(uri=milvus_lite.uri)
    make(to_lite.client, "odd")
    texts = ['{"a":1}', '{"a":NaN}', '{"a":Infinity}', "{", "", '{"a":12345678901234567890123}']
    for key, text in enumerate(texts):
        write(to_lite.client, "odd", key, text)
    move = {"collections": ["odd"], "verify": "full"}
    to = {"odd": {"target": "moved"}}
    to_lite.run(**move, mapping=to, on_bad_row="set_aside", max_bad_rows=5)
    assert {key: pair[0] for key, pair in texts_of(to_lite.client, "moved").items()} == {
        0: '{"a": 1}'
    }
    assert sorted(set_aside(to_lite, "moved")) == [1, 2, 3, 4, 5]
    to = {"odd": {"target": "left", "exclude": ["json"]}}
    report = to_lite.run(**move, mapping=to, migration_id=f"{to_lite.migration_id}left")
    assert report["collections"][0]["rows_counted"] == len(texts)


# --- from files -----------------------------------------------------------------------------------

BACKUP = SourceKind(
    "backup", lambda folder, specs: None, lambda folder: {"backup_url": str(folder)}
)
FAISS = SourceKind(
    "faiss", lambda folder, specs: None, lambda folder: {"index_url": f"{folder}/c.index"}
)


@pytest.mark.parametrize("packed", [(), (("json", "$meta"),)], ids=["binlogs", "storage v2"])
@pytest.mark.parametrize("field", ["json", "$meta"])
def test_what_a_backup_holds_but_json_does_not(milvus_lite, tmp_path, field, packed):
    texts = [*GOOD, *BAD, "not UTF-8"]
    raws = [text.encode() for text in texts[:-1]] + [b'{"a":"\xff"}']
    other = [b"{}"] * len(raws)
    columns = {
        "key": pa.array(range(len(raws)), pa.int64()),
        "vector": pa.array([np.array([n, 1], "<f4").tobytes() for n in range(len(raws))]).cast(
            pa.binary(8)
        ),
        "json": pa.array(raws if field == "json" else other),
        "$meta": pa.array(raws if field == "$meta" else other),
    }
    segment = BackupSegment(columns=columns, times=[1] * len(raws), packed=packed)
    fields = [
        BackupField("key", "INT64"),
        BackupField("vector", "FLOAT_VECTOR", {"dim": 2}),
        BackupField("json", "JSON"),
    ]
    write_backup(tmp_path / "b", [BackupCollection("c", fields, [segment], dynamic=True)])
    with lite_place(milvus_lite, tmp_path / "b", BACKUP) as place:
        bad = len(raws) - len(GOOD)
        place.run(on_bad_row="set_aside", max_bad_rows=bad, verify="full")
        found = {
            key: said(pair[field != "json"]) for key, pair in texts_of(place.client, "c").items()
        }
        assert found == dict(enumerate(map(said, GOOD)))
        aside = set_aside(place)
        assert sorted(aside) == list(range(len(GOOD), len(raws)))
        for key, reason in enumerate([*BAD.values(), "is not UTF-8"], len(GOOD)):
            assert reason in aside[key]["reason"]


def test_nested_columns_of_parquet(milvus_lite, tmp_path):
    """A map is an object; and what JSON can't hold makes the row a bad one."""
    point = pa.struct([("x", pa.float64()), ("n", pa.decimal128(30, 20))])
    kinds = {
        "point": pa.list_(point),
        "words": pa.map_(pa.string(), pa.list_(pa.float32())),
        "by_number": pa.struct([("m", pa.map_(pa.int64(), pa.bool_()))]),
    }
    good: dict[str, list[Any]] = {
        "point": [[{"x": -0.0, "n": Decimal("12.5")}, None], [], None],
        "words": [[("b", [0.5, None]), ("a", [])], [], [("", None)]],
        "by_number": [{"m": [(-1, True), (2**62, None)]}, {"m": None}, None],
    }
    expected = {
        "point": ['[{"x":-0.0,"n":12.5},null]', "[]", None],
        "words": ['{"b":[0.5,null],"a":[]}', "{}", '{"":null}'],
        "by_number": ['{"m":{"-1":true,"4611686018427387904":null}}', '{"m":null}', None],
    }
    bad: list[tuple[str, Any, str]] = [
        ("point", [{"x": float("nan"), "n": None}], "NaN"),
        ("point", [{"x": 1.0, "n": None}, {"x": float("inf"), "n": None}], "Infinity"),
        ("point", [{"x": None, "n": Decimal("0.12345678901234567890")}], "0.1234567890123456789"),
        ("words", [("a", [1.0]), ("a", [2.0])], "key 'a' more than once"),
        ("words", [("ok", []), ("b", [-float("inf")])], "-Infinity"),
        ("by_number", {"m": [(7, True), (7, True)]}, "key '7' more than once"),
    ]
    for name, value, _ in bad:
        for column in good:
            good[column].append(value if column == name else None)
    rows = len(good["point"])
    table = {name: pa.array(values, kinds[name]) for name, values in good.items()}
    write_index(tmp_path / "c.index", np.eye(rows, 4, dtype=np.float32), "Flat")
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    with lite_place(milvus_lite, tmp_path, FAISS) as place:
        params = {"scalars_url": f"{tmp_path}/c.parquet", "primary_key": "key", "verify": "full"}
        place.run(**params, on_bad_row="set_aside", max_bad_rows=len(bad))
        found = place.client.query("c", filter="key >= 0", output_fields=["*"], limit=100)
        assert sorted(row["key"] for row in found) == [0, 1, 2]
        for row in found:
            for name, texts in expected.items():
                text = texts[row["key"]]
                assert said(json.dumps(row[name])) == (said(text) if text else None), (row, name)
        aside = set_aside(place)
        for key, (name, _, reason) in enumerate(bad, 3):
            assert aside[key]["reason"].startswith(f"field {name!r}: the value")
            assert reason in aside[key]["reason"]


def test_json_lines(milvus_lite, tmp_path):
    good = [
        '{"n": 1, "x": 1, "j": {"a": 18446744073709551615}, "t": "a", "m": {"k": 1}}',
        '{"n": -9223372036854775808, "x": 0.1, "j": [-0.0, 1, 1.0], "t": "\\u00e4", "m": []}',
        '{"n": null, "x": 9007199254740992, "j": null, "t": "1e400", "m": [1e5]}',
    ]
    bad = [
        ('{"n": 123456789012345678901234567890, "x": 1, "t": ""}', "'n'", "123456789012345678901"),
        ('{"n": 9223372036854775808, "t": ""}', "'n'", "9223372036854775808 does not fit INT64"),
        ('{"x": 9007199254740993, "t": ""}', "'x'", "9007199254740993 does not fit DOUBLE"),
        ('{"x": 0.1234567890123456789, "t": ""}', "'x'", "0.1234567890123456789 does not fit"),
        ('{"x": 1e400, "t": ""}', "'x'", "1e400 does not fit DOUBLE"),
        ('{"x": NaN, "t": ""}', "'x'", "NaN does not fit DOUBLE"),
        ('{"t": "\\ud83d"}', "'t'", "\\ud83d"),
        ('{"t": "a", "t": "b"}', "'t'", "more than once"),
        ('{"j": {"a": [-123456789012345678901]}, "t": ""}', "'j'", "-123456789012345678901"),
        ('{"j": {"a": 1, "a": 1}, "t": ""}', "'j'", "key 'a' more than once"),
        ('{"j": [Infinity], "t": ""}', "'j'", "Infinity"),
        ('{"j": ["\\ude00"], "t": ""}', "'j'", "half of a surrogate pair"),
        ('{"m": 123456789012345678901, "t": ""}', "'m'", "123456789012345678901"),
        ('{"j": ' + "[" * 300 + "]" * 300 + ', "t": ""}', "'j'", "nested deeper"),
    ]
    lines = [*good, *(line for line, _, _ in bad)]
    write_index(tmp_path / "c.index", np.eye(len(lines) + 1, 4, dtype=np.float32), "Flat")
    raw = "\n".join(lines).encode() + b'\n{"t": "\xff"}\n'
    (tmp_path / "c.jsonl").write_bytes(raw)
    with lite_place(milvus_lite, tmp_path, FAISS) as place:
        params = {"scalars_url": f"{tmp_path}/c.jsonl", "primary_key": "key", "verify": "full"}
        place.run(**params, on_bad_row="set_aside", max_bad_rows=len(bad) + 1)
        found = place.client.query("c", filter="key >= 0", output_fields=["*"], limit=100)
        assert sorted(row["key"] for row in found) == list(range(len(good)))
        for row in found:
            line = json.loads(good[row["key"]])
            assert (row["n"], row["t"]) == (line["n"], line["t"])
            assert row["x"].hex() == float(line["x"]).hex()
            for name in ("j", "m"):
                assert said(json.dumps(row[name])) == said(json.dumps(line[name]))
        aside = set_aside(place)
        assert sorted(aside) == list(range(len(good), len(lines) + 1))
        for key, (_, field, reason) in enumerate(bad, len(good)):
            assert f"field {field}" in aside[key]["reason"] and reason in aside[key]["reason"]
