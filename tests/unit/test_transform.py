"""The source's batches become the target's, with every value as it was."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given

from airlift.datatypes import TYPES, DataType
from airlift.errors import AirliftError, Refused
from airlift.fitting import fit_collections
from airlift.mapping import MappedCollection, map_collections
from airlift.milvus.capabilities import Capabilities, capabilities_of
from airlift.milvus.client import ServerVersion
from airlift.params import MigrationParams
from airlift.schema import CollectionSchema, Field, SourceCollection
from airlift.transform import Transform
from tests.unit.arrow_rows import EVERY_TYPE, batch_of, field_of, schema_of, slices


def transform(mapping: dict, schema: CollectionSchema = EVERY_TYPE) -> Transform:
    params = MigrationParams(staging_url="/s", mapping={"c": mapping})
    collection = SourceCollection(collection_schema=schema, rows=0)
    return Transform(map_collections([collection], params, "m")[0])


def applied(change: Transform, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, of which every row fits."""
    made, unfit = change.apply(batch)
    assert unfit == {}
    return made


@given(slices(EVERY_TYPE))
def test_unchanged_batches_share_their_memory(batches):
    same = transform({})
    for batch in batches:
        made = applied(same, batch)
        assert made.equals(batch) and made.schema == EVERY_TYPE.arrow
        pairs = zip(batch.schema.names, batch.columns, made.columns, strict=True)
        for before, after in ((old, new) for name, old, new in pairs if name != "json"):
            assert [b and b.address for b in before.buffers()] == [
                b and b.address for b in after.buffers()
            ]


@given(slices(EVERY_TYPE))
def test_columns_are_chosen_and_renamed_wherever_they_stand(batches):
    chosen = transform(
        {
            "include": ["id", "float_vector", "varchar"],
            "fields": [{"source": "varchar", "target": "text"}],
        }
    )
    assert chosen.schema.names == ["id", "text", "float_vector"]
    for batch in batches:
        turned = batch.select(batch.schema.names[::-1])
        made = applied(chosen, turned)
        assert made.column("text").equals(batch.column("varchar"))
        assert made.column("id").equals(batch.column("id"))
        assert made.column("float_vector").equals(batch.column("float_vector"))


@given(slices(EVERY_TYPE))
def test_wider_types_keep_every_value(batches):
    wide = transform(
        {"fields": [{"source": "int32", "type": "INT64"}, {"source": "id", "type": "VARCHAR"}]}
    )
    for batch in batches:
        made = applied(wide, batch)
        assert made.column("int32").to_pylist() == batch.column("int32").to_pylist()
        assert made.column("int32").type == pa.int64()
        assert [int(text) for text in made.column("id").to_pylist()] == batch.column(
            "id"
        ).to_pylist()


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63) + 1, 2**63 - 1])
def test_an_integer_that_a_double_cannot_hold_is_unfit(value):
    to_double = transform({"fields": [{"source": "int64", "type": "DOUBLE"}]})
    row = dict.fromkeys(EVERY_TYPE.arrow.names)
    columns = [
        pa.array([value if field.name == "int64" else row[field.name]], field.type)
        for field in EVERY_TYPE.arrow
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=EVERY_TYPE.arrow.names)
    _, unfit = to_double.apply(batch)
    assert unfit == {0: f"field 'int64': the value {value} does not fit DOUBLE"}


def test_an_integer_that_a_double_holds_is_the_same_number():
    schema = CollectionSchema(name="c", fields=EVERY_TYPE.fields)
    to_double = transform({"fields": [{"source": "int64", "type": "DOUBLE"}]}, schema)
    assert to_double.schema.field("int64").type == pa.float64()
    assert schema.fields[5].type is DataType.INT64


# --- what the target has not -----------------------------------------------------------------

MILVUS_2_3 = capabilities_of(ServerVersion.parse("v2.3.5"))
LITE = capabilities_of(ServerVersion.parse("milvus_lite-3.2.2"))


def fitted(
    schema: CollectionSchema, can: Capabilities, mapping: dict | None = None
) -> MappedCollection:
    params = MigrationParams(staging_url="/s", mapping={"c": mapping or {}})
    collection = SourceCollection(collection_schema=schema, rows=0)
    mapped = map_collections([collection], params, "m")
    return fit_collections(mapped, params.mapping, can, "the target")[0]


def reasons(schema: CollectionSchema, can: Capabilities, mapping: dict | None = None) -> list[str]:
    with pytest.raises(Refused) as refused:
        fitted(schema, can, mapping)
    return refused.value.reasons


SCALARS = [kind for kind in DataType if not TYPES[kind].is_vector]
SOME_NULLS = schema_of(*SCALARS, nullable=True)
SOME_NULLS = SOME_NULLS.model_copy(
    update={"fields": (*SOME_NULLS.fields, field_of(DataType.FLOAT_VECTOR))}
)


@given(slices(SOME_NULLS))
def test_without_nullable_fields_values_go_into_the_dynamic_field(batches):
    """Nothing is lost: the old row and the new one hold the same values, a null is no key."""
    mapped = fitted(SOME_NULLS, MILVUS_2_3, {"fields": [{"source": "int8", "target": "small"}]})
    assert mapped.target.dynamic_field
    assert [field.name for field in mapped.target.fields] == ["id", "float_vector", "$meta"]
    assert "have no value in some rows" in mapped.notes[-1]
    for batch in batches:
        made = applied(Transform(mapped), batch)
        for row, dynamic in zip(batch.to_pylist(), made.column("$meta").to_pylist(), strict=True):
            del row["id"], row["float_vector"]
            if "int8" in row:
                row["small"] = row.pop("int8")
            if row["json"] is not None:
                row["json"] = orjson.loads(row["json"])
            expected = {name: value for name, value in row.items() if value is not None}
            assert orjson.loads(dynamic) == expected


def test_with_nullable_fields_all_stay_fields():
    assert fitted(SOME_NULLS, LITE).target.fields == SOME_NULLS.fields


def test_the_sources_own_dynamic_values_are_kept_beside_them():
    fields = (
        Field(name="id", type=DataType.INT64, primary_key=True),
        field_of(DataType.FLOAT_VECTOR),
        Field(name="year", type=DataType.INT32, nullable=True),
        Field(name="$meta", type=DataType.JSON),
    )
    schema = CollectionSchema(name="c", fields=fields, dynamic_field=True)
    vectors = pa.array([[0, 0, 0]] * 2, fields[1].arrow.type)

    def rows(*dynamic: str) -> pa.RecordBatch:
        columns = [pa.array([1, 2]), vectors, pa.array([1999, None], pa.int32()), pa.array(dynamic)]
        return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)

    change = Transform(fitted(schema, MILVUS_2_3))
    made = applied(change, rows('{"b": 1, "a": null}', "{}"))
    assert made.column("$meta").to_pylist() == ['{"a":null,"b":1,"year":1999}', "{}"]
    with pytest.raises(AirliftError, match=r"values named \['year'\].*another target name"):
        change.apply(rows('{"year": 1}', "{}"))
    plain = applied(Transform(fitted(schema, LITE)), rows('{"b": 1}', "{}"))
    assert plain.column("$meta").to_pylist() == ['{"b":1}', "{}"]
    assert plain.column("year").to_pylist() == [1999, None]
    off = reasons(schema, MILVUS_2_3, {"dynamic_field": False})
    assert len(off) == 1 and "mapping turns the dynamic field off" in off[0]
    off = reasons(schema, MILVUS_2_3, {"dynamic_field": False, "exclude": ["$meta"]})
    assert len(off) == 1 and "'year' has no value in some rows" in off[0]
    strict = {"fields": [{"source": "year", "nullable": False}]}
    kept = fitted(schema, MILVUS_2_3, strict).target.fields[2]
    assert kept.name == "year" and not kept.nullable


def test_a_number_that_json_cannot_hold_is_unfit():
    fields = (
        Field(name="id", type=DataType.INT64, primary_key=True),
        field_of(DataType.FLOAT_VECTOR),
        Field(name="score", type=DataType.DOUBLE, nullable=True),
    )
    schema = CollectionSchema(name="c", fields=fields)
    columns = [pa.array([1]), pa.array([[0, 0, 0]], fields[1].arrow.type), pa.array([np.inf])]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
    _, unfit = Transform(fitted(schema, MILVUS_2_3)).apply(batch)
    said = "field 'score': it goes into the dynamic field, which is JSON and can't hold inf"
    assert unfit == {0: said}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (DataType.INT8_VECTOR, np.arange(-128, 127, dtype=np.int8).reshape(51, 5)),
        (DataType.FLOAT16_VECTOR, np.arange(31743, dtype="<u2").view("<f2").reshape(-1, 3)),
    ],
    ids=str,
)
def test_narrow_vectors_become_wide_ones_with_the_same_values(kind, values):
    schema = schema_of(kind)
    mapped = fitted(schema, MILVUS_2_3)
    assert mapped.target.fields[1].type is DataType.FLOAT_VECTOR
    assert f"has no {kind}; carried as FLOAT_VECTOR" in mapped.notes[-1]
    field = schema.fields[1]
    given = (
        [row.tobytes() for row in values] if kind is DataType.FLOAT16_VECTOR else values.tolist()
    )
    batch = pa.RecordBatch.from_arrays(
        [pa.array(range(len(values))), pa.array(given, field.arrow.type)], schema=schema.arrow
    )
    made = applied(Transform(mapped), batch.slice(1)).column(1)
    assert np.array_equal(np.array(made.to_pylist()), values[1:].astype(np.float64))


def test_bfloat16_is_the_upper_half_of_float32():
    schema = schema_of(DataType.BFLOAT16_VECTOR)
    batch = batch_of(schema, 20)
    made = applied(Transform(fitted(schema, MILVUS_2_3)), batch).column(1)
    raw = np.array(made.to_pylist(), np.float32).view(np.uint32)
    assert not (raw & 0xFFFF).any()
    assert (raw >> 16).astype("<u2").tobytes() == b"".join(batch.column(1).to_pylist())


def test_what_fits_nowhere_is_refused_by_name():
    said = reasons(schema_of(DataType.SPARSE_FLOAT_VECTOR), MILVUS_2_3)
    assert "'sparse_float_vector': the target has no SPARSE_FLOAT_VECTOR fields" in said[0]
    said = reasons(schema_of(DataType.FLOAT_VECTOR, nullable=True), MILVUS_2_3)
    assert "'float_vector': the target has no vector fields without a value" in said[0]
    two = schema_of(DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR)
    said = reasons(two, MILVUS_2_3)
    assert len(said) == 1 and "has 2 vector fields ['float_vector', 'binary_vector']" in said[0]
    assert len(fitted(two, MILVUS_2_3, {"exclude": ["float_vector"]}).target.vectors) == 1


def test_json_is_brought_into_one_form():
    schema = schema_of(DataType.JSON, DataType.FLOAT_VECTOR)
    texts = ['{"b" : [1, 2.0], "a": "\\u00e4"}', "null"]
    columns = [
        pa.array([1, 2]),
        pa.array(texts),
        pa.array([[0, 0, 0]] * 2, schema.fields[2].arrow.type),
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema.arrow)
    made = applied(Transform(fitted(schema, MILVUS_2_3)), batch)
    assert made.column("json").to_pylist() == ['{"a":"ä","b":[1,2.0]}', "null"]
    broken = batch.set_column(1, schema.arrow.field(1), pa.array(["{}", "{"]))
    _, unfit = Transform(fitted(schema, MILVUS_2_3)).apply(broken)
    assert unfit == {1: "field 'json': the value '{' does not fit JSON"}
