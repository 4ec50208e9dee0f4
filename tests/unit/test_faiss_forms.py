"""Scalars in every form beside an index, and keys that are texts: read as the truth has them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlift.datatypes import DataType
from airlift.errors import AirliftError, Refused
from airlift.sources.faiss.csv_rows import csv_rows
from airlift.sources.faiss.json_rows import json_rows
from airlift.sources.faiss.text_files import TextFile
from airlift.storage import open_storage
from samples.faiss_indexes import write_index
from tests.unit.faiss_reading import described, source_of

ROWS: list[dict[str, Any]] = [
    {"title": 'a "quoted", one', "year": 1999, "score": 0.5, "loved": True, "more": None},
    {"title": "line\nbreak ü漢", "year": -3, "score": 1e300, "loved": False, "more": "x"},
    {"title": "", "year": 0, "score": 2.0, "loved": True, "more": "007"},
    {"title": "[{}]", "year": 9_007_199_254_740_993, "score": -0.25, "loved": None, "more": "y"},
]


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_list(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False).encode()


def as_pretty_list(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=2).encode()


def as_pretty_objects(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row, indent=4) for row in rows).encode()


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> bytes:
    """As programs write it: texts in quotation marks, nothing where there is no value."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else repr(value)

    lines = [delimiter.join(rows[0])] + [
        delimiter.join(cell(value) for value in row.values()) for row in rows
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def as_tsv(rows: list[dict[str, Any]]) -> bytes:
    return as_csv(rows, "\t")


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def npy_of(ids: list[int]) -> bytes:
    """The ids as an `.npy` file."""
    sink = io.BytesIO()
    np.save(sink, np.array(ids))
    return sink.getvalue()


def two_columns(first: str, second: str) -> bytes:
    """A Parquet file with two columns of whole numbers."""
    numbers = pa.array([1, 2])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([numbers, numbers], names=[first, second]), sink)
    return sink.getvalue()


FORMS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "lines": ("songs.jsonl", as_lines),
    "lines called json": ("songs.json", as_lines),
    "list": ("songs.json", as_list),
    "pretty list": ("songs.json", as_pretty_list),
    "pretty objects": ("songs.ndjson", as_pretty_objects),
    "csv": ("songs.csv", as_csv),
    "tsv": ("songs.tsv", as_tsv),
    "parquet": ("songs.parquet", as_parquet),
}


def read(folder: Path, **params: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The collection, and all its rows without the vector."""
    source = source_of(folder, **params)
    assert source.check() == []
    collection = described(source)
    rows = [
        row
        for chunk in source.cut(collection, 1 << 30)
        for batch in source.read(chunk)
        for row in batch.drop_columns(["vector"]).to_pylist()
    ]
    source.close()
    return collection, rows


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder with an index of as many vectors as there are rows."""
    write_index(tmp_path / "songs.index", np.eye(len(ROWS), dtype=np.float32), "Flat")
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(index, form, mark, packed):
    name, write = FORMS[form]
    if form == "parquet":  # it has compression of its own, and is no text
        mark, packed = b"", False
    data = mark + write(ROWS)
    path = index / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)
    collection, rows = read(index, scalars_url=str(path))
    kinds = {field.name: field.type for field in collection.collection_schema.fields[2:]}
    assert kinds == {
        "title": DataType.VARCHAR,
        "year": DataType.INT64,
        "score": DataType.DOUBLE,
        "loved": DataType.BOOL,
        "more": DataType.VARCHAR,
    }
    assert rows == [{"id": at, **row} for at, row in enumerate(ROWS)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["pattern", "list"])
def test_several_files_follow_one_another(index, form, by):
    """Types are those that hold the values of all of them: the first file has no `more`."""
    name, write = FORMS[form]
    stem, _, end = name.partition(".")
    parts = [ROWS[:1], ROWS[1:3], ROWS[3:]]
    if form == "parquet":
        parts = [ROWS[1:2], ROWS[:1] + ROWS[2:3], ROWS[3:]]  # with types that are the same
        parts[0][0]["more"] = "x"
    paths = []
    for at, rows in enumerate(parts):
        paths.append(index / f"{stem}-{at + 9}.{end}")  # 9 before 10
        if form == "parquet":
            table = pa.Table.from_pylist(rows, schema=pa.Table.from_pylist(ROWS).schema)
            pq.write_table(table, paths[-1])
        else:
            paths[-1].write_bytes(write(rows))
    url = f"{index}/{stem}-*.{end}" if by == "pattern" else ",".join(map(str, paths))
    _, rows = read(index, scalars_url=url)
    assert rows == [{"id": at, **row} for at, row in enumerate(chain(*parts))]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "9223372036854775807"], DataType.INT64),
        (["1", "9223372036854775808"], DataType.DOUBLE),  # 2^63 is a double
        (["1", "9223372036854775809"], DataType.VARCHAR),  # this is none
        (["1", "2.5", "-1e-3"], DataType.DOUBLE),
        (["0.1234567890123456789"], DataType.VARCHAR),
        (["007", "8"], DataType.VARCHAR),
        (["+7"], DataType.VARCHAR),
        (["1_000"], DataType.VARCHAR),
        (["NaN"], DataType.VARCHAR),
        (["true", "false"], DataType.BOOL),
        (["true", "1"], DataType.VARCHAR),
        (["TRUE"], DataType.VARCHAR),
        (["2020-01-01"], DataType.VARCHAR),
        (["", ""], DataType.VARCHAR),  # no value at all
    ],
)
def test_types_of_csv_hold_every_value_exactly(tmp_path, values, kind):
    write_index(tmp_path / "songs.index", np.eye(8, dtype=np.float32)[: len(values)], "Flat")
    text = "n,v\n" + "".join(f"{at},{value}\n" for at, value in enumerate(values))
    (tmp_path / "songs.csv").write_text(text)
    collection, rows = read(tmp_path, scalars_url=f"{tmp_path}/songs.csv")
    assert collection.collection_schema.fields[3].type is kind
    found = [row["v"] for row in rows]
    if kind is DataType.VARCHAR:
        assert found == [value or None for value in values]
    else:
        assert found == [json.loads(value) for value in values]


def test_types_of_csv_are_those_of_the_whole_file(tmp_path):
    """Not of its first block of some megabytes."""
    rows = 400_000
    text = "".join(f"{n},{'x' * 20}\n" for n in range(rows))
    (tmp_path / "long.csv").write_text(f"n,text\n{text}last,x\n")
    schema, blocks = csv_rows([TextFile(open_storage(str(tmp_path)), "long.csv")])
    assert schema.field("n").type == pa.string()
    assert sum(block.rows.num_rows for block in blocks()) == rows + 1


JSON_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
OBJECTS = st.lists(
    st.dictionaries(
        JSON_TEXT, st.one_of(JSON_TEXT, st.integers(-9, 9), st.lists(JSON_TEXT)), min_size=1
    ),
    min_size=1,
    max_size=6,
)


@given(OBJECTS, st.sampled_from([None, 0, 3]), st.sampled_from(["list", "objects"]))
def test_objects_over_any_number_of_lines(tmp_path_factory, objects, indent, form):
    folder = tmp_path_factory.mktemp("spread")
    if form == "list":
        text = json.dumps(objects, indent=indent, ensure_ascii=bool(indent))
    else:
        text = "\n".join(json.dumps(one, indent=indent) for one in objects)
    (folder / "a.json").write_text(text, "utf-8")
    _, blocks = json_rows([TextFile(open_storage(str(folder)), "a.json")])
    assert sum(block.rows.num_rows for block in blocks()) == len(objects)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b",b\n7,x\n8,y\n"),  # as pandas writes it with its index
        ("a.csv.gz", gzip.compress(b"b,\nx,7\ny,8\n")),
        ("a.tsv", b"\tb\n7\tx\n8\ty\n"),
        ("a.jsonl", b'{"": 7, "b": "x"}\n{"b": "y", "": 8}\n'),
        ("a.json", b'[{"b": "x", "": 7}, {"": 8, "b": "y"}]'),
        ("a.parquet", as_parquet([{"": 7, "b": "x"}, {"": 8, "b": "y"}])),
    ],
)
def test_a_column_without_a_name_arrives(tmp_path, name, data):
    write_index(tmp_path / "songs.index", np.eye(2, dtype=np.float32), "Flat")
    (tmp_path / name).write_bytes(data)
    given = {"scalars_url": f"{tmp_path}/{name}"}
    _, rows = read(tmp_path, **given)
    assert rows == [{"id": 0, "unnamed": 7, "b": "x"}, {"id": 1, "unnamed": 8, "b": "y"}]
    (tmp_path / "ids.npy").write_bytes(npy_of([8, 7]))
    given |= {"ids_url": f"{tmp_path}/ids.npy", "scalars_id_column": "unnamed"}
    _, rows = read(tmp_path, **given)
    assert rows == [{"id": 8, "b": "y"}, {"id": 7, "b": "x"}]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", b'[{"a": 1}, {"a": 2}', "the list of objects does not end"),
        ("a.json", b'[{"a": 1}] {"b": 2}', "nothing behind it"),
        ("a.json", b'[{"a": 1},\n {"a": nope}]', "a.json:2 is no JSON"),
        ("a.json", b"[1, 2]", "expected an object, the values of a row; found 1"),
        ("a.jsonl", b'{"a": 1}\nnot json\n', "a.jsonl:2 is no JSON"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "is no JSON"),
        ("a.csv", b"a,a\n1,2\n", "each once"),
        ("a.csv", b"a,b\n1,2\n3\n", "Expected 2 columns, got 1: 3; a row has more or fewer"),
        ("a.csv", b"a;b\n1,5;2\n", "expected commas between the columns' names; found only ';'"),
        ("a.csv", b"a;b\n1;2\n", "expected commas between the columns' names; found only ';'"),
        ("a.csv", b"a\tb\n1\t2\n", "expected commas between the columns' names; found only '\\t'"),
        ("a.tsv", b"a,b\n1,2\n", "expected tabs between the columns' names; found only ','"),
        ("a.csv", "a\ncaf\xe9\n".encode("latin-1"), "is not UTF-8; convert it"),
        ("a.csv", "a\xe9\n1\n".encode("latin-1"), "is not UTF-8; convert it"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8; convert it"),
        ("a.csv.gz", gzip.compress("a\n\xe9\n".encode("cp1252")), "is not UTF-8; convert it"),
        ("a.parquet", two_columns("a", "a"), "the columns ['a'] stand there more than once"),
        ("a.parquet", two_columns("", "unnamed"), "the columns ['unnamed'] stand there more"),
        ("a.jsonl", b'{"": 1, "unnamed": 2}', "the columns ['unnamed'] stand there more than once"),
        ("a.parquet", two_columns("$meta", "b"), "'$meta' is of type int64"),
        ("a.jsonl", b'{"$meta": 1}\n{"$meta": 2}', "'$meta' is of type int64"),
        ("a.csv", b'a\n"' + b"x" * (9 << 20), "a row is longer than 4 MB, or a quotation mark"),
        ("a.csv.gz", gzip.compress(b"a\n1\n" * 50)[:-9], "gzip can't unpack it"),
        ("a.jsonl.gz", b"\x1f\x8b" + b"nothing of the kind", "gzip can't unpack it"),
        ("a.pkl", b"\x80\x04\x95 pickled", "is a Python pickle, which runs code"),
        ("a.zip", b"PK\x03\x04 zipped..", "is a zip archive: unpack it"),
        ("a.xlsx", b"PK\x03\x04 zipped..", "is a zip archive"),
        ("a.dat", b"whatever", "of no form that is known; expected Parquet, JSON"),
    ],
)
def test_what_is_no_scalars_file_is_named(tmp_path, name, data, said):
    write_index(tmp_path / "songs.index", np.eye(2, dtype=np.float32), "Flat")
    (tmp_path / name).write_bytes(data)
    source = source_of(tmp_path, scalars_url=f"{tmp_path}/{name}")
    with pytest.raises(AirliftError) as caught:
        source.describe()
    assert said in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "Git LFS pointer",
        ),
        (gzip.compress(b"IxF2" * 99), "packed by gzip"),
        (b"\x80\x04\x95\x10\0\0\0\0\0\0\0 a pickle", "a Python pickle"),
        (b"\x93NUMPY\x01\0v\0{}" + b" " * 40, "a NumPy array"),
        (b"PAR1" + b"\0" * 40 + b"PAR1", "a Parquet file"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "HTML or XML"),
        (b'{"error": "not found, and this is a page"}', "JSON"),
    ],
)
def test_what_is_no_index_is_named(tmp_path, data, said):
    (tmp_path / "songs.index").write_bytes(data)
    [reason] = source_of(tmp_path).check()
    assert "songs.index is no Faiss index: it is " in reason and said in reason


def test_a_zip_of_an_index_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "songs.index", "w") as archive:
        archive.writestr("songs.index", b"IxF2")
    [reason] = source_of(tmp_path).check()
    assert "a zip archive: unpack it" in reason


# --- keys that are texts --------------------------------------------------------------------------

KEYS = ["song-é", "b" * 36, "漢字", "4"]


@pytest.mark.parametrize("kind", ["U", "S"])
def test_texts_of_ids_url_are_keys(index, kind):
    values = np.array(KEYS) if kind == "U" else np.array([key.encode() for key in KEYS])
    np.save(index / "ids.npy", values)
    (index / "songs.jsonl").write_bytes(as_lines(ROWS))
    collection, rows = read(
        index, ids_url=f"{index}/ids.npy", scalars_url=f"{index}/songs.jsonl", primary_key="key"
    )
    key = collection.collection_schema.primary_key
    assert (key.name, key.type, collection.keys_unique) == ("key", DataType.VARCHAR, False)
    assert rows == [{"key": key, **row} for key, row in zip(KEYS, ROWS, strict=True)]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (KEYS, DataType.VARCHAR),
        ([9, 7, 8, -1], DataType.INT64),
        (pa.array([1, 2, 3, 4], pa.int16()), DataType.INT64),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_a_column_of_the_scalars_is_the_key(tmp_path, column, kind, joined):
    ids = np.array([40, 30, 20, 10]) if joined else None
    write_index(
        tmp_path / "songs.index",
        np.eye(4, dtype=np.float32),
        "IDMap,Flat" if joined else "Flat",
        ids=ids,
    )
    table = pa.table({"uuid": column, "year": [1, 2, 3, 4], "song": [40, 30, 20, 10]})
    pq.write_table(table.take([3, 1, 0, 2]) if joined else table, tmp_path / "s.parquet")
    collection, rows = read(
        tmp_path,
        scalars_url=f"{tmp_path}/s.parquet",
        scalars_id_column="song" if joined else "",
        primary_key="uuid",
    )
    assert collection.collection_schema.primary_key.type is kind
    assert any("the column 'uuid' of the scalars" in note for note in collection.notes)
    wanted = column.to_pylist() if isinstance(column, pa.Array) else column
    assert [row["uuid"] for row in rows] == wanted
    assert [row["year"] for row in rows] == [1, 2, 3, 4]


def test_keys_from_two_places_are_refused(index):
    np.save(index / "ids.npy", np.arange(4))
    pq.write_table(pa.table({"id": KEYS}), index / "s.parquet")
    source = source_of(index, ids_url=f"{index}/ids.npy", scalars_url=f"{index}/s.parquet")
    with pytest.raises(Refused, match="ids_url gives keys too"):
        source.describe()


def npy(header: bytes, data: bytes = b"") -> bytes:
    padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + len(padded).to_bytes(2, "little") + padded + data


def texts_of(kind: bytes, data: bytes, rows: bytes = b"4") -> bytes:
    return npy(b"{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }" % (kind, rows), data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(b"(" * 9_000), "is no .npy file"),
        (
            npy(b"{'descr': '<U1', 'fortran_order': False, 'shape': (4,), }", b"\0\xd8\0\0" * 4),
            "Uni",
        ),
        (
            npy(b"{'descr': '>U1', 'fortran_order': False, 'shape': (4,), }", b"\0\x11\0\0" * 4),
            "Uni",
        ),
        (npy(b"{'descr': '|S1', 'fortran_order': False, 'shape': (4,), }", b"\xff" * 4), "UTF-8"),
        (npy(b"{'descr': '<U1', 'fortran_order': False, 'shape': (9**99,), }"), "ids.npy"),
        (npy(b"nothing of the kind"), "is no .npy file"),
    ],
)
def test_texts_that_are_none_are_refused_by_the_file(index, data, said):
    (index / "ids.npy").write_bytes(data)
    with pytest.raises(AirliftError) as caught:
        read(index, ids_url=f"{index}/ids.npy", primary_key="key")
    assert said in str(caught.value) and "ids.npy" in str(caught.value)
