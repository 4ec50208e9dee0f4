"""Ids and scalar fields beside a Faiss index, and indexes of several files."""

from __future__ import annotations

import datetime
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from airlift.datatypes import DataType
from airlift.errors import AirliftError
from airlift.sources.faiss import json_rows, scalar_files
from airlift.sources.faiss.places import FileRef, collection_name
from airlift.storage import open_storage
from samples.faiss_indexes import IndexSpec, IndexTruth, write_faiss, write_index
from tests.unit.faiss_reading import Read, described, source_of

DIM = 8


def write(folder: Path, spec: IndexSpec) -> IndexTruth:
    return write_faiss(folder, [spec])[spec.name]


def holds(got: Read, truth: IndexTruth) -> None:
    order = np.argsort(truth.ids)
    assert np.array_equal(np.sort(got.ids), truth.ids[order])
    assert got.vectors().tobytes() == truth.vectors[order].tobytes()
    expected = {name: [values[n] for n in order] for name, values in truth.scalars.items()}
    assert got.scalars() == expected


def refusal(folder: Path, **params: Any) -> str:
    with pytest.raises(AirliftError) as caught:
        Read(source_of(folder, **params))
    return str(caught.value)


def vectors(rows: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, DIM), dtype=np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scalar_files, json_rows):
        monkeypatch.setattr(module, "BLOCK_ROWS", 100)


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat", "HNSW8,Flat"])
def test_ids_from_a_file_in_the_order_of_adding(tmp_path: Path, factory: str) -> None:
    truth = write(tmp_path, IndexSpec("songs", 500, factory, DIM, ids_file=True))
    holds(Read(source_of(tmp_path, ids_url=f"{tmp_path}/songs_ids.npy"), 5_000), truth)


def test_ids_of_other_widths(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(5), "Flat")
    url = f"{tmp_path}/ids.npy"
    for dtype in ("<i4", "<u2", ">i8", "<u8"):
        np.save(tmp_path / "ids.npy", np.array([5, 3, 9, 1, 0], dtype))
        assert Read(source_of(tmp_path, ids_url=url)).ids.tolist() == [5, 3, 9, 1, 0]


def test_ids_that_are_none(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(5), "Flat")
    for ids, told in [
        (np.arange(4), "holds 4 ids, the index 5 rows"),
        (np.arange(5.0), "ids are whole numbers"),
        (np.arange(10).reshape(5, 2), "expected one value for each row"),
        (np.array([1, 2, 2, 3, 3]), "2 ids stand in several rows (2 rows too many), such as 2, 3"),
        (np.array([1, 2, 4, 3, 1 << 63], np.uint64), "INT64 ends at 2^63 - 1"),
        (np.array([{}] * 5), "no Python objects"),
    ]:
        np.save(tmp_path / "ids.npy", ids, allow_pickle=True)
        assert told in refusal(tmp_path, ids_url=f"{tmp_path}/ids.npy")
    whole = (tmp_path / "ids.npy").read_bytes()
    np.save(tmp_path / "ids.npy", np.arange(5))
    data = (tmp_path / "ids.npy").read_bytes()
    for broken in (data[:-1], data[:40], b"", b"PK" * 50, data + b"x", whole[:90]):
        (tmp_path / "ids.npy").write_bytes(broken)
        assert "ids.npy" in refusal(tmp_path, ids_url=f"{tmp_path}/ids.npy")


def test_ids_that_repeat_in_the_index(tmp_path: Path) -> None:
    for factory in ("IDMap,Flat", "IVF4,Flat"):
        ids = np.arange(200, dtype=np.int64) % 198
        write_index(tmp_path / "songs.index", vectors(200), factory, ids=ids)
        told = refusal(tmp_path)
        assert "2 ids stand in several rows" in told and "auto_id" in told
        got = Read(source_of(tmp_path, mapping={"songs": {"auto_id": True}}))
        assert len(got.ids) == 200


def test_ids_of_lists_that_are_no_places(tmp_path: Path) -> None:
    ids = np.arange(100, dtype=np.int64) + 1
    write_index(tmp_path / "songs.index", vectors(100), "IVF4,Flat", ids=ids)
    np.save(tmp_path / "ids.npy", ids)
    told = refusal(tmp_path, ids_url=f"{tmp_path}/ids.npy")
    assert "the index has the id 100, but ids_url has rows 0 to 99" in told


# --- scalars --------------------------------------------------------------------------------------

SUFFIX = {"parquet": ".parquet", "jsonl": ".jsonl", "npy": ""}


@pytest.mark.parametrize("joined", [False, True], ids=["in order", "joined"])
@pytest.mark.parametrize("form", list(SUFFIX))
@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat"])
def test_scalars(tmp_path: Path, factory: str, form: str, joined: bool) -> None:
    spec = IndexSpec(
        "songs",
        500,
        factory,
        DIM,
        scalars=form,
        joined=joined,
        own_ids=joined and factory != "Flat",
    )
    truth = write(tmp_path, spec)
    url = f"{tmp_path}/songs{SUFFIX[form]}"
    params = {"scalars_url": url, "scalars_id_column": "song" if joined else ""}
    got = Read(source_of(tmp_path, **params), 5_000)
    holds(got, truth)
    types = {field.name: (field.type, field.nullable) for field in got.schema.fields[2:]}
    assert types == {
        "year": (DataType.INT64, False),
        "score": (DataType.DOUBLE, False),
        "genre": (DataType.VARCHAR, False),
        "live": (DataType.BOOL, False),
    }


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_missing_values_make_a_field_nullable(tmp_path: Path, form: str) -> None:
    truth = write(tmp_path, IndexSpec("songs", 300, dim=DIM, scalars=form, nulls=True))
    got = Read(source_of(tmp_path, scalars_url=f"{tmp_path}/songs.{form}"))
    holds(got, truth)
    assert [field.name for field in got.schema.fields if field.nullable] == ["genre"]


def test_ids_and_scalars_from_files_joined(tmp_path: Path) -> None:
    spec = IndexSpec("songs", 400, "IVF8,Flat", DIM, ids_file=True, scalars="parquet", joined=True)
    truth = write(tmp_path, spec)
    got = Read(
        source_of(
            tmp_path,
            ids_url=f"{tmp_path}/songs_ids.npy",
            scalars_url=f"{tmp_path}/songs.parquet",
            scalars_id_column="song",
        )
    )
    holds(got, truth)


def test_ids_that_the_scalars_do_not_have(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(100), "Flat")
    table = pa.table({"song": [*range(3, 100), 500, 501], "year": [*range(1903, 2002)]})
    pq.write_table(table, tmp_path / "songs.parquet")
    params = {"scalars_url": f"{tmp_path}/songs.parquet", "scalars_id_column": "song"}
    told = refusal(tmp_path, **params)
    assert "3 vectors have ids that the scalars don't have, such as 0, 1, 2" in told
    got = Read(source_of(tmp_path, on_missing_scalars="null", **params))
    assert got.scalars()["year"] == [None, None, None, *range(1903, 2000)]
    assert got.schema.fields[2].nullable
    assert "3 vectors have ids" in got.notes and "2 rows of the scalars have no vector" in got.notes


def test_scalars_that_do_not_fit(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(3), "Flat")
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"year": [1, 2]}, "", "holds 2 rows, the index 3"),
        ({"song": [1, 2, 2], "year": [1, 2, 3]}, "song", "1 ids stand in several rows"),
        ({"song": ["1", "2", "3"]}, "song", "holds string; expected the vectors' whole numbers"),
        ({"song": [1, 2, None]}, "song", "1 nulls"),
        ({"year": [1, 2, 3]}, "song", "has no column 'song'; it has year"),
        ({"vector": [1, 2, 3]}, "", "columns ['vector'], as the index's own fields"),
        ({"id": [1.5, 2.5, 3.5]}, "", "primary_key 'id' holds DOUBLE; expected texts or integers"),
        ({"id": ["a", None, "c"]}, "", "primary_key 'id': each row needs a value"),
        ({"tags": [[1, None], [], None]}, "", "a list holds null"),
        ({"n": pa.array([1, 2, 1 << 63], pa.uint64())}, "", "'n'"),
        ({"at": [datetime.datetime(2020, 1, 1, 0, 0, 0, 5), None, None]}, "", "'at'"),
    ]
    for columns, id_column, told in cases:
        pq.write_table(pa.table(columns), tmp_path / "s.parquet")
        params = {"scalars_url": f"{tmp_path}/s.parquet", "scalars_id_column": id_column}
        assert told in refusal(tmp_path, **params), told


def test_every_type_of_a_parquet_column(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(2), "Flat")
    day = datetime.date(2020, 2, 29)
    columns = {
        "bool": pa.array([True, False]),
        "i8": pa.array([-128, 127], pa.int8()),
        "i16": pa.array([-1, 2], pa.int16()),
        "i32": pa.array([-1, 2], pa.int32()),
        "u8": pa.array([0, 255], pa.uint8()),
        "u16": pa.array([0, 65535], pa.uint16()),
        "u32": pa.array([0, (1 << 32) - 1], pa.uint32()),
        "u64": pa.array([0, (1 << 63) - 1], pa.uint64()),
        "f16": pa.array(np.array([0.5, -2], np.float16)),
        "f32": pa.array([0.1, 2], pa.float32()),
        "f64": pa.array([0.1, 2.0]),
        "text": pa.array(["a", "ß\n"]),
        "large": pa.array(["a", ""], pa.large_string()),
        "coded": pa.array(["x", "y"]).dictionary_encode(),
        "day": pa.array([day, day]),
        "at": pa.array([1, 2], pa.timestamp("ms", "UTC")),
        "tags": pa.array([["a"], []]),
        "numbers": pa.array([[1], [2, 3]], pa.list_(pa.uint8())),
        "nested": pa.array([{"b": 1, "a": [None]}, None]),
        "lists": pa.array([[[1]], [[]]]),
    }
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    got = Read(source_of(tmp_path, scalars_url=f"{tmp_path}/s.parquet"))
    fields = {one.name: one for one in got.schema.fields[2:]}
    kinds = {name: str(one.element_type or one.type) for name, one in fields.items()}
    expected = """
        BOOL INT8 INT16 INT32 INT16 INT32 INT64 INT64 FLOAT FLOAT DOUBLE VARCHAR VARCHAR VARCHAR
        INT64 INT64 VARCHAR INT16 JSON JSON
    """
    assert list(kinds.values()) == expected.split()
    rows = got.scalars()
    assert rows["u8"] == [0, 255] and rows["u64"] == [0, (1 << 63) - 1]
    assert rows["day"] == [18_321 * 86_400_000] * 2 and rows["at"] == [1, 2]
    assert rows["tags"] == [["a"], []] and rows["numbers"] == [[1], [2, 3]]
    assert rows["nested"] == ['{"a":[null],"b":1}', None] and rows["lists"] == ["[[1]]", "[[]]"]
    assert fields["nested"].nullable and not fields["lists"].nullable


ODD_COLUMNS: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "all null": (pa.nulls(2), "VARCHAR", [None, None]),
    "decimal": (
        pa.array([Decimal("12.30"), None], pa.decimal128(9, 2)),
        "VARCHAR",
        ["12.30", None],
    ),
    "decimal of 38 digits": (
        pa.array([Decimal(-(10**37)), Decimal(1)], pa.decimal128(38, 0)),
        "VARCHAR",
        ["-1" + "0" * 37, "1"],
    ),
    "decimal of 76 digits": (
        pa.array([Decimal("0.1"), Decimal("-7")], pa.decimal256(76, 1)),
        "VARCHAR",
        ["0.1", "-7.0"],
    ),
    "whole decimal": (
        pa.array([Decimal(10**18 - 1), Decimal(-5)], pa.decimal128(18, 0)),
        "INT64",
        [10**18 - 1, -5],
    ),
    "binary": (pa.array([b"\xff\0", b""], pa.binary()), "VARCHAR", ["/wA=", ""]),
    "large binary": (pa.array([b"\xff", None], pa.large_binary()), "VARCHAR", ["/w==", None]),
    "uuid": (
        pa.array([bytes(16), bytes(range(16))], pa.binary(16)),
        "VARCHAR",
        ["AAAAAAAAAAAAAAAAAAAAAA==", "AAECAwQFBgcICQoLDA0ODw=="],
    ),
    "time in seconds": (
        pa.array([datetime.time(1, 2, 3), None], pa.time32("s")),
        "VARCHAR",
        ["01:02:03.000", None],
    ),
    "time in nanoseconds": (
        pa.array([1, 86_399_999_999_999], pa.time64("ns")),
        "VARCHAR",
        ["00:00:00.000000001", "23:59:59.999999999"],
    ),
    "duration": (pa.array([-1, 2**40], pa.duration("us")), "INT64", [-1, 2**40]),
}


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_a_parquet_column_without_a_type_of_milvus_has_a_rule(tmp_path: Path, kind: str) -> None:
    column, expected, values = ODD_COLUMNS[kind]
    write_index(tmp_path / "songs.index", vectors(2), "Flat")
    pq.write_table(pa.table({"x": column}), tmp_path / "s.parquet")
    got = Read(source_of(tmp_path, scalars_url=f"{tmp_path}/s.parquet"))
    [field] = got.schema.fields[2:]
    assert (field.type, field.nullable) == (expected, None in values)
    assert got.scalars()["x"] == values


REFUSED_COLUMNS = {
    "beyond INT64": pa.array([1 << 63, 0], pa.uint64()),
    "finer than a millisecond": pa.array([1, 2], pa.timestamp("ns")),
    "a null in a list": pa.array([[1, None], []], pa.list_(pa.int32())),
    "binary in a list": pa.array([[b"\xff"], []], pa.list_(pa.binary())),
    "binary in a struct": pa.array([{"a": b"\xff"}, None]),
}


@pytest.mark.parametrize("how", ["exclude", "include"])
@pytest.mark.parametrize("kind", REFUSED_COLUMNS)
def test_leaving_a_parquet_column_out_always_helps(tmp_path: Path, kind: str, how: str) -> None:
    write_index(tmp_path / "songs.index", vectors(2), "Flat")
    columns = {"x": REFUSED_COLUMNS[kind], "y": pa.array(["a", "b"])}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")
    given = {"scalars_url": f"{tmp_path}/s.parquet"}
    assert "'x'" in refusal(tmp_path, **given)
    mapping = {"exclude": ["x"]} if how == "exclude" else {"include": ["id", "vector", "y"]}
    got = Read(source_of(tmp_path, **given, mapping={"songs": mapping}))
    assert got.scalars() == {"x": [None, None], "y": ["a", "b"]}


def test_json_lines_of_mixed_values(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(4), "Flat")
    rows = [
        {"n": 1, "x": 1, "mixed": 1, "tags": ["a"]},
        {"n": None, "x": 2.5, "mixed": "one", "tags": {"k": None}},
        {"x": -1, "mixed": [1], "late": "here", "tags": []},
        {"n": 1 << 60, "x": 3, "mixed": None, "late": ""},
    ]
    text = b"\n\n".join(orjson.dumps(row) for row in rows) + b"\n"
    (tmp_path / "s.jsonl").write_bytes(text)
    got = Read(source_of(tmp_path, scalars_url=f"{tmp_path}/s.jsonl"))
    assert got.scalars() == {
        "n": [1, None, None, 1 << 60],
        "x": [1.0, 2.5, -1.0, 3.0],
        "mixed": ["1", '"one"', "[1]", None],
        "tags": ['["a"]', '{"k":null}', "[]", None],
        "late": [None, None, "here", ""],
    }
    for line, told in [
        (b"[1]", "s.jsonl:1: expected an object"),
        (b'{"n": 1', "s.jsonl:1 is no JSON"),
        (b'{"n": 01}', "s.jsonl:1 is no JSON"),
        (b'{"\\ud800": 1}', "s.jsonl:1: the key '\\ud800' is no valid Unicode"),
    ]:
        (tmp_path / "s.jsonl").write_bytes(line + b"\n")
        assert told in refusal(tmp_path, scalars_url=f"{tmp_path}/s.jsonl")


def test_json_lines_of_whole_numbers_above_2_to_the_53rd_beside_fractions(tmp_path: Path) -> None:
    """Those that a double holds: the file is not damaged."""
    write_index(tmp_path / "songs.index", vectors(5), "Flat")
    numbers = [1.5, 1 << 60, -(1 << 62), None, (1 << 53) + 2]
    text = b"".join(orjson.dumps({"x": number}) + b"\n" for number in numbers)
    (tmp_path / "s.jsonl").write_bytes(text)
    got = Read(source_of(tmp_path, scalars_url=f"{tmp_path}/s.jsonl"))
    assert got.scalars() == {"x": [1.5, 2.0**60, -(2.0**62), None, 2.0**53 + 2]}


def test_a_scalars_file_that_is_damaged(tmp_path: Path) -> None:
    spec = IndexSpec("songs", 300, dim=DIM, scalars="parquet")
    write(tmp_path, spec)
    path = tmp_path / "songs.parquet"
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], b"PAR1", b"hello", b""):
        path.write_bytes(broken)
        assert "songs.parquet" in refusal(tmp_path, scalars_url=str(path))


# --- several files --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_rows", [1 << 20, 130, 7])
@pytest.mark.parametrize("own", [True, False], ids=["own ids", "positions"])
def test_shards_make_one_collection(tmp_path: Path, own: bool, chunk_rows: int) -> None:
    factory = "IDMap,Flat" if own else "Flat"
    spec = IndexSpec("songs", 500, factory, DIM, shards=12, own_ids=own, scalars="jsonl")
    truth = write(tmp_path, spec)
    source = source_of(
        tmp_path, index_url=f"{tmp_path}/songs-*.index", scalars_url=f"{tmp_path}/songs.jsonl"
    )
    got = Read(source, chunk_rows * (8 + 4 * DIM + 64 * 4))
    assert got.collection.name == "songs"
    holds(got, truth)
    # In the order of their numbers: songs-2 comes before songs-10.
    assert own or got.ids.tolist() == list(range(500))
    rows = [chunk.rows for chunk in got.chunks]
    assert max(rows) - min(rows) <= 1


def test_shards_that_do_not_belong_together(tmp_path: Path) -> None:
    write_index(tmp_path / "a.index", vectors(5), "Flat")
    for factory, metric, told in [
        ("Flat", "IP", "IP"),
        ("IDMap,Flat", "L2", "ids of its own"),
        ("SQfp16", "L2", "FLOAT16_VECTOR"),
    ]:
        ids = np.arange(5, 10) if "IDMap" in factory else None
        write_index(tmp_path / "b.index", vectors(5), factory, metric, ids)
        [reason] = source_of(tmp_path, index_url=f"{tmp_path}/?.index").check()
        assert "can't make one collection" in reason and told in reason
    write_index(tmp_path / "b.index", vectors(5)[:, :4].copy(), "Flat")
    urls = f"{tmp_path}/a.index, {tmp_path}/b.index"
    [reason] = source_of(tmp_path, index_url=urls).check()
    assert "dimension 4" in reason


def test_every_damaged_shard_is_told(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"x{number}.index").write_bytes(b"IxF2")
    assert len(source_of(tmp_path, index_url=f"{tmp_path}/x*.index").check()) == 3


def test_addresses_that_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"")
    for url, told in [
        (f"{tmp_path}/none.index", "names no file"),
        (f"{tmp_path}/*.faiss", "names no file"),
        (f"{tmp_path}/folder", "is a folder; name its files"),
        ("songs.index", "not an absolute path"),
    ]:
        [reason] = source_of(tmp_path, index_url=url).check()
        assert told in reason, url
    write_index(tmp_path / "songs.index", vectors(5), "Flat")
    [reason] = source_of(tmp_path, collections=["other*"]).check()
    assert "makes the collection 'songs'" in reason


def test_names_of_collections() -> None:
    def name(urls: str, *paths: str) -> str:
        return collection_name(urls, [FileRef(root="/", path=p, size=0, changed=0) for p in paths])

    assert name("/d/songs.index", "d/songs.index") == "songs"
    assert name("/d/a.b.index", "d/a.b.index") == "a.b"
    assert name("/d/songs", "d/songs") == "songs"
    assert name("/d/part-*.index", "d/part-0.index", "d/part-1.index") == "part"
    assert name("/d/*.index", "d/0.index", "d/1.index") == "d"
    assert name("/d/*/x.index", "d/0/x.index", "d/1/x.index") == "x"
    assert name("/d/s-1.index,/d/s-12.index", "d/s-1.index", "d/s-12.index") == "s"


def test_params_that_contradict_each_other(tmp_path: Path) -> None:
    for params in [
        {"scalars_id_column": "song"},
        {"primary_key": "x", "vector_field": "x"},
        {"index_url": "s3://key:secret@bucket/x.index"},
        {"index_url": "/a.index,s3://key:secret@bucket/x.index"},
    ]:
        with pytest.raises(ValidationError):
            source_of(tmp_path, **params)


def test_names_of_the_fields(tmp_path: Path) -> None:
    write_index(tmp_path / "songs.index", vectors(5), "Flat")
    source = source_of(tmp_path, primary_key="song", vector_field="embedding")
    assert [one.name for one in described(source).collection_schema.fields] == ["song", "embedding"]


# --- changes and copies ---------------------------------------------------------------------------


def test_a_file_that_changes_after_the_plan(tmp_path: Path) -> None:
    truth = write(tmp_path, IndexSpec("songs", 100, dim=DIM, scalars="parquet"))
    source = source_of(tmp_path, scalars_url=f"{tmp_path}/songs.parquet")
    collection = described(source)
    [chunk] = source.cut(collection, 1 << 30)
    for name in ("songs.index", "songs.parquet"):
        path = tmp_path / name
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        again = source_of(tmp_path, scalars_url=f"{tmp_path}/songs.parquet")
        with pytest.raises(AirliftError, match=f"{name} was changed since"):
            list(again.read(chunk))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert sum(one.num_rows for one in source.read(chunk)) == len(truth.ids)


def test_a_copy_is_read_instead(tmp_path: Path) -> None:
    spec = IndexSpec("songs", 200, dim=DIM, shards=2, ids_file=True, scalars="npy")
    truth = write(tmp_path / "here", spec)
    params = {
        "index_url": f"{tmp_path}/here/songs-*.index",
        "ids_url": f"{tmp_path}/here/songs_ids.npy",
        "scalars_url": f"{tmp_path}/here/songs",
    }
    source = source_of(tmp_path, **params)
    collection = described(source)
    files = source.files([collection])
    assert len(files) == 2 + 1 + 4
    copy = open_storage(str(tmp_path / "copy"))
    for file in files:
        target = Path(copy.path(file.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Path(source.folder().path(file.path)).read_bytes())
        assert target.stat().st_size == file.size
    for path in (tmp_path / "here").glob("*.*"):
        path.unlink()
    source = source_of(tmp_path, **params)
    source.read_from(copy)
    chunks = source.cut(collection, 1 << 30)
    rows = [row for chunk in chunks for batch in source.read(chunk) for row in batch.to_pylist()]
    assert [row["id"] for row in rows] == truth.ids.tolist()
    assert [row["year"] for row in rows] == truth.scalars["year"]


def test_the_same_source_gives_the_same_chunks(tmp_path: Path) -> None:
    write(tmp_path, IndexSpec("songs", 500, "IVF8,Flat", DIM))

    def ids() -> list[str]:
        source = source_of(tmp_path)
        return [chunk.id for chunk in source.cut(described(source), 4_000)]

    assert ids() == ids() and len(set(ids())) > 3


def test_reading_imports_no_pandas_and_no_faiss(tmp_path: Path) -> None:
    import subprocess
    import sys

    spec = IndexSpec("songs", 300, "IVF8,Flat", DIM, scalars="parquet")
    write(tmp_path, spec)
    code = f"""
import sys
from pathlib import Path
from tests.unit.faiss_reading import source_of, described
source = source_of(Path({str(tmp_path)!r}), scalars_url={str(tmp_path / "songs.parquet")!r})
[chunk] = source.cut(described(source), 1 << 30)
assert sum(batch.num_rows for batch in source.read(chunk)) == 300
print(sorted({{"pandas", "faiss", "pymilvus"}} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
