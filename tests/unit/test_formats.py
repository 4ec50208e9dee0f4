"""Chunk files: every type there and back, and nothing left behind after a failure."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlift.datatypes import TYPES, DataType
from airlift.errors import AirliftError
from airlift.formats import CHOICES, FORMATS
from airlift.schema import CollectionSchema, Field
from airlift.storage import Storage, open_storage
from tests.unit.arrow_rows import (
    DIMS,
    EVERY_NULLABLE_TYPE,
    EVERY_TYPE,
    FIXED_WIDTH,
    batch_of,
    fingerprint_of,
    schema_of,
    slices,
    table_of,
)

SCHEMAS = {
    "numpy": ("numpy", FIXED_WIDTH),
    "parquet": ("parquet", EVERY_TYPE),
    "parquet with nulls": ("parquet", EVERY_NULLABLE_TYPE),
    "json": ("json", EVERY_TYPE),
    "json with nulls": ("json", EVERY_NULLABLE_TYPE),
}


@pytest.fixture
def folder(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "chunk"))


def write(folder: Storage, name: str, schema: CollectionSchema, batches: list[pa.RecordBatch]):
    rows = sum(batch.num_rows for batch in batches)
    writer = FORMATS[name].writer(folder, schema, rows)
    for batch in batches:
        writer.write(batch)
    return writer.close()


def test_the_formats_by_preference():
    assert [one.name for one in CHOICES] == ["numpy", "parquet", "json"]
    assert [one.name for one in CHOICES if one.needs_row_count] == ["numpy"]


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.values(), ids=SCHEMAS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_type_there_and_back(name, schema, data):
    batches = data.draw(slices(schema))
    with tempfile.TemporaryDirectory() as at:
        folder = open_storage(at)
        files = write(folder, name, schema, batches)
        assert {file.name: file.size for file in files} == folder.list()
        step = data.draw(st.integers(1, 50))
        read = list(FORMATS[name].read(folder, schema, step))
    assert all(batch.num_rows <= step for batch in read)
    written, found = table_of(batches, schema), table_of(read, schema)
    assert found.schema == schema.arrow and found.equals(written)
    # Bit for bit, which `equals` is not for -0.0.
    assert fingerprint_of(*read) == fingerprint_of(*batches)


@settings(max_examples=40, deadline=None)
@given(slices(FIXED_WIDTH))
def test_numpy_reads_the_files_as_they_are_meant(batches):
    table = table_of(batches, FIXED_WIDTH)
    with tempfile.TemporaryDirectory() as at:
        files = write(open_storage(at), "numpy", FIXED_WIDTH, batches)
        assert [file.name for file in files] == [f"{f.name}.npy" for f in FIXED_WIDTH.written]
        for field in FIXED_WIDTH.written:
            found = np.load(Path(at) / f"{field.name}.npy", allow_pickle=False)
            assert found.dtype == np.dtype(TYPES[field.type].numpy)
            assert found.flags.c_contiguous
            values = table.column(field.name).to_pylist()
            if field.type is DataType.BINARY_VECTOR:
                assert found.shape == (table.num_rows, 3)
                assert [row.tobytes() for row in found] == values
            elif field.is_vector:
                assert found.shape == (table.num_rows, field.dim)
                assert found.tolist() == values
            else:
                assert found.shape == (table.num_rows,)
                assert found.tolist() == values


@pytest.mark.parametrize("dim", [1, 2, 7, 128])
def test_numpy_headers_never_say_fortran_order(folder, dim):
    """Milvus 2.3 reads such a file as if it were C order; a 1 x n array could be taken for both."""
    schema = CollectionSchema(
        name="c",
        fields=(
            Field(name="id", type=DataType.INT64, primary_key=True),
            Field(name="v", type=DataType.FLOAT_VECTOR, dim=dim),
        ),
    )
    write(folder, "numpy", schema, [batch_of(schema, 1)])
    with folder.open_input("v.npy") as stream:
        assert np.lib.format.read_magic(stream) == (1, 0)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    assert (shape, fortran, dtype) == ((1, dim), False, np.dtype("<f4"))


@pytest.mark.parametrize("rows", [9, 11])
def test_numpy_refuses_another_number_of_rows(folder, rows):
    writer = FORMATS["numpy"].writer(folder, FIXED_WIDTH, 10)
    writer.write(batch_of(FIXED_WIDTH, rows))
    with pytest.raises(AirliftError, match=f"{rows} rows came, the plan counted 10.*migration_id"):
        writer.close()
    writer.abandon()
    assert folder.list() == {}


@pytest.mark.parametrize("name", [one.name for one in CHOICES])
def test_nothing_shows_before_it_is_whole_and_nothing_is_left_of_what_is_given_up(folder, name):
    _, schema = SCHEMAS[name]
    writer = FORMATS[name].writer(folder, schema, 100)
    writer.write(batch_of(schema, 50))
    assert folder.list() == {} and folder.half_written()
    writer.abandon()
    assert folder.list() == {} and not folder.half_written()
    write(folder, name, schema, [batch_of(schema, 100)])
    assert folder.list() and not folder.half_written()


@pytest.mark.parametrize("name", [one.name for one in CHOICES])
def test_a_failed_write_is_told_and_leaves_nothing(folder, name, monkeypatch):
    _, schema = SCHEMAS[name]
    full = AirliftError("the disk is full")
    written: list[int] = []

    def write_some(self, data):
        size = len(memoryview(data).cast("B")) if data is not None else 0
        if sum(written) + size > 20_000:
            raise full
        written.append(size)
        return real(self, data)

    from airlift import storage

    real = storage.OutputFile.write
    monkeypatch.setattr(storage.OutputFile, "write", write_some)
    writer = FORMATS[name].writer(folder, schema, 10_000)
    with pytest.raises(AirliftError, match="the disk is full"):
        for _ in range(10):
            writer.write(batch_of(schema, 1000))
        writer.close()
    writer.abandon()
    assert folder.list() == {}


def test_numpy_takes_fixed_widths_only():
    assert FORMATS["numpy"].unfit(FIXED_WIDTH) is None
    kinds = (DataType.VARCHAR, DataType.BOOL, DataType.JSON, DataType.FLOAT16_VECTOR)
    said = FORMATS["numpy"].unfit(schema_of(*kinds))
    assert said and "['varchar', 'json', 'float16_vector']" in said
    nullable = Field(name="n", type=DataType.INT8, nullable=True)
    key = Field(name="id", type=DataType.INT64, primary_key=True)
    assert FORMATS["numpy"].unfit(CollectionSchema(name="c", fields=(key, nullable)))
    assert FORMATS["parquet"].unfit(EVERY_TYPE) is None
    assert FORMATS["json"].unfit(EVERY_TYPE) is None


@pytest.mark.parametrize(("length", "fits"), [(1, True), (251, True), (252, False), (255, False)])
def test_numpy_files_are_called_as_the_fields(length, fits):
    key = Field(name="k" * length, type=DataType.INT64, primary_key=True)
    said = FORMATS["numpy"].unfit(CollectionSchema(name="c", fields=(key,)))
    assert said is None if fits else "longer than 251 bytes" in said and key.name in said


def test_a_primary_key_that_the_target_makes_is_not_written(folder):
    key = Field(name="id", type=DataType.INT64, primary_key=True, auto_id=True)
    value = Field(name="n", type=DataType.INT32)
    schema = CollectionSchema(name="c", fields=(key, value))
    for name in FORMATS:
        write(folder.folder(name), name, schema, [batch_of(schema, 3)])
    assert set(folder.list("numpy")) == {"numpy/n.npy"}
    with folder.open_input("parquet/data.parquet") as stream:
        assert pq.read_schema(stream).names == ["n"]
    rows = orjson.loads(folder.read_bytes("json/data.json"))["rows"]
    assert [list(row) for row in rows] == [["n"]] * 3


def test_parquet_has_plain_lists_without_coding(folder):
    """Milvus' import reads lists; fixed-size lists and binaries it does not know."""
    rows = batch_of(EVERY_TYPE, 5000)
    write(folder, "parquet", EVERY_TYPE, [rows.slice(0, 2000), rows.slice(2000)])
    with folder.open_input("data.parquet") as stream:
        # As any reader sees it, without the Arrow schema that pyarrow puts beside.
        file = pq.ParquetFile(stream, arrow_extensions_enabled=False)
        kinds = {field.name: field.type for field in file.schema_arrow}
        assert kinds["float_vector"] == pa.list_(pa.float32())
        assert kinds["binary_vector"] == pa.list_(pa.uint8())
        assert kinds["varchar"] == kinds["json"] == pa.string()
        group = file.metadata.row_group(0)
        columns = [group.column(n) for n in range(group.num_columns)]
        assert {column.compression for column in columns} == {"UNCOMPRESSED"}
        assert not any("DICTIONARY" in str(column.encodings) for column in columns)
        assert file.metadata.num_rows == 5000


def test_parquet_row_groups_stay_of_a_size(folder):
    schema = schema_of(DataType.FLOAT_VECTOR)
    wide = schema.model_copy(
        update={"fields": (*schema.fields[:1], schema.fields[1].model_copy(update={"dim": 1024}))}
    )
    batch = batch_of(wide, 1000)
    write(folder, "parquet", wide, [batch] * 25)
    with folder.open_input("data.parquet") as stream:
        file = pq.ParquetFile(stream).metadata
    sizes = [file.row_group(n).num_rows * 4104 for n in range(file.num_row_groups)]
    assert len(sizes) == 3 and max(sizes) < 40 << 20


@pytest.mark.parametrize("name", ["parquet", "json"])
def test_nullable_values_keep_their_nulls(folder, name):
    key = Field(name="id", type=DataType.INT64, primary_key=True)
    fields = [
        Field(name=kind.value, type=kind, nullable=True, max_length=9)
        for kind in DataType
        if kind not in DIMS
    ]
    schema = CollectionSchema(name="c", fields=(key, *fields))
    columns = [pa.array([1, 2]), *(pa.array([None, None], field.arrow.type) for field in fields)]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
    write(folder, name, schema, [batch])
    assert list(FORMATS[name].read(folder, schema, 10)) == [batch]
