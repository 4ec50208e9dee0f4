"""What the real backups at hand lack: files built from the format's description."""

from __future__ import annotations

import base64
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pymilvus.grpc_gen.schema_pb2 import ScalarField, ValueField

from airlift.errors import AirliftError, Refused
from airlift.sources.backup import deltas, log_file, newest
from airlift.storage import open_storage
from samples.milvus_backups import (
    BackupCollection,
    BackupField,
    BackupSegment,
    vectors,
    write_backup,
)
from tests.unit.backup_reading import Read, source_of

ID = BackupField("id", "INT64")
V = BackupField("v", "FLOAT_VECTOR", {"dim": 4})
ROWS = 10


def floats(rows: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def segment(keys: Any, times: Any = None, **more: Any) -> BackupSegment:
    """Rows of `id` and `v`; v tells the row's key."""
    keys = list(keys)
    columns = {
        "id": pa.array(keys, pa.int64()),
        "v": vectors(np.repeat(np.float32([keys]).T, 4, axis=1)),
    }
    return BackupSegment(
        columns=columns | more.pop("columns", {}),
        times=[100] * len(keys) if times is None else times,
        **more,
    )


def keys_of(folder: Path, name: str = "c", **params: Any) -> list[int]:
    rows = Read(source_of(folder, **params)).rows[name]
    for row in rows:
        assert row["v"] == struct.pack("<f", row["id"]) * 4
    return [row["id"] for row in rows]


def backup(folder: Path, *segments: BackupSegment, **more: Any) -> Path:
    fields = (ID, V, *more.pop("fields", ()))
    return write_backup(folder / "b", [BackupCollection("c", fields, segments, **more)])


# --- types ---------------------------------------------------------------------------------------


def scalar_field(**data: Any) -> bytes:
    [(slot, items)] = data.items()
    found = ScalarField()
    getattr(found, slot).data.extend(items)
    return found.SerializeToString()


def sparse(*pairs: tuple[int, float]) -> bytes:
    return b"".join(struct.pack("<If", *pair) for pair in pairs)


HALVES = floats(ROWS, 8).astype(np.float16)
EVERY_TYPE: list[tuple[BackupField, pa.Array, list[Any]]] = [
    (BackupField("bool", "BOOL"), pa.array([True, False] * 5), [True, False] * 5),
    (BackupField("i8", "INT8"), pa.array(range(-5, 5), pa.int8()), list(range(-5, 5))),
    (BackupField("d", "DOUBLE"), pa.array([1e-300 * n for n in range(ROWS)]), None),
    (
        BackupField("half", "FLOAT16_VECTOR", {"dim": 8}),
        vectors(HALVES),
        [row.tobytes() for row in HALVES],
    ),
    (
        BackupField("brain", "BFLOAT16_VECTOR", {"dim": 8}),
        vectors(HALVES),
        [row.tobytes() for row in HALVES],
    ),
    (
        BackupField("small", "INT8_VECTOR", {"dim": 3}),
        vectors(np.arange(-15, 15, dtype=np.int8).reshape(ROWS, 3)),
        np.arange(-15, 15).reshape(ROWS, 3).tolist(),
    ),
    (
        BackupField("bits", "BINARY_VECTOR", {"dim": 16}),
        vectors(np.arange(20, dtype=np.uint8).reshape(ROWS, 2)),
        [bytes([2 * n, 2 * n + 1]) for n in range(ROWS)],
    ),
    (
        BackupField("sparse", "SPARSE_FLOAT_VECTOR"),
        pa.array([sparse(*((at, at + 0.5) for at in range(n))) for n in range(ROWS)]),
        [sparse(*((at, at + 0.5) for at in range(n))) for n in range(ROWS)],
    ),
    (
        BackupField("flags", "ARRAY", {"max_capacity": 9}, element="BOOL"),
        pa.array([scalar_field(bool_data=[True] * (n % 3)) for n in range(ROWS)]),
        [[True] * (n % 3) for n in range(ROWS)],
    ),
    (
        BackupField("shorts", "ARRAY", {"max_capacity": 9}, element="INT16"),
        pa.array([scalar_field(int_data=[-n, n]) for n in range(ROWS)]),
        [[-n, n] for n in range(ROWS)],
    ),
    (
        BackupField("doubles", "ARRAY", {"max_capacity": 9}, element="DOUBLE"),
        pa.array([b"" if n % 2 else scalar_field(double_data=[n / 7]) for n in range(ROWS)]),
        [[] if n % 2 else [n / 7] for n in range(ROWS)],
    ),
]
NULLABLE = [
    ("t", "VARCHAR", {"max_length": 9}, pa.array(["a", None] * 5), ["a", None] * 5),
    ("n", "INT32", {}, pa.array([None, 7] * 5, pa.int32()), [None, 7] * 5),
    ("j", "JSON", {}, pa.array([b'{"b":1,"a":[]}', None] * 5), [{"a": [], "b": 1}, None] * 5),
    ("nv", "FLOAT_VECTOR", {"dim": 2}, pa.array([bytes(8), None] * 5), [[0.0, 0.0], None] * 5),
    ("nb", "BINARY_VECTOR", {"dim": 8}, pa.array([b"x", None] * 5), [b"x", None] * 5),
]
EVERY_TYPE += [
    (BackupField(name, kind, params, more={"nullable": True}), stored, values)
    for name, kind, params, stored, values in NULLABLE
]
PACKED = (("RowID", "Timestamp", "id", "bool", "i8", "d"), ("t", "n", "$meta"))


@pytest.mark.parametrize("packed", [(), PACKED], ids=["storage v1", "storage v2"])
@pytest.mark.parametrize("logs", [1, 3])
def test_every_type_nullable_or_not(tmp_path, packed, logs):
    columns = {field.name: stored for field, stored, _ in EVERY_TYPE}
    columns["$meta"] = pa.array([b'{"k": %d}' % n for n in range(ROWS)])
    fields = [field for field, _, _ in EVERY_TYPE]
    # A row in the middle is deleted: nulls and offsets must stay where they belong.
    one = segment(range(ROWS), columns=columns, packed=packed, logs=logs, deletes=[(4, 200)])
    [rows] = Read(source_of(backup(tmp_path, one, fields=fields, dynamic=True))).rows.values()
    assert [row["id"] for row in rows] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    for field, stored, values in EVERY_TYPE:
        wanted = stored.to_pylist() if values is None else values
        found = [row[field.name] for row in rows]
        assert found == [wanted[row["id"]] for row in rows], field.name
    assert [row["$meta"] for row in rows] == [{"k": row["id"]} for row in rows]


WRONG = [
    (BackupField("f", "INT64"), pa.array([1] * 3, pa.int32()), "stored as int32"),
    (BackupField("f", "JSON"), pa.array([1.0, 2.0, 3.0]), "stored as double"),
    (BackupField("f", "ARRAY", element="INT64"), pa.array([b"\xff"] * 3), "is no array"),
    (
        BackupField("f", "ARRAY", element="INT64"),
        pa.array([scalar_field(string_data=["x"])] * 3),
        "an array of string_data, expected long_data",
    ),
    (
        BackupField("f", "ARRAY", element="INT8"),
        pa.array([scalar_field(int_data=[300])] * 3),
        "300",
    ),
    (BackupField("f", "FLOAT_VECTOR", {"dim": 3}), vectors(floats(3)), "3 dimensions is stored"),
    (BackupField("f", "SPARSE_FLOAT_VECTOR"), pa.array([b"", b"1234567", b""]), "of 7 bytes"),
    (
        BackupField("f", "SPARSE_FLOAT_VECTOR"),
        pa.array([sparse((2, 1), (2, 1))] * 3),
        "indices don't rise",
    ),
    (BackupField("f", "SPARSE_FLOAT_VECTOR"), pa.array([sparse((2, np.nan))] * 3), "with NaN"),
    (
        BackupField("f", "FLOAT_VECTOR", {"dim": 2}, more={"nullable": True}),
        pa.array([None, bytes(8), bytes(4)]),
        "expected 8",
    ),
    (
        BackupField("f", "VARCHAR", {"max_length": 9}),
        pa.array([b"\xff\xfe"] * 3).view(pa.string()),
        "UTF8",
    ),
]


@pytest.mark.parametrize(("field", "stored", "told"), WRONG, ids=[told for *_, told in WRONG])
def test_values_that_are_not_of_their_type_are_told_with_file_and_field(
    tmp_path, field, stored, told
):
    one = segment(range(3), columns={"f": stored})
    source = source_of(backup(tmp_path, one, fields=[field]))
    with pytest.raises(AirliftError, match="field 'f'") as caught:
        Read(source)
    assert told in str(caught.value) and "insert_log" in str(caught.value)


def test_fields_that_were_added_later_are_null_or_their_default(tmp_path):
    value = ValueField(long_data=42).SerializeToString()
    encoded = base64.b64encode(value).decode()
    fields = [
        BackupField("new", "INT64", more={"nullable": True}),
        BackupField("filled", "INT64", more={"nullable": True, "default_value_base64": encoded}),
    ]
    older = segment([1, 2])
    both = {"new": pa.array([7, None]), "filled": pa.array([None, 8])}
    newer = segment([3, 4], columns=both)
    packed = segment([5], packed=(("RowID", "Timestamp", "id"),))
    read = Read(source_of(backup(tmp_path, older, newer, packed, fields=fields, dynamic=True)))
    schema = read.collections["c"].collection_schema
    assert schema.fields[3].default == 42
    [rows] = read.rows.values()
    assert [row["new"] for row in rows] == [None, None, 7, None, None]
    assert [row["filled"] for row in rows] == [42, 42, 42, 8, 42]
    assert [row["$meta"] for row in rows] == [{}] * 5


def test_a_field_that_must_be_there_and_is_not(tmp_path):
    source = source_of(backup(tmp_path, segment([1]), fields=[BackupField("f", "INT64")]))
    assert any("no log files of the field 'f'" in reason for reason in source.check())
    packed = segment([1], packed=(("RowID", "Timestamp", "id"),))
    source = source_of(backup(tmp_path / "v2", packed, fields=[BackupField("f", "INT64")]))
    with pytest.raises(AirliftError, match="no logs of the field 'f'"):
        Read(source)


def test_a_packed_field_that_the_schema_lacks(tmp_path):
    extra = {"x": pa.array([1]), "y": pa.array([1])}
    one = segment([1], columns=extra, packed=(("RowID", "Timestamp", "id"),))
    fields = [BackupField("x", "INT64"), BackupField("y", "INT64")]
    folder = backup(tmp_path, one, fields=fields)
    path = folder / "meta" / "full_meta.json"
    whole = path.read_text()
    for name, told in (("y", "lacks the field 103"), ("xy", "lacks the fields [102, 103]")):
        text = whole
        for letter, number in (("x", 102), ("y", 103)):
            if letter in name:
                start = text.index(f'{{"fieldID": {number}')
                text = text[:start].rstrip(", ") + text[text.index("}", start) + 1 :]
        path.write_text(text)
        with pytest.raises(AirliftError, match=told.replace("[", r"\[").replace("]", r"\]")):
            Read(source_of(folder))


def test_functions_come_along_and_what_they_make_is_not_read(tmp_path):
    fields = [
        BackupField(
            "text", "VARCHAR", {"max_length": 20, "enable_analyzer": True, "mmap.enabled": True}
        ),
        BackupField("made", "SPARSE_FLOAT_VECTOR", more={"is_function_output": True}),
    ]
    columns = {"text": pa.array(["a b", "c"]), "made": pa.array([sparse((1, 0.5)), sparse()])}
    folder = backup(tmp_path, segment([1, 2], columns=columns), fields=fields)
    path = folder / "meta" / "full_meta.json"
    told = {"name": "bm25", "type": 1, "params": [{"key": "k1", "value": "1.2"}]}
    told |= {"input_field_names": ["text"], "output_field_names": ["made"]}
    meta = json.loads(path.read_text())
    meta["collection_backups"][0]["schema"]["functions"] = [told]
    path.write_text(json.dumps(meta))
    read = Read(source_of(folder))
    schema = read.collections["c"].collection_schema
    [function] = schema.functions
    assert (function.type, function.inputs, function.outputs) == ("BM25", ("text",), ("made",))
    made = schema.fields[3]
    assert (made.is_function_output, made.metric_type) == (True, "BM25")
    assert schema.fields[2].params == {"enable_analyzer": "True", "mmap_enabled": True}
    assert read.rows["c"][0] == {
        "partition": "_default",
        "id": 1,
        "v": struct.pack("<f", 1) * 4,
        "text": "a b",
    }


# --- deletes -------------------------------------------------------------------------------------

FORMS = ["json", "columns", "commas", "parquet"]


@pytest.mark.parametrize("form", FORMS)
def test_a_delete_hits_rows_before_it_strictly(tmp_path, form):
    one = segment(
        [1, 2, 3, 4, 4, 5, 5],
        [100, 100, 100, 100, 200, 100, 150],
        deletes=[(2, 101), (3, 100), (4, 150), (5, 99), (5, 120), (5, 160), (5, 110), (9, 500)],
        deltas=form,
    )
    assert keys_of(backup(tmp_path, one)) == [1, 3, 4]


def test_a_segments_own_deletes_hit_no_other(tmp_path):
    one = segment([1, 2], deletes=[(3, 200)])
    assert keys_of(backup(tmp_path, one, segment([3]))) == [1, 2, 3]


@pytest.mark.parametrize("form", FORMS)
def test_deletes_of_level_0_hit_their_partition(tmp_path, form):
    level_0 = BackupSegment(deletes=[(1, 200), (2, 200), (3, 100)], level_0=True, deltas=form)
    folder = backup(
        tmp_path,
        level_0,
        segment([1, 10]),
        segment([2, 3]),
        segment([2], [300]),
        segment([1], partition="other"),
    )
    assert keys_of(folder) == [1, 2, 3, 10]


def test_deletes_of_level_0_of_all_partitions_hit_all(tmp_path):
    level_0 = BackupSegment(partition="", deletes=[(1, 200)], level_0=True)
    folder = backup(tmp_path, segment([1, 2]), segment([1, 3], partition="other"), level_0)
    read = Read(source_of(folder))
    assert [row["id"] for row in read.rows["c"]] == [2, 3]
    assert read.collections["c"].deleted == 2


def test_deletes_hit_the_partition_that_rows_were_in_though_a_key_decides_now(tmp_path):
    fields = [BackupField("tenant", "INT64", more={"is_partition_key": True})]
    tenants = {"tenant": pa.array([1, 1])}
    folder = backup(
        tmp_path,
        BackupSegment(partition="_default_0", deletes=[(1, 200)], level_0=True),
        segment([1, 2], partition="_default_0", columns=tenants),
        segment([1, 3], partition="_default_1", columns=tenants),
        fields=fields,
    )
    read = Read(source_of(folder))
    assert [row["id"] for row in read.rows["c"]] == [1, 2, 3]
    assert read.collections["c"].collection_schema.partitions == ()


def test_a_segment_without_rows_and_without_the_mark_counts_as_of_level_0(tmp_path):
    folder = backup(tmp_path, BackupSegment(deletes=[(1, 200)]), segment([1, 2]))
    assert keys_of(folder) == [2]


@pytest.mark.parametrize("form", ["json", "columns"])
def test_deletes_of_texts(tmp_path, form):
    key = BackupField("id", "VARCHAR", {"max_length": 20})
    names = ["ä", 'with "quotes"', "b", "b", ""]
    one = BackupSegment(
        columns={"id": pa.array(names), "v": vectors(floats(5))},
        times=[100, 100, 100, 200, 100],
        deletes=[('with "quotes"', 200), ("b", 150), ("", 100), ("c", 300)],
        deltas=form,
    )
    folder = write_backup(tmp_path / "b", [BackupCollection("c", [key, V], [one])])
    assert [row["id"] for row in Read(source_of(folder)).rows["c"]] == ["", "b", "ä"]


def test_more_deletes_than_are_held_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(deltas, "_BLOCK_KEYS", 7)
    monkeypatch.setattr(deltas, "_BATCH_ROWS", 3)
    gone = range(0, 200, 3)
    level_0 = BackupSegment(deletes=[(key, 200) for key in gone], level_0=True)
    own = segment(range(200, 240), deletes=[(key, 200) for key in range(200, 239)])
    folder = backup(tmp_path, segment(range(100)), segment(range(100, 200)), own, level_0)
    assert keys_of(folder) == [*sorted({*range(200)} - {*gone}), 239]


@pytest.mark.parametrize(
    ("deletes", "told"), [([("x", 1)], "no delete of a key"), ([(1, None)], "no delete of a key")]
)
def test_wrong_deletes(tmp_path, deletes, told):
    with pytest.raises(AirliftError, match=told) as caught:
        keys_of(backup(tmp_path, segment([1], deletes=deletes)))
    assert "delta_log" in str(caught.value)


# --- rows that share a key, and several backups --------------------------------------------------


def test_the_newest_of_rows_that_share_a_key(tmp_path):
    folder = backup(
        tmp_path,
        segment([1, 2, 2, 3], [100, 150, 120, 500]),
        segment([1, 3, 4], [200, 400, 100], deletes=[(1, 300)]),
    )
    read = Read(source_of(folder, on_duplicate_id="keep_one"))
    one = read.collections["c"]
    assert [row["id"] for row in read.rows["c"]] == [1, 2, 3, 4]
    assert (one.rows, one.deleted, one.left_out, one.keys_unique) == (7, 1, 2, True)
    assert any("2 keys stand in several live rows" in note for note in one.notes)
    # Without it the step that converts looks at all keys, and refuses.
    assert not Read(source_of(folder)).collections["c"].keys_unique


def test_the_newest_of_texts_that_share(tmp_path, monkeypatch):
    monkeypatch.setattr(newest, "_BUCKET_ROWS", 2)
    key = BackupField("id", "VARCHAR", {"max_length": 20})
    names = [f"key {n % 7}" for n in range(30)]
    times = [1000 + n * 37 % 30 for n in range(30)]
    one = BackupSegment(columns={"id": pa.array(names), "v": vectors(floats(30))}, times=times)
    folder = write_backup(tmp_path / "b", [BackupCollection("c", [key, V], [one])])
    rows = Read(source_of(folder, on_duplicate_id="keep_one")).rows["c"]
    in_time = sorted(range(30), key=lambda at: times[at])
    last = {names[at]: floats(30)[at].tobytes() for at in in_time}
    assert {row["id"]: row["v"] for row in rows} == last
    assert len(rows) == 7


def two_backups(folder: Path) -> Path:
    """A base, and a later one that has one segment of it still, with more deletes."""
    same = segment([1, 2, 3], id=77)
    base = [same, segment([4, 5, 6]), segment([7], partition="gone")]
    later = [
        segment([1, 2, 3], id=77, deletes=[(2, 150), (4, 150)]),
        segment([5, 8], [300, 300]),
        segment([9], partition="new"),
    ]
    for name, segments in (("base", base), ("later", later)):
        write_backup(folder / name, [BackupCollection("c", (ID, V), segments)])
    return folder


def test_of_several_backups_the_newest_row_of_each_key(tmp_path):
    read = Read(source_of(two_backups(tmp_path), backup_names=["base", "later"]))
    rows = {row["id"]: row["partition"] for row in read.rows["c"]}
    assert rows == dict.fromkeys([1, 3, 5, 6, 8], "_default") | {7: "gone", 9: "new"}
    one = read.collections["c"]
    assert one.collection_schema.partitions == ("gone", "new")
    # 3 + 3 + 1 + 2 + 1 rows; 2 and 4 were deleted later; of two rows with the key 5 one stays.
    assert (one.rows, one.deleted, one.left_out) == (10, 2, 1)
    assert one.keys_unique


def test_several_backups_must_have_the_same_fields(tmp_path):
    two_backups(tmp_path)
    path = tmp_path / "base" / "meta" / "full_meta.json"
    path.write_text(path.read_text().replace('"value": "4"', '"value": "8"'))
    [reason] = source_of(tmp_path, backup_names=["base", "later"]).check()
    assert "the fields ['v'] of the backup 'base' are others" in reason


def test_names_of_backups_are_checked():
    for names, told in ((["a", "a"], "named twice"), (["../x"], "without /")):
        with pytest.raises(ValueError, match=told):
            source_of("/tmp", backup_names=names)


def test_databases_come_into_the_name_where_they_differ(tmp_path):
    def one(name: str, database: str) -> BackupCollection:
        return BackupCollection(name, (ID, V), [segment([1])], database=database)

    alike = write_backup(tmp_path / "one", [one("a", "sales"), one("b", "sales")])
    assert set(Read(source_of(alike)).rows) == {"a", "b"}
    differ = write_backup(tmp_path / "two", [one("a", "sales"), one("a", "")])
    read = Read(source_of(differ))
    assert set(read.rows) == {"sales.a", "default.a"}
    schema = read.collections["sales.a"].collection_schema
    assert (schema.database, schema.plain_name) == ("sales", "a")


# --- files ---------------------------------------------------------------------------------------


def test_large_logs_are_read_bit_by_bit(tmp_path, monkeypatch):
    folder = backup(tmp_path, segment(range(5000), logs=2, deletes=[(17, 200)]))
    whole = keys_of(folder)
    monkeypatch.setattr(log_file, "_WHOLE_LOCAL", 0)
    monkeypatch.setattr(log_file, "_BIT_LOCAL", 512)
    assert keys_of(folder) == whole == [n for n in range(5000) if n != 17]


def test_files_to_copy_are_enough_to_read_from(tmp_path):
    folder = two_backups(tmp_path / "there")
    source = source_of(folder, backup_names=["base", "later"])
    source.check()
    collections = source.describe()
    for file in source.files(collections):
        target = tmp_path / "copy" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / file.path, target)
        assert target.stat().st_size == file.size
    source.read_from(open_storage(str(tmp_path / "copy")))
    shutil.rmtree(folder)
    [one] = collections
    rows = [row for chunk in source.cut(one, 1 << 20) for row in source.read(chunk)]
    assert sum(batch.num_rows for batch in rows) == one.live == 7


def test_a_collection_of_many_rows_is_cut_at_logs(tmp_path):
    folder = backup(tmp_path, segment(range(1000), logs=10), segment(range(1000, 1010)))
    read = Read(source_of(folder), 24 * 250)
    assert [chunk.rows for chunk in read.chunks["c"]] == [200, 200, 200, 200, 210]
    with pytest.raises(Refused):
        Read(source_of(folder, collections=["nope"]))
