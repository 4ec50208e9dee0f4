"""The source's batches become the target's, with every value as it was."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given

from airlift.datatypes import TYPES, DataType
from airlift.errors import Refused
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

NO_KEY = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
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


YEARS = CollectionSchema(
    name="c",
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        field_of(DataType.FLOAT_VECTOR),
        Field(name="year", type=DataType.INT32, nullable=True),
        Field(name="$meta", type=DataType.JSON),
    ),
    dynamic_field=True,
)


def test_the_sources_own_dynamic_values_are_kept_beside_them():
    schema = YEARS
    vectors = pa.array([[0, 0, 0]] * 2, YEARS.fields[1].arrow.type)

    def rows(*dynamic: str) -> pa.RecordBatch:
        columns = [pa.array([1, 2]), vectors, pa.array([1999, None], pa.int32()), pa.array(dynamic)]
        return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)

    change = Transform(fitted(schema, MILVUS_2_3))
    made = applied(change, rows('{"b": 1, "a": null}', "{}"))
    assert made.column("$meta").to_pylist() == ['{"a":null,"b":1,"year":1999}', "{}"]
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


@pytest.mark.parametrize("can", [MILVUS_2_3, LITE], ids=["in $meta", "a field"])
@pytest.mark.parametrize(
    ("dynamic", "named"),
    [
        ('{"year":1}', "['year']"),
        ('{"year":null,"b":2}', "['year']"),
        ('{"id":1,"float_vector":[],"x":3}', "['float_vector', 'id']"),
        ('{"$meta":{}}', "['$meta']"),
        ('{"\\u0079ear":1}', "['year']"),
    ],
)
def test_a_dynamic_key_with_the_name_of_a_field_is_a_bad_row(can, dynamic, named):
    """Neither of the two values takes the other's place, and the other rows are taken."""
    schema = YEARS
    vectors = pa.array([[0, 0, 0]] * 3, YEARS.fields[1].arrow.type)
    texts = ['{"Year":1}', dynamic, '{"b":{"year":1}}']
    columns = [pa.array([1, 2, 3]), vectors, pa.array([7, 8, None], pa.int32()), pa.array(texts)]
    change = Transform(fitted(schema, can))
    made, unfit = change.apply(pa.RecordBatch.from_arrays(columns, schema=schema.arrow))
    assert unfit.keys() == {1}
    assert f"values named {named}" in unfit[1] and "other target names in mapping" in unfit[1]
    good = [orjson.loads(made.column("$meta")[row].as_py()) for row in (0, 2)]
    year = {"year": 7} if can is MILVUS_2_3 else {}
    assert good == [{"Year": 1, **year}, {"b": {"year": 1}}]


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
    assert unfit == {1: f"field 'json': the value '{{' is no JSON ({NO_KEY})"}


# --- what the mapping makes anew ---------------------------------------------------------------

DYNAMIC = CollectionSchema(
    name="c",
    fields=(
        Field(name="id", type=DataType.INT64, primary_key=True),
        field_of(DataType.FLOAT_VECTOR),
        Field(name="year", type=DataType.INT64, nullable=True),
        Field(name="$meta", type=DataType.JSON),
    ),
    dynamic_field=True,
)


def dynamic_rows(*rows: tuple[int | None, str | None]) -> pa.RecordBatch:
    columns = [
        pa.array(range(len(rows)), pa.int64()),
        pa.array([[0, 0, 0]] * len(rows), DYNAMIC.fields[1].arrow.type),
        pa.array([year for year, _ in rows], pa.int64()),
        pa.array([text for _, text in rows], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=DYNAMIC.arrow.names)


def test_keys_become_fields_and_leave_the_dynamic_field():
    change = transform(
        {
            "fields": [
                {"source": "$meta.a", "type": "INT8", "target": "small", "default": 7},
                {"source": "$meta.b", "type": "ARRAY", "element_type": "VARCHAR", "nullable": True},
                {"source": "year", "target": "$meta.a"},
                {"target": "x", "type": "DOUBLE", "value": 1},
            ]
        },
        DYNAMIC,
    )
    made, unfit = change.apply(
        dynamic_rows(
            (1999, '{"a":1,"b":["x"],"c":{"a":2}}'),
            (None, None),
            (3, '{"a":null,"b":null}'),
            (4, '{"a":1.0,"b":[1]}'),
            (5, "[1]"),
            (6, "{"),
        )
    )
    assert made.column("small").to_pylist() == [1, 7, 7, 7, 7, 7]
    assert made.column("b").to_pylist() == [["x"], None, None, None, None, None]
    assert made.column("x").to_pylist() == [1.0] * 6
    assert made.column("$meta").to_pylist()[:3] == ['{"a":1999,"c":{"a":2}}', "{}", '{"a":3}']
    assert unfit == {
        3: "field '$meta.a': the value 1.0 does not fit INT8",
        4: "field '$meta': '[1]' is no JSON object",
        5: f"field '$meta': the value '{{' is no JSON ({NO_KEY})",
    }


def test_values_go_into_the_dynamic_field_with_their_new_type():
    edit = {"source": "year", "target": "$meta.y", "type": "VARCHAR"}
    made, unfit = transform({"fields": [edit]}, DYNAMIC).apply(
        dynamic_rows((1, "{}"), (None, "{}"))
    )
    assert made.column("$meta").to_pylist() == ['{"y":"1"}', "{}"] and not unfit
    narrow = {"source": "year", "target": "$meta.y", "type": "INT8"}
    _, unfit = transform({"fields": [narrow]}, DYNAMIC).apply(dynamic_rows((1, "{}"), (300, "{}")))
    assert unfit == {1: "field 'year': the value 300 does not fit INT8"}


def test_keys_may_become_fields_while_the_rest_is_left_out():
    edits = [{"source": "$meta.a", "type": "JSON", "nullable": True}]
    change = transform({"exclude": ["$meta"], "fields": edits}, DYNAMIC)
    made = applied(change, dynamic_rows((1, '{"a":{"z":1,"b":[]},"q":1}'), (2, "{}")))
    assert made.schema.names == ["id", "float_vector", "year", "a"]
    assert made.column("a").to_pylist() == ['{"b":[],"z":1}', None]


def test_a_promoted_key_without_a_nullable_field_stays_in_the_dynamic_field():
    edit = {"source": "$meta.a", "target": "b", "type": "INT8", "nullable": True}
    mapped = fitted(DYNAMIC, MILVUS_2_3, {"fields": [edit]})
    made, unfit = Transform(mapped).apply(
        dynamic_rows((1, '{"a":5}'), (None, '{"a":null}'), (3, '{"a":500}'))
    )
    assert made.schema.names == ["id", "float_vector", "$meta"]
    assert made.column("$meta").to_pylist() == ['{"b":5,"year":1}', "{}", '{"year":3}']
    assert unfit == {2: "field '$meta.a': the value 500 does not fit INT8"}


def test_a_default_is_in_the_definition_where_the_target_has_such():
    mapping = {"fields": [{"source": "year", "default": -1}]}
    for can, held in ((LITE, -1), (MILVUS_2_3, None)):
        mapped = fitted(DYNAMIC, can, mapping)
        year = mapped.target.fields[2]
        assert (year.name, year.default, year.nullable) == ("year", held, False)
        assert any("no default values" in note for note in mapped.notes) == (held is None)
        made = applied(Transform(mapped), dynamic_rows((5, "{}"), (None, "{}")))
        assert made.column("year").to_pylist() == [5, -1]


def test_a_type_that_was_asked_for_is_not_carried_as_another():
    params = MigrationParams(
        staging_url="/s",
        allow_lossy=True,
        mapping={"c": {"fields": [{"source": "float_vector", "type": "FLOAT16_VECTOR"}]}},
    )
    collection = SourceCollection(collection_schema=DYNAMIC, rows=0)
    mapped = map_collections([collection], params, "m")
    with pytest.raises(Refused, match="has no FLOAT16_VECTOR fields; give it another type"):
        fit_collections(mapped, params.mapping, MILVUS_2_3, "the target")


def test_a_partition_key_is_refused_where_there_is_none():
    old = capabilities_of(ServerVersion.parse("v2.2.5"))
    keyed = schema_of(DataType.VARCHAR, DataType.FLOAT_VECTOR)
    mapping = {"fields": [{"source": "varchar", "partition_key": True}]}
    (said,) = reasons(keyed, old, mapping)
    assert "'varchar': the target has no partition keys; say partition_key false" in said
