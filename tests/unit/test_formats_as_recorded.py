"""What our writers make is what Milvus 2.5.27 and 2.6.20 were recorded to take.

The names in the comments are those of the recorded cases (import jobs with files of one kind each).
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airlift.datatypes import TYPES, DataType
from airlift.formats import CHOICES, FORMATS
from airlift.mapping import MappedCollection
from airlift.schema import DYNAMIC_FIELD, CollectionSchema, Field
from airlift.storage import Storage, open_storage
from airlift.transform import Transform
from tests.unit.arrow_rows import DIMS, EVERY_NULLABLE_TYPE, EVERY_TYPE, batch_of

KEY = Field(name="id", type=DataType.INT64, primary_key=True)
META = Field(name=DYNAMIC_FIELD, type=DataType.JSON)
BYTES = pa.list_(pa.uint8())

PARQUET: dict[DataType, pa.DataType] = {
    DataType.BOOL: pa.bool_(),
    DataType.INT8: pa.int8(),  # int8_as_int32_parquet: refused
    DataType.INT16: pa.int16(),
    DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(),
    DataType.FLOAT: pa.float32(),
    DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.string(),  # parquet_large_string, parquet_dictionary: refused
    DataType.JSON: pa.string(),  # json_array_ok
    DataType.FLOAT_VECTOR: pa.list_(pa.float32()),  # parquet_fixed_size_list: refused by 2.5.27
    DataType.FLOAT16_VECTOR: BYTES,  # f16_parquet_halffloat, f16_parquet_float32: refused
    DataType.BFLOAT16_VECTOR: BYTES,  # bf16_parquet_float32: refused
    DataType.BINARY_VECTOR: BYTES,  # bin_parquet_float32: refused
    DataType.INT8_VECTOR: pa.list_(pa.int8()),  # i8v_parquet_uint8, i8v_parquet_float32: refused
    DataType.SPARSE_FLOAT_VECTOR: pa.string(),  # sparse_bytes_list: refused
}
NUMPY = {
    DataType.BOOL: "|b1",
    DataType.INT8: "|i1",
    DataType.INT16: "<i2",
    DataType.INT32: "<i4",
    DataType.INT64: "<i8",  # npy_wrong_type (int32): refused
    DataType.FLOAT: "<f4",
    DataType.DOUBLE: "<f8",
    DataType.FLOAT_VECTOR: "<f4",
    DataType.BINARY_VECTOR: "|u1",  # bin_npy_uint8
}
"""Other types have no numpy file: f16_npy_float16, numpy_array_field, sparse_numpy were refused."""


@pytest.fixture
def folder(tmp_path) -> Storage:
    return open_storage(str(tmp_path))


def write(folder: Storage, name: str, schema: CollectionSchema, rows: int = 200) -> list[str]:
    writer = FORMATS[name].writer(folder, schema, rows)
    writer.write(batch_of(schema, rows))
    return [file.name for file in writer.close()]


def file_type(field: Field) -> pa.DataType:
    kind = PARQUET.get(field.type)
    return kind or pa.list_(PARQUET[field.element_type])


@pytest.mark.parametrize("schema", [EVERY_TYPE, EVERY_NULLABLE_TYPE], ids=["values", "nulls"])
def test_parquet_columns_are_of_the_types_that_are_taken(folder, schema):
    """And no other columns: parquet_extra_field was refused by 2.5.27."""
    write(folder, "parquet", schema)
    data = folder.read_bytes("data.parquet")
    told = pq.ParquetFile(io.BytesIO(data), arrow_extensions_enabled=False).schema_arrow
    stored = pq.read_schema(io.BytesIO(data))  # with the Arrow schema that lies in the file
    for found in (told, stored):
        assert found.names == [field.name for field in schema.written]
        for field in schema.written:
            assert found.field(field.name).type.equals(file_type(field)), field.name
    for field in schema.written:
        assert stored.field(field.name).nullable == field.nullable


def test_sparse_vectors_in_parquet_are_an_object_of_index_and_value(folder):
    """sparse_json: `{"1": 0.5}`; a value is read as float64, so it has all its digits."""
    sparse = Field(name="s", type=DataType.SPARSE_FLOAT_VECTOR)
    write(folder, "parquet", CollectionSchema(name="c", fields=(KEY, sparse)))
    texts = pq.read_table(io.BytesIO(folder.read_bytes("data.parquet"))).column("s").to_pylist()
    for text in texts:
        pairs = {int(index): value for index, value in json.loads(text).items()}
        assert all(0 <= index < (1 << 32) - 1 for index in pairs)
        assert all(float(np.float32(value)) == value for value in pairs.values())


def test_numpy_files_are_of_the_types_that_are_taken(folder):
    """In C order: npy_fortran was taken, as other vectors."""
    assert {kind for kind in TYPES if TYPES[kind].numpy} == set(NUMPY)
    fields = [
        Field(name=kind.lower(), type=kind, dim=DIMS.get(kind, 0))
        for kind in NUMPY
        if kind is not DataType.INT64
    ]
    schema = CollectionSchema(name="c", fields=(KEY, *fields))
    assert write(folder, "numpy", schema) == [f"{field.name}.npy" for field in schema.written]
    for field in schema.written:
        found = np.load(io.BytesIO(folder.read_bytes(f"{field.name}.npy")), allow_pickle=False)
        assert found.dtype == np.dtype(NUMPY[field.type]) and found.flags.c_contiguous


@pytest.mark.parametrize(
    "field",
    [field for field in EVERY_NULLABLE_TYPE.fields if field.nullable]
    + [field for field in EVERY_TYPE.fields if field.type not in NUMPY],
    ids=lambda field: f"{field.name}{' nullable' * field.nullable}",
)
def test_numpy_is_not_for_what_was_refused_in_it(field):
    """nullable_numpy was refused by 2.5.27; a text that is too long was taken (npy_too_long)."""
    assert FORMATS["numpy"].unfit(CollectionSchema(name="c", fields=(KEY, field)))
    assert any(not one.unfit(CollectionSchema(name="c", fields=(KEY, field))) for one in CHOICES)


def shape(value: Any) -> Any:
    """What a JSON value is: the type's name, of lists with their length, of objects with keys."""
    if isinstance(value, list):
        return [len(value), *sorted({type(item).__name__ for item in value})]
    return sorted(value) if isinstance(value, dict) else type(value).__name__


JSON: dict[DataType, list[Any]] = {
    DataType.BOOL: ["bool"],
    **{kind: ["int"] for kind in (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)},
    **{kind: ["float"] for kind in (DataType.FLOAT, DataType.DOUBLE)},
    **{kind: ["str"] for kind in (DataType.VARCHAR, DataType.JSON)},
    DataType.FLOAT_VECTOR: [[3, "float"]],  # json_wrong_dim: refused
    DataType.FLOAT16_VECTOR: [[3, "float"]],  # f16_json: a number for each dimension
    DataType.BFLOAT16_VECTOR: [[3, "float"]],  # bf16_json
    DataType.INT8_VECTOR: [[5, "int"]],  # i8v_json
    DataType.BINARY_VECTOR: [[3, "int"]],  # bin_json: a byte for 8 dimensions
    DataType.SPARSE_FLOAT_VECTOR: [[], ["indices", "values"]],  # sparse_json_file
}


@pytest.mark.parametrize("schema", [EVERY_TYPE, EVERY_NULLABLE_TYPE], ids=["values", "nulls"])
def test_json_values_are_of_the_forms_that_are_taken(folder, schema):
    """ok_json_rows. No other keys, and none is missing: json_extra_field, json_missing_field."""
    assert write(folder, "json", schema) == ["data.json"]
    found = json.loads(folder.read_bytes("data.json"))
    assert list(found) == ["rows"] and len(found["rows"]) == 200
    for row in found["rows"]:
        assert list(row) == [field.name for field in schema.written]
        for field in schema.written:
            value = row[field.name]
            if value is None:
                assert field.nullable  # json_null: refused elsewhere; nullable_json_rows
            elif field.element_type:
                kinds = {shape(item) for item in value}
                assert kinds <= set(JSON[field.element_type])
            else:
                assert shape(value) in JSON[field.type], field.name


@pytest.mark.parametrize("name", ["parquet", "json"])
@pytest.mark.parametrize("given", [[None, "{}", '{"a":1}'], ['{"b":[]}', None, None]])
def test_the_dynamic_field_is_never_null(folder, name, given):
    """dyn_meta_null_parquet was refused by 2.5.27, dyn_meta_not_object by both."""
    schema = CollectionSchema(name="c", fields=(KEY, META), dynamic_field=True)
    mapped = MappedCollection(
        source="c",
        target=schema,
        fields={"id": "id", DYNAMIC_FIELD: DYNAMIC_FIELD},
        types={"id": DataType.INT64, DYNAMIC_FIELD: DataType.JSON},
        partitions={"": ""},
    )
    batch = pa.record_batch(
        {"id": pa.array([1, 2, 3]), DYNAMIC_FIELD: pa.array(given, pa.string())}
    )
    converted, unfit = Transform(mapped).apply(batch)
    assert not unfit
    writer = FORMATS[name].writer(folder, schema, 3)
    writer.write(converted)
    writer.close()
    if name == "json":
        rows = json.loads(folder.read_bytes("data.json"))["rows"]
        metas = [row[DYNAMIC_FIELD] for row in rows]
    else:
        table = pq.read_table(io.BytesIO(folder.read_bytes("data.parquet")))
        metas = [json.loads(text) for text in table.column(DYNAMIC_FIELD).to_pylist()]
    assert metas == [json.loads(text or "{}") for text in given]
